"""`/metrics`: purchases, steps and what needs attention, for Prometheus (row 93).

Each scrape reads PostgreSQL and Temporal's visibility, so the figures agree with the record after any crash, and all
API processes tell the same. A worker's own metrics are its SDK's, at WORKER_METRICS_ADDRESS.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from api.http.dependencies import ServicesDep
from application.context import Services
from application.errors import Unavailable
from application.purchase_state import needing_somebody
from application.run_states import RunState
from application.temporal_client import parked_runs, running_runs
from db.reads.figures import Figures, figures
from workflows.attributes import REPORTED_PROBLEMS

router = APIRouter(tags=["health"])

KEPT = 5.0  # seconds that figures are good for: whoever scrapes more often is told the same
_NEEDS_ENGINEER = f"{REPORTED_PROBLEMS.name} IS NOT NULL"


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"example": 'coursaga_up{part="database"} 1.0\n'}}}},
)
async def metrics(services: ServicesDep) -> Response:
    """Always answers. What cannot be read is left out, and `coursaga_up` says so. Read anew every 5 seconds at most."""
    async with services.scraped.reading:
        now = time.monotonic()
        if now - services.scraped.at >= KEPT:
            registry = CollectorRegistry()
            registry.register(_Scrape(await _stored(services), await _running(services)))
            services.scraped.text, services.scraped.at = generate_latest(registry), now
        return Response(services.scraped.text, media_type=CONTENT_TYPE_LATEST)


class _Scrape(Collector):
    """The metrics of one scrape. None: that part did not answer."""

    def __init__(self, stored: Figures | None, running: list[RunState] | None) -> None:
        self._stored = stored
        self._running = running

    def collect(self) -> Iterable[Metric]:
        up = GaugeMetricFamily("coursaga_up", "Whether this part answered", labels=["part"])
        for part, said in (("database", self._stored), ("temporal", self._running)):
            up.add_metric([part], float(said is not None))
        yield up
        if self._stored is not None:
            yield from _of_record(self._stored)
        if self._running is not None:
            yield from _of_attention(self._running)


def _of_record(seen: Figures) -> Iterable[Metric]:
    yield _gauge("coursaga_purchases", "Lines started, by ending and code", ("ending", "code"), seen.purchases)
    yield _gauge("coursaga_steps", "Steps of purchases, by outcome", ("step", "state"), seen.steps)
    told = CounterMetricFamily("coursaga_events", "Events written to the outbox", labels=["type"])
    for labels, count in seen.events.items():
        told.add_metric(labels, count)
    yield told
    owed = seen.backlog
    yield GaugeMetricFamily("coursaga_outbox_unpublished", "Events not published yet", value=owed.events)
    yield GaugeMetricFamily("coursaga_outbox_lag_seconds", "Age of the oldest of them", value=owed.events_age)
    yield GaugeMetricFamily("coursaga_webhooks_undelivered", "Deliveries not answered yet", value=owed.deliveries)
    yield GaugeMetricFamily("coursaga_webhooks_given_up", "Deliveries given up", value=owed.given_up)


def _of_attention(runs: list[RunState]) -> Iterable[Metric]:
    now = datetime.now(UTC)
    parked = [(run, run.attention) for run in runs if run.attention]
    oldest: dict[tuple[str, ...], float] = {}
    for _, why in parked:
        age = (now - why.since).total_seconds() if why.since else 0.0
        oldest[(why.reason,)] = max(oldest.get((why.reason,), 0.0), age)
    by_reason = Counter((why.reason,) for _, why in parked)
    yield _gauge("coursaga_attention", "Purchases that need attention", ("reason",), by_reason)
    yield _gauge("coursaga_attention_oldest_seconds", "Longest wait for attention", ("reason",), oldest)
    missing = sum(run.sessions_missing for run in runs)
    yield GaugeMetricFamily("coursaga_sessions_missing", "Lessons that parked purchases still lack", value=missing)
    broken = sum(bool(run.problems) for run in runs)
    yield GaugeMetricFamily("coursaga_engineer_needed", "Purchases that the workflow's own code fails on", value=broken)


def _gauge(
    name: str, words: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, words, labels=labels)
    for named, value in values.items():
        family.add_metric(named, value)
    return family


async def _stored(services: Services) -> Figures | None:
    try:
        async with services.reading() as conn:
            return await figures(conn)
    except SQLAlchemyError:
        return None


async def _running(services: Services) -> list[RunState] | None:
    """Return the runs that wait for somebody: all would be more than a scrape needs."""
    try:
        try:
            waiting = await needing_somebody(services)
        except SQLAlchemyError:  # without the record only those that say so themselves are known
            waiting = await parked_runs(services.temporal)
        return list((waiting | await running_runs(services.temporal, where=_NEEDS_ENGINEER)).values())
    except Unavailable:
        return None
