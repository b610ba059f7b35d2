"""Set up the logs of a process: one JSON object per line, or coloured lines on a terminal, without personal data.

The standard library's root logger carries everything, so libraries, Temporal's SDK and our own structlog loggers
come out alike. Workflow code logs through `workflow.logger` only, which is silent on replay.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal, TextIO, cast

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import Processor
from temporalio import activity, workflow

_PERSONAL = (
    *("email", "mail", "phone", "mobile", "address", "street", "city", "postcode", "zip", "birthday", "notes"),
    *("lat", "lon", "lng", "latitude", "longitude", "coordinates", "gps"),
)
_NAMES = (("student", "name"), ("trainer", "name"), ("first", "name"), ("last", "name"), ("full", "name"))
_SECRET = (
    "card",
    "token",
    "authorization",
    "password",
    "passphrase",
    "secret",
    "credentials",
    "cookie",
    "signature",
    "jwk",
)
_KEYS = (("api", "key"), ("private", "key"), ("signing", "key"), ("access", "key"))
_PRIVATE_WORDS = frozenset((*_PERSONAL, *_SECRET))
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")
_URL_LOGIN = re.compile(r"(?<=://)[^/@\s]+@")
_BEARER = re.compile(r"(?i)\bbearer\s+[\w.~+/=-]+")
_TOKEN = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*")
_KEY = re.compile(r"-----BEGIN [^-]+-----.*?(?:-----END [^-]+-----|\Z)|\bwhsec_[\w+/=]+", re.DOTALL)
_ROW = re.compile(r"(?m)^(DETAIL|CONTEXT):.*$")  # in which PostgreSQL quotes the row it was about
HIDDEN = "[redacted]"


# They log the whole URL of every request, and it may hold a secret.
_TALKATIVE = ("httpx2", "httpcore2")

_PATTERNS = (
    (_URL_LOGIN, f"{HIDDEN}@"), (_KEY, HIDDEN), (_BEARER, HIDDEN), (_TOKEN, HIDDEN), (_EMAIL, HIDDEN),
    (_ROW, rf"\1: {HIDDEN}"),
)  # fmt: skip
# One of these is in every text that a pattern matches. To look for them costs a fraction of trying the patterns.
_SIGNS = ("@", "-----BEGIN ", "whsec_", "eyJ", "DETAIL:", "CONTEXT:")


@lru_cache(maxsize=4096)  # few names come over and over
def is_private(key: str) -> bool:
    """Return whether a log key, in camelCase or snake_case, names personal data or a secret.

    Test cards are no bank cards.
    """
    words = [word.lower() for word in _WORD.findall(key)]
    if "test" in words:
        words = [word for word in words if word != "card"]
    pairs = set(pairwise(words))
    return words == ["name"] or not _PRIVATE_WORDS.isdisjoint(words) or not pairs.isdisjoint((*_NAMES, *_KEYS))


def redact(value: Any) -> Any:
    """Return the value without e-mail addresses, logins in URLs, tokens, keys and private fields, at any depth."""
    if isinstance(value, str):
        for sign in _SIGNS:
            if sign in value:
                break
        else:
            if "bearer" not in value.lower():
                return value
        for pattern, instead in _PATTERNS:
            value = pattern.sub(instead, value)
        return value
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
        return {key: HIDDEN if is_private(str(key)) and inner is not None else redact(inner) for key, inner in items}
    if isinstance(value, (list, tuple)):
        return [redact(inner) for inner in cast("list[Any] | tuple[Any, ...]", value)]
    return value


def _redact_event(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if not key.startswith("_"):  # structlog's own record, which is dropped before rendering
            event[key] = HIDDEN if is_private(key) and value is not None else redact(value)
    return event


def set_up_logs(
    level: str = "INFO", form: Literal["auto", "json", "console"] = "auto", to: TextIO | None = None
) -> None:
    """Set up the process's logging; `auto` writes console lines to a terminal and JSON anywhere else."""
    stream = to or sys.stderr
    console = form == "console" or (form == "auto" and stream.isatty())
    # Workflow and activity facts belong in fields, not glued to the message.
    workflow.logger.workflow_info_on_message = False
    activity.logger.activity_info_on_message = False
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structured = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
    last: list[Processor] = (
        [structlog.processors.format_exc_info, _redact_event, structlog.dev.ConsoleRenderer(colors=stream.isatty())]
        if console
        else [structured, _redact_event, structlog.processors.JSONRenderer(default=str)]
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
