"""The drill of orders: ``python -m tests.faults.orders`` kills senders at every step, and compares the two ledgers.

A sender is a process that runs an execution cycle against a venue server on loopback. Its steps are not listed here:
they are what `steps` sees it commit, send and receive.
"""
