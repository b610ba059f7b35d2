"""What the API and the commands read. A read-only transaction, frozen dataclasses out."""
