"""What starts the house on one machine: the data folder, embedded servers, secrets and the supervisor.

Imports neither Django nor the applications, so that it can run before both.
"""
