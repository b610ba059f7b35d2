"""Embedded PostgreSQL for development, demos and tests: our own launcher of the packaged programs.

Takes connections by password (scram) on loopback only; survives kill -9 of itself and of its parent. Never used when
DATABASE_URL is set.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psycopg
from psycopg import sql

from runtime.child_processes import Child, StartFailed, command_of, environment_without, free_port, gone, identity
from runtime.embedded.postgres_programs import account_for, annex_of, place_of, programs, sweep_annexes, version_of
from runtime.files import open_folder, write_secret

USER = "coursaga"
DATABASE = "coursaga"
_START_SECONDS = 120.0
_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # no sockets: their paths are limited to 107 bytes
    "max_connections": "100",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class EmbeddedPostgres:
    """One PostgreSQL server with its data under `home`; the caller makes sure that nobody else starts it there.

    `port` 0 picks a free one, kept for the life of this object. `binaries` is a folder with initdb and postgres.
    """

    name = "postgres"
    ends_with = signal.SIGINT  # "fast" shutdown

    def __init__(self, home: Path, port: int = 0, *, binaries: Path | None = None, log: Path | None = None) -> None:
        self._folder = home / "postgres"
        self._log = log or home / "logs" / "postgres.log"
        self._configured = binaries
        self.port = port or free_port()
        self._child: Child | None = None

    @property
    def data(self) -> Path:
        """The data folder, links resolved: it may be in the annex."""
        return (self._folder / "data").resolve()

    @property
    def url(self) -> str:
        """The URL to connect to; it holds the password."""
        password = (self._folder / "password").read_text()
        return f"postgresql+psycopg://{USER}:{password}@127.0.0.1:{self.port}/{DATABASE}"

    @property
    def alive(self) -> bool:
        """Whether the server runs."""
        return self._child is not None and self._child.alive

    @property
    def pid(self) -> int | None:
        """The postmaster's process id."""
        return None if self._child is None else self._child.pid

    def start(self) -> str:
        """Create the data if there is none, start the server, wait until it answers; return the URL.

        Raises StartFailed.
        """
        self.stop()  # one that was killed is still our zombie, and its id looks alive to PostgreSQL
        open_folder(self._folder)
        sweep_annexes()
        account = account_for(self.data)
        place = place_of(self._folder, account)
        bin_folder = programs(self._configured, place, account)
        self._make_data(place, bin_folder, account)
        self._check_version(bin_folder)
        self._end_leftover()
        self._serve(bin_folder, account)
        return self.url

    def stop(self) -> None:
        """Stop the server: connections are closed, everything committed is on disk."""
        if self._child is not None:
            self._child.stop(signal.SIGINT)  # "fast": does not wait for clients to leave

    def _make_data(self, place: Path, bin_folder: Path, account: tuple[int, int] | None) -> None:
        link = self._folder / "data"
        if link.is_symlink() and not link.exists():
            raise StartFailed(
                f"{link} points to {os.readlink(link)}, which is gone; `coursaga down --wipe` starts afresh"
            )
        if link.exists():
            return
        half, password = place / "data.half", place / "initial-password"
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(mode=0o700)
        write_secret(self._folder / "password", secrets.token_urlsafe(24))
        write_secret(password, (self._folder / "password").read_text())
        if account is not None:
            os.chown(half, *account)
            os.chown(password, *account)
        self._initdb(bin_folder, half, password, account)
        password.unlink()
        half.rename(place / "data")  # a half-made folder never counts as data
        if place != self._folder:
            link.symlink_to(place / "data")

    def _initdb(self, bin_folder: Path, data: Path, password: Path, account: tuple[int, int] | None) -> None:
        # The builtin provider sorts alike on every machine; before PostgreSQL 17 only the C locale does.
        builtin = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if version_of(bin_folder) >= 17 else []
        command = [str(bin_folder / "initdb"), "-D", str(data), "-U", USER, "-A", "scram-sha-256"]
        command += [f"--pwfile={password}", "--encoding=UTF8", "--locale=C", *builtin, "--no-instructions"]
        uid, gid = account or (None, None)
        done = subprocess.run(
            command,
            env=_environment(),
            cwd="/",
            user=uid,
            group=gid,
            extra_groups=None if account is None else [],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise StartFailed(f"initdb failed: {done.stdout}{done.stderr}")

    def _check_version(self, bin_folder: Path) -> None:
        file = self.data / "PG_VERSION"
        if not file.exists():
            raise StartFailed(f"{self.data} is no PostgreSQL data; `coursaga down --wipe` starts afresh")
        made, here = file.read_text().strip(), version_of(bin_folder)
        if made != str(here):
            raise StartFailed(
                f"the data is of PostgreSQL {made}, the programs are {here}: "
                f"set POSTGRES_BIN to version {made}, or start afresh with `coursaga down --wipe`"
            )

    def _end_leftover(self) -> None:
        """End a server on this data whose parent was killed. A pid alone proves nothing: ids are used again."""
        file = self.data / "postmaster.pid"
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid = int(file.read_text().splitlines()[0])
            known_as, command = identity(pid), command_of(pid)
            if known_as is None:
                return  # PostgreSQL itself tells a dead server's file
            if str(self.data) not in command:
                file.unlink()  # the id is somebody else's now
                return
            for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, how)
                if gone(pid, known_as, 20.0):
                    return

    def _serve(self, bin_folder: Path, account: tuple[int, int] | None) -> None:
        options = [f"--{name}={value}" for name, value in {**_OPTIONS, "port": str(self.port)}.items()]
        command = [str(bin_folder / "postgres"), "-D", str(self.data), *options]
        self._child = Child(
            "postgres",
            command,
            self._log,
            env=_environment(),
            cwd=Path("/"),
            account=account,
            ends_with=self.ends_with,
        )
        until = time.monotonic() + _START_SECONDS
        while True:
            self._child.start()
            try:
                self._child.wait_until(self._has_database, _START_SECONDS)
                return
            except StartFailed as failed:
                # After kill -9 the dead server's helpers hold its memory for a moment.
                if "shared memory block" not in str(failed) or time.monotonic() > until:
                    self._child.stop(signal.SIGQUIT)
                    raise
                time.sleep(0.2)

    def _has_database(self) -> bool:
        """Return whether the server answers; create the database the first time.

        Raises StartFailed on a wrong password.
        """
        maintenance = self.url.replace("+psycopg", "").removesuffix(DATABASE) + "postgres"
        try:
            with psycopg.connect(maintenance, autocommit=True, connect_timeout=5) as connection:
                if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
                return True
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise StartFailed(
                    f"{self._folder / 'password'} does not fit the data; `coursaga down --wipe` starts afresh"
                ) from None
            return False


def wipe_postgres(home: Path) -> None:
    """Delete the data of the server under this home, in the annex too."""
    shutil.rmtree(annex_of(home / "postgres"), ignore_errors=True)
    shutil.rmtree(home / "postgres", ignore_errors=True)
    sweep_annexes()


def _environment() -> dict[str, str]:
    return {**environment_without("PG"), "LC_ALL": "C", "TZ": "UTC"}
