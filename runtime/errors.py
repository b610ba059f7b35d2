"""Errors that say why a process or the whole stack cannot run; each has the exit code of the command."""

from __future__ import annotations


class CannotRun(Exception):
    """Something must be mended first; the message says what and how, for whoever started it."""

    exit_code = 1


class ServerUnreachable(CannotRun):
    """A server does not answer; the message names its address."""

    exit_code = 3
