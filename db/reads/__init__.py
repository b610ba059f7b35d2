"""What the API and the commands read. Plain SQL on a read-only transaction, frozen dataclasses out."""
