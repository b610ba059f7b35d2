"""Remove what is kept for a time only: published events, ended deliveries, bytes of replayed dead letters, used keys.

All events of a purchase that goes on are kept, however old: they keep it from publishing an event twice.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine, text

AT_ONCE = 1000  # rows of one transaction, so that nobody waits long for one

# Raw: so many at once. In the order of what refers to what. Each takes the oldest that are over before `:until`,
# `:most` of them.
_PRUNE = {
    "events": """
WITH old AS (
  SELECT id FROM outbox
  WHERE published_at < :until AND NOT EXISTS (
    SELECT FROM webhook_deliveries WHERE event_id = outbox.id AND coalesce(delivered_at, given_up_at) IS NULL
  ) AND NOT EXISTS (
    SELECT FROM purchase_starts
    WHERE purchase_id = data ->> 'purchaseId' AND (ended_at IS NULL OR ended_at >= :until)
  ) ORDER BY id LIMIT :most
), deliveries AS (
  DELETE FROM webhook_deliveries USING old WHERE event_id = old.id
)
DELETE FROM outbox USING old WHERE outbox.id = old.id""",
    "deliveries": """
DELETE FROM webhook_deliveries WHERE (target_id, event_id) IN (
  SELECT target_id, event_id FROM webhook_deliveries WHERE coalesce(delivered_at, given_up_at) < :until
  ORDER BY event_id LIMIT :most
)""",
    "deadLetters": """
UPDATE dead_letters SET payload = '', message_key = NULL, fixed_payload = NULL, headers = NULL
WHERE id IN (
  SELECT id FROM dead_letters WHERE replayed_at < :until AND (payload <> '' OR headers IS NOT NULL) ORDER BY id LIMIT :most
)""",
    "checkoutKeys": """
DELETE FROM idempotency_keys WHERE (actor, operation, key) IN (
  SELECT actor, operation, key FROM idempotency_keys WHERE created_at < :until ORDER BY created_at LIMIT :most
)""",
    "requestKeys": """
DELETE FROM request_keys WHERE (door, scope, key) IN (
  SELECT door, scope, key FROM request_keys WHERE used_at < :until ORDER BY used_at LIMIT :most
)""",
}


def prune(engine: Engine, until: datetime) -> dict[str, int]:
    """Remove up to AT_ONCE rows of each kind that were over before `until` (of dead letters only the bytes).

    Returns how many were removed, by kind; 0 once none is left.
    """
    gone: dict[str, int] = {}
    for kind, statement in _PRUNE.items():
        with engine.begin() as connection:
            gone[kind] = connection.execute(text(statement), {"until": until, "most": AT_ONCE}).rowcount
    return gone
