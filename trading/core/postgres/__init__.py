"""Django's Postgres backend, on which every transaction and statement carries its scope."""
