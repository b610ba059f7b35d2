"""Pure rules, and the types that cross Temporal. Imports nothing of ours but itself, does no I/O."""
