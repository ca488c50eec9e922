"""One module an adapter, of the same name, with a ``BENCH``."""
