"""A stand-in for the payment provider: a process of its own with a durable ledger. Imports none of our code.

`python -m gateways.fake_provider --db FILE --port 0` starts it. Amounts are minor units, JSON is camelCase.
"""
