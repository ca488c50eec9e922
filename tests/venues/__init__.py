"""Venues in processes of their own, on loopback: the real protocol, a ledger on disk, failures on demand."""
