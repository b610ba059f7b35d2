"""`--peers`: ours, DBOS and plain calls on the same activities, taking turns on one stack, and how they compare."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from application.wiring import open_services
from cli.bench.checked import require_lessons
from cli.bench.endings import endings
from cli.bench.failed import BenchFailed
from cli.bench.marketplace import Orders
from cli.bench.measure import Watched
from cli.bench.meter import Timed, average, peak_memory_mb
from cli.bench.sides import Ours, Side, apart, open_rows
from cli.bench.sizes import measure_sizes
from cli.bench.turns import Meter, server_pids, share
from runtime.settings import Settings
from runtime.state import Running

SIDES = ("temporal", "dbos", "plain")


@dataclass
class _Turns:
    """What one side did in all its turns: times alone, times of many at once, and CPU for each of the many."""

    alone: list[float] = field(default_factory=list[float])
    many: list[Timed] = field(default_factory=list[Timed])
    cpu: list[dict[str, float]] = field(default_factory=list[dict[str, float]])

    def figures(self) -> dict[str, Any]:
        """Return them as the report has them."""
        whole = Timed([took for timed in self.many for took in timed.each], sum(timed.whole for timed in self.many))
        cpu = {name: average([turn[name] for turn in self.cpu]) for name in self.cpu[0]}
        return {
            "perSecond": whole.per_second(), "perSecondByRound": [timed.per_second() for timed in self.many],
            "p50AloneMs": Timed(self.alone, 1).ms(0.5), "p50Ms": whole.ms(0.5), "p95Ms": whole.ms(0.95),
            "p99Ms": whole.ms(0.99), "cpuMsPerPurchase": cpu,
            "cpuMsTotal": round(sum(ms for name, ms in cpu.items() if name != "idle"), 1),
        }  # fmt: skip


async def measure_peers(
    settings: Settings, running: Running, orders: Mapping[str, Orders], in_flight: int, rounds: int, watched: Watched
) -> dict[str, Any]:
    """Let the three take turns, `rounds` each, in another order each round. Raises BenchFailed if a purchase is not whole,
    or if the three did not do the same steps."""
    async with AsyncExitStack() as stack:
        seen = await stack.enter_async_context(endings(running.database_url, watched.advance))
        services = await stack.enter_async_context(open_services(settings))
        ours = Ours(services, seen)
        watched.say("starting the peers")
        sides: dict[str, Side] = {"temporal": ours}
        pids = server_pids(running)
        for name in SIDES[1:]:
            peer = await stack.enter_async_context(apart(name, settings))
            sides[name], pids[name] = peer, peer.process.pid
        every = {name: [*of.warm, *of.alone, *of.many] for name, of in orders.items()}
        for name in SIDES:
            await open_rows(services.engine, every[name])
        await ours.know(every["temporal"])
        turns = await _rounds(Meter(seen, pids), sides, orders, in_flight, rounds, watched)
        watched.say("looking whether every purchase is whole")
        steps = {name: await sides[name].steps_of(orders[name].many[-1]) for name in SIDES}
        if len({tuple(names) for names in steps.values()}) != 1:
            raise BenchFailed(f"the three did not do the same steps: {steps}")
        for name in SIDES:
            await require_lessons(services.engine, every[name])
        peers = {name: turns[name].figures() for name in SIDES}
        for name in SIDES:
            peers[name]["peakMb"] = peak_memory_mb(pids["worker" if name == "temporal" else name])
        peers["temporal"] |= await measure_sizes(services.temporal, orders["temporal"].many)
    return {"ratios": ratios(peers), "peers": peers, "steps": steps["temporal"]}


async def _rounds(
    meter: Meter, sides: Mapping[str, Side], orders: Mapping[str, Orders], in_flight: int, rounds: int, watched: Watched
) -> dict[str, _Turns]:
    turns = {name: _Turns() for name in SIDES}
    for name, side in sides.items():
        watched.say(f"warming up: {name}")
        await side.buy(orders[name].warm, min(in_flight, len(orders[name].warm)))
    for number in range(rounds):
        turn_of = number % len(SIDES)
        for name in (*SIDES[turn_of:], *SIDES[:turn_of]):
            side, of = sides[name], orders[name]
            watched.say(f"round {number + 1} of {rounds}: {name}, one at a time")
            alone, _ = await meter.turn(side, share(of.alone, number, rounds), 1)
            watched.say(f"round {number + 1} of {rounds}: {name}, {in_flight} in flight")
            many, cpu = await meter.turn(side, share(of.many, number, rounds), in_flight)
            turns[name].alone += alone.each
            turns[name].many.append(many)
            turns[name].cpu.append(cpu)
    return turns


def ratios(peers: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return how ours compares with each peer and DBOS with plain calls: purchases per second, p50 alone, CPU."""
    pairs = {"oursToDbos": ("temporal", "dbos"), "oursToPlain": ("temporal", "plain"), "dbosToPlain": ("dbos", "plain")}
    return {
        figure: {pair: round(peers[one][figure] / peers[other][figure], 2) for pair, (one, other) in pairs.items()}
        for figure in ("perSecond", "p50AloneMs", "cpuMsTotal")
        if all(peers[name][figure] for name in SIDES)
    }
