"""The identity of a command to the API: the token it was given, or one signed with the running stack's key."""

from __future__ import annotations

import getpass
from collections.abc import Callable

from cli.output import USAGE
from runtime.errors import CannotRun
from runtime.settings import Settings
from runtime.state import find

Token = Callable[[], str]


class NoToken(CannotRun):
    """The command has no token this API could accept; the message says how to give it one."""

    exit_code = USAGE


def token_for(settings: Settings, url: str, actor: str | None) -> Token:
    """Return a function that gives the bearer token of the next request to the API at `url`.

    `actor`: who acts; you, by default.

    A token that is given says itself who acts. For the stack of COURSAGA_HOME an admin's is signed. Raises NoToken.
    """
    if given := settings.coursaga_token:
        if actor:
            raise NoToken("--actor goes with no token of yours: the token itself says who acts")
        return given.get_secret_value
    running = find(settings.coursaga_home)
    if running is None or running.api != url or not settings.accepts_dev_tokens:
        raise NoToken(f"the API at {url} asks who you are: set COURSAGA_TOKEN, or give --token, to a token it accepts")
    return signing(settings, actor)


def signing(settings: Settings, actor: str | None = None) -> Token:
    """Return a function that gives an admin's token of this home's stack, signed when it is called."""
    from runtime.dev_auth import DevTokens  # here, so that only commands that sign load cryptography

    return DevTokens(settings, "admin", actor or getpass.getuser())
