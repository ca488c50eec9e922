"""One module a venue."""
