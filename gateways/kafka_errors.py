"""What calls to Kafka raise. Needs no Kafka library."""

from __future__ import annotations


class KafkaTrouble(Exception):
    """The brokers do not answer; nothing is lost, try again."""


class KafkaMisconfigured(Exception):
    """An option is wrong, or the brokers refuse our login; the message says which, and trying again does not help."""
