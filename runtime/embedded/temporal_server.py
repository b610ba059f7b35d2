"""The embedded Temporal server for development, demos and tests: the CLI's dev server with a database file of its own.

Never used when TEMPORAL_ADDRESS is set. Workflows survive a restart and a kill -9.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from pathlib import Path

from temporalio.service import RPCError

from runtime.child_processes import Child, StartFailed, environment_without, free_ports
from runtime.embedded.sync_bridge import aside
from runtime.embedded.temporal_binary import ensure, server_version
from runtime.files import open_folder
from runtime.temporal import TemporalUnreachable, answers, connect_to, ensure_search_attributes, keep_closed_runs
from workflows.attributes import SEARCH_ATTRIBUTES

RETENTION_DAYS = 30
_START_SECONDS = 60.0
_START_TRIES = 3  # a port that was free, its own or one its inner services picked, may be taken before it listens
_TAKEN = "address already in use"
_DYNAMIC: dict[str, object] = {
    "frontend.WorkflowPauseEnabled": True,
    "history.transferProcessorMaxPollRPS": 2000,  # without it every hand-over waits 50 ms
    "history.timerProcessorMaxTimeShift": "1ms",  # without it every timer and retry may be a second late
    "system.enableActivityEagerExecution": True,
    "matching.numTaskqueueReadPartitions": 1,
    "matching.numTaskqueueWritePartitions": 1,
    "system.numConsecutiveWorkflowTaskProblemsToTriggerSearchAttribute": 2,  # a bug shows sooner in the UI
}


class TemporalServer:
    """One server with its data under `home`. A port of 0 picks a free one, kept for the life of this object.

    `program` is the server to run; without one it is found at the first start.
    """

    name = "temporal"
    ends_with = signal.SIGKILL

    def __init__(
        self,
        home: Path,
        port: int = 0,
        ui_port: int = 0,
        *,
        namespace: str = "default",
        program: Path | None = None,
        log: Path | None = None,
        dynamic: Mapping[str, object] | None = None,
    ) -> None:
        self._wanted = {"TEMPORAL_PORT": port, "TEMPORAL_UI_PORT": ui_port}
        self._told = False  # whether somebody knows its ports
        self._pick_ports()
        self.data = home / "temporal" / "temporal.db"
        self._log = log or home / "logs" / "temporal.log"
        self._namespace = namespace
        self._program = program
        self._dynamic = {**_DYNAMIC, **(dynamic or {})}
        self._child: Child | None = None

    @property
    def address(self) -> str:
        """host:port of the frontend."""
        return f"127.0.0.1:{self.port}"

    @property
    def ui(self) -> str:
        """URL of Temporal UI."""
        return f"http://127.0.0.1:{self.ui_port}"

    @property
    def alive(self) -> bool:
        """Whether the server runs."""
        return self._child is not None and self._child.alive

    @property
    def pid(self) -> int | None:
        """The server's process id."""
        return None if self._child is None else self._child.pid

    def start(self) -> str:
        """Start the server and wait until it answers, search attributes included; return the address.

        Raises StartFailed.
        """
        self.launch()
        return self.wait()

    def launch(self) -> None:
        """Start the server without waiting. Raises StartFailed, NoTemporalServer."""
        self.stop()  # one that was killed holds its file until it is gone
        self._program = self._program or ensure()
        open_folder(self.data.parent)
        self._check_version(self._program)
        self._child = Child(self.name, self._command(self._program), self._log, env=environment_without("TEMPORAL_"))
        self._child.start()

    def wait(self) -> str:
        """Wait until the server answers and its search attributes exist; return the address. Raises StartFailed."""
        if self._child is None:
            raise StartFailed("the Temporal server was not launched")
        for again in reversed(range(_START_TRIES)):
            try:
                self._child.wait_until(self._answers, _START_SECONDS)
                break
            except StartFailed as failed:
                if not again or _TAKEN not in str(failed):
                    raise
                if not self._told:
                    self._pick_ports()
                self.launch()
        self._told = True
        return self.address

    def stop(self) -> None:
        """Stop the server."""
        if self._child is not None:
            self._child.stop()

    def _pick_ports(self) -> None:
        ports = free_ports(self._wanted)
        self.port, self.ui_port = ports["TEMPORAL_PORT"], ports["TEMPORAL_UI_PORT"]

    def _command(self, program: Path) -> list[str]:
        flags = {"ip": "127.0.0.1", "port": self.port, "ui-port": self.ui_port, "log-level": "error"}
        flags |= {"db-filename": self.data, "namespace": self._namespace}
        command = [str(program), "server", "start-dev"]
        command += [part for name, value in flags.items() for part in (f"--{name}", str(value))]
        # Without these SQLite waits for the disk at each of some fifty commits of a purchase. They keep every commit
        # through a kill -9; a power cut may take the last ones, which the step ledger makes up for.
        for pragma in ("journal_mode=wal", "synchronous=normal"):
            command += ["--sqlite-pragma", pragma]
        for key, value in self._dynamic.items():
            command += ["--dynamic-config-value", f"{key}={json.dumps(value)}"]
        for key, kind in SEARCH_ATTRIBUTES.items():
            command += ["--search-attribute", f"{key}={kind.name.title()}"]
        return command

    def _check_version(self, program: Path) -> None:
        """Raise StartFailed if the data is of another minor version: a dev server's file is never migrated."""
        note = self.data.with_name("server-version")
        here = server_version(program) or "unknown"
        if not note.exists() or not self.data.exists():
            note.write_text(here)
        made = note.read_text().strip()
        if _minor(made) != _minor(here):
            raise StartFailed(
                f"the data is of Temporal server {made}, {program} is {here}: "
                "use that version again, or start afresh with `coursaga down --wipe`"
            )

    def _answers(self) -> bool:
        async def ask() -> bool:
            client = await connect_to(self.address, self._namespace, seconds=5)
            if not await answers(client):
                return False
            await ensure_search_attributes(client)
            await keep_closed_runs(client, RETENTION_DAYS)
            return True

        try:
            return aside(ask)
        except (TemporalUnreachable, RPCError):
            return False


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
