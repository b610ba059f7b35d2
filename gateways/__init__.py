"""The outside world behind small Protocols: today the payment provider. Knows no SQL and no Temporal."""
