"""Clients of the outside world: the payment provider, Kafka, webhook targets, Temporal's task queues. No SQL here."""
