"""Servers of a test's own, as they are deployed, to be crashed and started again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runtime.embedded.postgres import EmbeddedPostgres
from runtime.embedded.temporal_server import TemporalServer
from runtime.settings import Settings
from tests.faults.products import WorkerCommand
from tests.faults.world import World


@dataclass(frozen=True)
class Site:
    """Servers of this test's own, as they are deployed, and the world of purchases on them."""

    postgres: EmbeddedPostgres
    temporal: TemporalServer
    settings: Settings
    world: World
    home: Path

    def worker(self) -> WorkerCommand:
        """One more worker, not started."""
        return WorkerCommand(self.settings, self.home / "workers.log")
