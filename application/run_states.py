"""Read the state of a run from the server's own message; no status, memo or search attribute makes the reader fail.

The SDK raises on a status that it does not know (a paused run's, for one), so the message is read without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import structlog
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.workflow.v1 import WorkflowExecutionExtendedInfo, WorkflowExecutionInfo
from temporalio.client import Client
from temporalio.common import TypedSearchAttributes
from temporalio.converter import decode_typed_search_attributes

from domain.refusals import REFUSALS
from domain.runs import FORGOTTEN, UNKNOWN_RUN_STATE, RunKind, kind_of
from workflows.attributes import (
    ATTENTION_REASON,
    ATTENTION_SINCE,
    NEEDS_ATTENTION,
    PURCHASE_STAGE,
    REPORTED_PROBLEMS,
    SESSIONS_MISSING,
)

_log = structlog.get_logger()


@dataclass(frozen=True)
class ParkedState:
    """Why a purchase needs somebody, since when, when it tries again by itself and what an operator can do."""

    reason: str
    since: datetime | None
    next_retry: str | None
    next_action: str | None
    message: str | None = None


@dataclass(frozen=True)
class RunState:
    """A run as Temporal knows it. `kind`: what its status means for a purchase that has no ending."""

    workflow_id: str
    kind: RunKind
    stage: str | None = None  # where it stood, of one that is closed
    attention: ParkedState | None = None
    next_retry: str | None = None  # also of a run on a named timer that needs nobody
    gives_up: str | None = None  # when it is undone by itself
    problems: list[str] = field(default_factory=list[str])  # its workflow tasks fail: an engineer is needed
    sessions_missing: int = 0
    second_person: dict[str, str] = field(default_factory=dict[str, str])  # waited for; who asked first, by request key
    paused_by: str | None = None  # who paused it and why, in their words: for operators only

    @property
    def running(self) -> bool:
        return self.kind.open and self.kind.code is None


def forgotten(workflow_id: str) -> RunState:
    """Return the state of a purchase that was started long ago and has no run."""
    return RunState(
        workflow_id,
        FORGOTTEN,
        attention=_by_hand(
            FORGOTTEN, "Temporal knows no run of it; POST its payment or its purchaseId to /api/v1/purchases", None
        ),
    )


async def read_run(
    client: Client, info: WorkflowExecutionInfo, more: WorkflowExecutionExtendedInfo | None = None
) -> RunState:
    """Return the state of one run; one that cannot be read is UNKNOWN_RUN_STATE, and no other run suffers from it."""
    workflow_id, kind = info.execution.workflow_id, kind_of(info.status)
    try:
        known = decode_typed_search_attributes(info.search_attributes)
        memo = {name: (await client.data_converter.decode([it]))[0] for name, it in info.memo.fields.items()}
        return _state(info, kind, known, memo, more)
    except Exception as error:
        _log.warning("run_not_readable", workflow_id=workflow_id, status=kind.status, error=type(error).__name__)
        return RunState(workflow_id, kind, attention=_unknown("its memo or its search attributes cannot be read"))


def _state(
    info: WorkflowExecutionInfo,
    kind: RunKind,
    known: TypedSearchAttributes,
    memo: Mapping[str, Any],
    more: WorkflowExecutionExtendedInfo | None,
) -> RunState:
    attention = _attention(info, kind, known, memo, more)
    goes_on = kind.code is None
    held = cast("dict[Any, Any]", memo.get("second_person") or {}) if goes_on else {}
    paused = more.pause_info if more and more.HasField("pause_info") else None
    return RunState(
        info.execution.workflow_id,
        kind,
        stage=known.get(PURCHASE_STAGE),
        attention=attention,
        next_retry=_text(memo.get("next_retry")) if goes_on else None,
        gives_up=_text(memo.get("gives_up")) if goes_on else None,
        problems=list(known.get(REPORTED_PROBLEMS) or []) if kind.open else [],
        sessions_missing=known.get(SESSIONS_MISSING) or 0,
        second_person={str(key): str(actor) for key, actor in held.items()},
        paused_by=f"{paused.identity}: {paused.reason or 'no reason given'}" if paused else None,
    )


def _attention(
    info: WorkflowExecutionInfo,
    kind: RunKind,
    known: TypedSearchAttributes,
    memo: Mapping[str, Any],
    more: WorkflowExecutionExtendedInfo | None,
) -> ParkedState | None:
    needs, reason, since = known.get(NEEDS_ATTENTION), known.get(ATTENTION_REASON), known.get(ATTENTION_SINCE)
    message = _text(memo.get("message"))
    if kind.code and kind.open:
        paused_at = _moment(more.pause_info.paused_time) if more and more.HasField("pause_info") else None
        return _by_hand(kind, message, paused_at or since)
    if kind.code:
        return _by_hand(kind, f"its run is {kind.status.lower()}, the record has no ending", _moment(info.close_time))
    if needs is None or (needs and not reason):
        return _unknown("its search attributes do not say whether it waits")
    if not needs:
        return None
    return ParkedState(reason or "", since, _text(memo.get("next_retry")), _text(memo.get("next_action")), message)


def _by_hand(kind: RunKind, message: str | None, since: datetime | None) -> ParkedState:
    code = kind.code or UNKNOWN_RUN_STATE
    return ParkedState(code, since, None, REFUSALS[code].next_action, message)


def _unknown(message: str) -> ParkedState:
    return ParkedState(UNKNOWN_RUN_STATE, None, None, REFUSALS[UNKNOWN_RUN_STATE].next_action, message)


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise TypeError("a memo field that should be text is none")


def _moment(at: Timestamp) -> datetime | None:
    return at.ToDatetime(tzinfo=UTC) if at.seconds > 0 else None
