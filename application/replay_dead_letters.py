"""Acts on dead letters: mend the payload, bring the event in again. Each happens once per `requestKey` and is on record."""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog

from application.context import Services
from application.errors import NotFound, Unprocessable
from application.event_schema import read_event
from application.incoming_events import ingest
from db.dead_letters import LetterAct, acted_before, fix_letter, letter_refused, letter_replayed
from db.reads.events import LetterRow, letter

TAKEN, DUPLICATE = "taken", "duplicate"

_log = structlog.get_logger()


@dataclass
class Replays:
    """Counts of a bulk replay: `replayed` (taken or duplicate), `refused` again, `left` for the same request again."""

    replayed: int = 0
    refused: int = 0
    left: int = 0
    refusals: list[str] = field(default_factory=list[str])


async def letter_or_404(services: Services, letter_id: int) -> LetterRow:
    """Return the dead letter. Raises NotFound when none has this id."""
    async with services.reading() as conn:
        found = await letter(conn, letter_id)
    if found is None:
        raise NotFound(code="DEAD_LETTER_NOT_FOUND", detail="No dead letter has this id.")
    return found


async def fix(services: Services, letter_id: int, payload: str, act: LetterAct) -> str:
    """Keep a mended payload beside the original; it must be an event of ours. Raises NotFound, Unprocessable, KeyReused."""
    await letter_or_404(services, letter_id)
    read_event(payload.encode())
    await _first(services, letter_id, act, payload)
    outcome = await fix_letter(services.engine, letter_id, payload, act)
    _log.info("dead_letter_fixed", dead_letter=letter_id, actor=act.actor, request_key=act.request_key)
    return outcome


async def replay(services: Services, letter_id: int, act: LetterAct) -> tuple[str, str | None]:
    """Bring the mended event in, or the original. Return `taken` or `duplicate`, or the code and detail of its refusal.

    The same key again returns the first outcome. Raises NotFound, KeyReused, Unavailable; then nothing is on record.
    """
    found = await letter_or_404(services, letter_id)
    if first := await _first(services, letter_id, act):
        return first, None
    payload = found.payload if found.fixed_payload is None else found.fixed_payload.encode()
    try:
        taken = await ingest(services, payload)
    except (NotFound, Unprocessable) as err:
        detail = err.detail or ""
        outcome = await letter_refused(services.engine, letter_id, err.code, detail, act)
        _log.warning("dead_letter_refused", dead_letter=letter_id, code=err.code, request_key=act.request_key)
        return outcome, detail
    outcome = await letter_replayed(services.engine, letter_id, DUPLICATE if taken.duplicate else TAKEN, act)
    _log.info("dead_letter_replayed", dead_letter=letter_id, outcome=outcome, request_key=act.request_key)
    return outcome, None


async def _first(services: Services, letter_id: int, act: LetterAct, payload: str | None = None) -> str | None:
    """Return the outcome this act had the first time, or None. Raises KeyReused when its key was used for another."""
    async with services.reading() as conn:
        return await acted_before(conn, letter_id, act, payload)
