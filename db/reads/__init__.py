"""The reads of the API and of the commands. They run in a read-only transaction and return frozen dataclasses."""
