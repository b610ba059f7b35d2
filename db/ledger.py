"""The step ledger: every do and undo leaves one row, in the same transaction as its effect (spec section 3).

- `do` twice: the effect happens once, the second answers the first result.
- `undo` after a do: takes it back once; a second undo gives the same answer and does nothing.
- `undo` without a do: leaves a tombstone, so that a do that comes late is refused (ALREADY_MADE_WHOLE).

A do and an undo of the same step at once meet at the row's key: one waits for the other's commit.
The row keeps the do's result for good; a tombstone has none, which is how an undo knows that nothing had happened.
Rows are keyed by (purchase, attempt, step); `step` is the do's name, for its undo too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from sqlalchemy import Connection, Engine, bindparam, select, text
from sqlmodel import col

from db.engine import at_once
from db.rows import optional_row_as, row_as
from db.tables import PurchaseStep
from domain.purchase import PurchaseOrder, Undone
from domain.refusals import Refused

Json = dict[str, Any]

_CLAIM: LiteralString = """
claim AS (
  INSERT INTO purchase_steps (purchase_id, attempt, step, state, result, at)
  SELECT :purchase_id, :attempt, :step, 'done', CAST(:result AS jsonb), :now FROM unchanged
  ON CONFLICT (purchase_id, attempt, step) DO NOTHING
  RETURNING purchase_id
)"""

# FOR SHARE waits for a decision under way and then looks at the count it has left; and a decision waits for this.
UNCHANGED: LiteralString = """
unchanged AS MATERIALIZED (
  SELECT FROM purchase_starts WHERE purchase_id = :purchase_id AND decisions = :decisions FOR SHARE
)"""
_ALWAYS: LiteralString = "unchanged AS (SELECT)"

# Raw: what was there before decides. Answers the do's result when there is something to take back, NULL for a new
# tombstone, no row when undone before.
_UNDO = text("""
INSERT INTO purchase_steps AS kept (purchase_id, attempt, step, state, at)
VALUES (:purchase_id, :attempt, :step, 'undone', :now)
ON CONFLICT (purchase_id, attempt, step) DO UPDATE SET state = 'undone', at = :now WHERE kept.state = 'done'
RETURNING result
""")

# Raw: whichever comes first, a do or this, keeps the other out.
_RULE_OUT = text("""
INSERT INTO purchase_steps (purchase_id, attempt, step, state, at)
VALUES (:purchase_id, :attempt, :step, 'undone', :now)
ON CONFLICT (purchase_id, attempt, step) DO NOTHING
""")

_KEPT = select(col(PurchaseStep.state), col(PurchaseStep.result)).where(
    col(PurchaseStep.purchase_id) == bindparam("purchase_id"),
    col(PurchaseStep.attempt) == bindparam("attempt"),
    col(PurchaseStep.step) == bindparam("step"),
)


@dataclass(frozen=True)
class _Kept:
    state: str
    result: Json | None


@dataclass(frozen=True)
class _Claimed:
    result: Json | None


class Stale(Exception):
    """An operator decided something after the step had read the decisions: nothing was done, the step is tried again."""


def do(
    engine: Engine,
    order: PurchaseOrder,
    step: str,
    result: Json,
    effect: LiteralString = "",
    *,
    now: datetime,
    **values: object,
) -> Json:
    """Run `effect` and write the ledger row once, in one statement and one round trip; return the first result.

    `effect` is one or more CTEs, separated by commas, that read from `claim (purchase_id)`: one row when this call is
    the first, none otherwise, so that a repeat changes nothing. `values` are its parameters; :purchase_id and :now are
    there too. All parts of one statement see the database as it was before it: what one writes the others learn only
    from its RETURNING. Raises Refused("ALREADY_MADE_WHOLE") after an undo.

    A step that acts on operators' decisions passes `decisions`, their count as it was when it read them; raises Stale
    when there are more by now.
    """
    with at_once(engine) as connection:
        return do_within(connection, order, step, result, effect, now=now, **values)[1]


def do_within(
    connection: Connection,
    order: PurchaseOrder,
    step: str,
    result: Json,
    effect: LiteralString = "",
    *,
    now: datetime,
    **values: object,
) -> tuple[bool, Json]:
    """Act as `do` in the caller's transaction, for a step that looks at its effect before it is committed.

    Returns whether this call was the first, and the first result.
    """
    parts = [UNCHANGED if "decisions" in values else _ALWAYS, _CLAIM, *([effect] if effect else [])]
    statement = text(f"WITH {','.join(parts)} SELECT count(*) FROM claim")  # noqa: S608 - literals of our own, typed so
    named = {**values, **_key(order, step), "now": now, "result": json.dumps(result)}
    if connection.execute(statement, named).scalar_one():
        return True, result
    return False, first_result(connection, order, step)


def answered(state: str | None, result: Json | None) -> Json | None:
    """Return the first result of a step that has read its ledger row along with its facts, None when it is to be done.

    Raises Refused("ALREADY_MADE_WHOLE") after an undo.
    """
    if state == "undone":
        raise Refused("ALREADY_MADE_WHOLE", "this step comes after its own undo; the purchase was made whole before")
    return result


def undo(
    engine: Engine, order: PurchaseOrder, step: str, *reversals: LiteralString, now: datetime, **values: object
) -> Undone:
    """Take back once what `step` did: run the statements `reversals` and write the ledger row in one transaction.

    If nothing had been done, leave a tombstone and return `Undone(changed=False)`; if it was undone before, return the
    same answer as then, without effect. Each reversal is a statement of its own, so it sees all that the do wrote, even
    one that has only just committed.
    """
    with engine.begin() as connection:
        return undo_within(connection, order, step, *reversals, now=now, **values)


def undo_within(
    connection: Connection, order: PurchaseOrder, step: str, *reversals: LiteralString, now: datetime, **values: object
) -> Undone:
    """Act as `undo` in the caller's transaction, for an undo that locks more than the ledger's row."""
    timed = {**_key(order, step), "now": now}
    claimed = optional_row_as(_Claimed, connection.execute(_UNDO, timed))
    if claimed is None:
        return Undone(changed=row_as(_Kept, connection.execute(_KEPT, _key(order, step))).result is not None)
    if claimed.result is None:
        return Undone(changed=False)
    for reversal in reversals:
        connection.execute(text(reversal), {**values, **timed})
    return Undone(changed=True)


def rule_out(connection: Connection, order: PurchaseOrder, step: str, now: datetime) -> bool:
    """Leave a tombstone, so that the step is never done; return False when it is done already."""
    connection.execute(_RULE_OUT, {**_key(order, step), "now": now})
    return row_as(_Kept, connection.execute(_KEPT, _key(order, step))).state == "undone"


def first_result(connection: Connection, order: PurchaseOrder, step: str) -> Json:
    """Return the first result of a step that has a row; raise Refused("ALREADY_MADE_WHOLE") after an undo."""
    kept = optional_row_as(_Kept, connection.execute(_KEPT, _key(order, step)))
    if kept is None:
        raise Stale(f"{step} read decisions that are no longer the last ones")
    first = answered(kept.state, kept.result)
    assert first is not None, "a done row has a result: a CHECK holds it"
    return first


def _key(order: PurchaseOrder, step: str) -> Mapping[str, object]:
    return {"purchase_id": order.purchase_id, "attempt": order.attempt, "step": step}
