"""The HTTP door: thin. Validate, start, update, query or read, answer."""
