"""Many stories at once: most of a fault's time is waiting for a server to notice, so they wait side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import pytest

from tests.faults.world import World

BOUND = 240.0  # seconds for one story, generous


@dataclass(frozen=True)
class Case:
    """One story and what it is about; the id of its test."""

    story: Callable[..., Awaitable[None]]
    about: tuple[str, ...]

    def __str__(self) -> str:
        return "-".join((self.story.__name__, *self.about))


class Together:
    """The selected stories of a module, so many at a time; each test waits for its own."""

    def __init__(self, cases: Sequence[Case], world: World, at_once: int) -> None:
        slots = asyncio.Semaphore(at_once)

        async def tell(case: Case) -> None:
            async with slots:
                try:
                    async with asyncio.timeout(BOUND):
                        await case.story(world, *case.about)
                except TimeoutError:
                    raise AssertionError(
                        f"no end within {BOUND:.0f} s; the workers said:\n{world.workers_said()}"
                    ) from None

        self._tasks = {case: asyncio.create_task(tell(case), name=str(case)) for case in cases}

    async def ended(self, case: Case) -> None:
        """Waits for this story; raises what it failed with."""
        await self._tasks[case]

    async def all_ended(self) -> None:
        """Waits for all of them, however they ended."""
        await asyncio.wait(self._tasks.values())

    async def stop(self) -> None:
        """Ends what nobody waited for."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


def selected_cases(request: pytest.FixtureRequest) -> list[Case]:
    """The cases of the requesting module that this run has selected, in its order."""
    here = [item for item in request.session.items if isinstance(item, pytest.Function) and item.path == request.path]
    found = [getattr(item, "callspec", None) for item in here]
    return [spec.params["case"] for spec in found if spec is not None]
