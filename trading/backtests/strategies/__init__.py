"""Strategies: one module each, found by being there; docs/strategies.md shows how to write one."""
