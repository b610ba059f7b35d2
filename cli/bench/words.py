"""What the figures of the bench's parts are called, on a terminal and on the page."""

from __future__ import annotations

SIDES_SAID = {"temporal": "ours", "dbos": "DBOS", "plain": "plain calls"}
PAIRS = {"oursToDbos": "ours / DBOS", "oursToPlain": "ours / plain", "dbosToPlain": "DBOS / plain"}
RATIOS = {
    "perSecond": "purchases per second",
    "p50AloneMs": "p50 one at a time",
    "cpuMsTotal": "CPU of a purchase",
}
ROWS = {
    "perSecond": "purchases per second",
    "p50AloneMs": "p50 one at a time, ms",
    "p50Ms": "p50, ms",
    "p95Ms": "p95, ms",
    "p99Ms": "p99, ms",
    "cpuMsTotal": "CPU of a purchase, ms",
}
# Whose CPU it is, in the order in which it is told; `idle`: of those that had no turn, not part of the total.
CPU = {
    "temporal": "the Temporal server",
    "worker": "the worker",
    "dbos": "the process with DBOS",
    "plain": "the process that calls",
    "postgres": "PostgreSQL",
    "provider": "the stand-in provider",
    "starter": "the client that starts",
    "idle": "those that had no turn, not in the sum",
}
SIZES = {
    "historyEvents": "events of a history",
    "historyBytes": "bytes of a history",
    "payloadBytes": "bytes of the payloads in it",
    "largestPayloadBytes": "bytes of the largest of these",
}
