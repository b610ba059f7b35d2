"""The HTTP door, kept thin: validate, start, update, query or read, answer."""
