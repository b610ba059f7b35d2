"""Measure the parts that are asked for by name, on one stack, the one that fills the database last."""

from __future__ import annotations

import asyncio
from typing import Any

from cli.bench.asked import Amounts, Parts
from cli.bench.enrolled import measure_enrolled
from cli.bench.growth import measure_growth
from cli.bench.logs_aside import logs_to
from cli.bench.marketplace import Market
from cli.bench.measure import Watched
from cli.bench.parked_runs import measure_parked_runs
from cli.bench.peers import SIDES, measure_peers
from runtime.embedded.stack import Stack

_GROWTH, _ANEW = "growth", "anew"


def sides_of(parts: Parts) -> list[str]:
    """Return who buys, each with courses and students of their own."""
    if not parts.any:
        return ["temporal", "plain"]
    asked = {_ANEW: parts.parked_runs, _GROWTH: parts.growth}
    return [*(SIDES if parts.peers else ()), *(side for side, wanted in asked.items() if wanted)]


def measure_parts(stack: Stack, market: Market, amounts: Amounts, parts: Parts, watched: Watched) -> dict[str, Any]:
    """Return the figures of each part by its name; those of the peers begin with their ratios."""
    said: dict[str, Any] = {}
    with logs_to(stack.settings.coursaga_home / "logs" / "bench.log"):
        if parts.enrolled:
            enrolled = measure_enrolled(stack.settings, stack.running, market.visitors, amounts.in_flight, watched)
            said["enrolled"] = asyncio.run(enrolled)
        for name in ("api", "relay"):  # no other part needs them; what they do would be laid on whose turn it is
            stack.stop_part(name)
        if parts.peers:
            rounds = min(amounts.rounds, amounts.purchases)
            sides = {name: market.sides[name] for name in SIDES}
            peers = measure_peers(stack.settings, stack.running, sides, amounts.in_flight, rounds, watched)
            said = {**asyncio.run(peers), **said}
        if parts.parked_runs:
            first = market.sides[_ANEW].warm[0]
            waiting = measure_parked_runs(stack, market.parked, first, amounts.in_flight, watched)
            said["parkedRuns"] = asyncio.run(waiting)
        if parts.growth:
            growth = measure_growth(
                stack.settings, stack.running, market.sides[_GROWTH], parts.stored, amounts.in_flight, watched
            )
            said["growth"] = asyncio.run(growth)
    return said
