"""Why a process or the whole stack cannot run, in words for whoever started it, with the exit code of the command."""

from __future__ import annotations


class CannotRun(Exception):
    """Something must be mended first; the message says what and how."""

    exit_code = 1


class ServerUnreachable(CannotRun):
    """A server does not answer; the message names its address."""

    exit_code = 3
