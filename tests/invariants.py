"""The invariants that hold for every purchase whatever happened (mission rows I1 to I11), as SQL that finds violations.

`violations` looks at the database and the provider's ledger, `violations_of_runs` compares with Temporal. They hold at
any moment, between two steps of running purchases too. Operators' audit rows (I10) come with their table. I12 is: run these after any kill.
"""

from __future__ import annotations

import json
from typing import LiteralString

import httpx2
from sqlalchemy import Engine, text
from temporalio.client import Client, WorkflowExecutionStatus

from db.loads import WRONG
from tests.build import rows

# line: each started line with what the provider took and gave back. A payment is as it was created or settled later.
_LINES: LiteralString = """
WITH op AS MATERIALIZED (
  SELECT * FROM jsonb_to_recordset(CAST(:operations AS jsonb))
    AS op (seq bigint, operation text, "paymentId" text, request jsonb, status integer)
), charge AS (
  SELECT op."paymentId" AS payment_id, coalesce((
    SELECT CASE later.operation WHEN 'cancel' THEN 'failed' ELSE 'succeeded' END FROM op AS later
    WHERE later."paymentId" = op."paymentId" AND later.operation IN ('cancel', 'confirm') AND later.status = 200
    ORDER BY later.seq DESC LIMIT 1
  ), op.request ->> 'status') IN ('succeeded', 'partially_refunded', 'refunded') AS taken, op.request
  FROM op WHERE op.operation = 'create'
), given AS (
  SELECT "paymentId" AS payment_id, (request ->> 'line')::integer AS line,
         count(*) AS times, sum((request ->> 'amountMinor')::bigint) AS amount
  FROM op WHERE operation = 'refund' AND status = 200 GROUP BY 1, 2
), by_hand AS (
  SELECT "paymentId" AS payment_id, (request ->> 'line')::integer AS line, sum((request ->> 'amountMinor')::bigint) AS amount
  FROM op WHERE operation = 'refund_by_hand' AND status = 200 GROUP BY 1, 2
), ours AS (
  SELECT payment_id, line, sum(amount_minor) FILTER (WHERE status = 'succeeded') AS succeeded,
         coalesce(sum(amount_minor) FILTER (WHERE status = 'settled_outside'), 0) AS outside
  FROM refunds GROUP BY 1, 2
), line AS (
  SELECT start.*, purchase.status AS purchase_status, purchase.fulfilment, purchase.session_count,
         charge.payment_id IS NOT NULL AS known,
         coalesce(charge.taken, false) AND charge.request ->> 'studentId' = start.student_id AS taken,
         coalesce((share ->> 'amountMinor')::bigint, 0) AS amount, coalesce(given.amount, 0) AS given,
         coalesce((share ->> 'refundedMinor')::bigint, 0) + coalesce(by_hand.amount, 0) AS given_before,
         coalesce(ours.outside, 0) AS outside, coalesce(given.times, 0) AS times,
         EXISTS (SELECT FROM operator_decisions AS decision WHERE decision.purchase_id = start.purchase_id
                 AND verb = 'cancel' AND values ->> 'refund' = 'none') AS nothing_back,
         coalesce(told.data -> 'skipped', '[]') AS skipped
  FROM purchase_starts AS start
  LEFT JOIN student_course_purchases AS purchase ON purchase.id = start.purchase_id
  LEFT JOIN charge ON charge.payment_id = start.payment_id
  LEFT JOIN LATERAL jsonb_array_elements(charge.request -> 'lines') AS share
    ON (share ->> 'line')::integer = start.line
  LEFT JOIN given ON given.payment_id = start.payment_id AND given.line = start.line
  LEFT JOIN by_hand ON by_hand.payment_id = start.payment_id AND by_hand.line = start.line
  LEFT JOIN ours ON ours.payment_id = start.payment_id AND ours.line = start.line
  LEFT JOIN outbox AS told ON told.key = 'purchase:' || start.purchase_id || ':' || 'PURCHASE_COMPLETED'
)
"""

# Each SELECT answers one column: what is wrong, with the ids to look at.
_RULES: dict[str, LiteralString] = {
    "I1 completed without a purchase": """
        SELECT workflow_id FROM line WHERE ending = 'completed'
        AND purchase_status IS DISTINCT FROM 'active' AND purchase_status IS DISTINCT FROM 'superseded'""",
    "I1 refused as unknown, and the provider knows it": """
        SELECT workflow_id FROM line WHERE code = 'PAYMENT_NOT_FOUND' AND known""",
    "I1 ended, paid, and not given back": """
        SELECT workflow_id || ' ' || given || ' of ' || amount FROM line
        WHERE ending IN ('refused', 'cancelled') AND taken AND NOT nothing_back
        AND given + given_before + outside <> amount""",
    "I1 cancelled with nothing given back, and something was": """
        SELECT workflow_id || ' ' || given + outside FROM line
        WHERE nothing_back AND (given + outside > 0 OR ending IN ('refused', 'completed'))""",
    "I1 ended, and still holds the purchase": """
        SELECT workflow_id FROM line WHERE ending IN ('refused', 'cancelled') AND purchase_status <> 'voided'""",
    "I2 holds the purchase and has the money back": """
        SELECT workflow_id FROM line WHERE given > 0 AND purchase_status <> 'voided'""",
    "I2 lines do not add up to their payment": """
        SELECT payment.id FROM payments AS payment
        WHERE amount_minor <> (SELECT sum(amount_minor) FROM payment_lines WHERE payment_id = payment.id)""",
    "I2 our amounts are not the provider's": """
        SELECT workflow_id FROM line JOIN payment_lines USING (payment_id, line)
        WHERE amount > 0 AND amount <> payment_lines.amount_minor""",
    "I2 completed, and the coins taken are not what the line costs": """
        SELECT workflow_id FROM line JOIN payment_lines AS paid USING (payment_id, line)
        WHERE ending = 'completed' AND NOT skipped ? 'redeem_coins' AND paid.coins +
          (SELECT coalesce(sum(coins), 0) FROM coin_movements AS moved WHERE moved.purchase_id = line.purchase_id) <> 0""",
    "I2 made whole, and coins are kept": """
        SELECT workflow_id FROM line WHERE ending IN ('refused', 'cancelled') AND NOT EXISTS (
          SELECT FROM operator_decisions AS decision WHERE decision.purchase_id = line.purchase_id AND verb = 'cancel'
          AND values ->> 'refund' IN ('undelivered', 'none'))
        AND (SELECT coalesce(sum(coins), 0) FROM coin_movements AS m WHERE m.purchase_id = line.purchase_id) <> 0""",
    "I2 holds the purchase and has the coins back": """
        SELECT workflow_id FROM line JOIN coin_movements AS moved USING (purchase_id)
        WHERE kind = 'recredit' AND (ending = 'completed' OR ending IS NULL AND EXISTS (
          SELECT FROM purchase_steps WHERE step = 'redeem_coins' AND state = 'done'
          AND purchase_steps.purchase_id = line.purchase_id))""",
    "I2 more or fewer coins went than the line costs, or more came back than went": """
        SELECT workflow_id FROM line JOIN payment_lines AS paid USING (payment_id, line)
        JOIN coin_movements AS taken ON taken.purchase_id = line.purchase_id AND taken.kind = 'redemption'
        LEFT JOIN coin_movements AS back ON back.purchase_id = line.purchase_id AND back.kind = 'recredit'
        WHERE taken.coins <> -paid.coins OR back.coins > paid.coins""",
    "I3 refunded twice, or too much": """
        SELECT workflow_id FROM line WHERE times > 1 OR given + given_before > amount""",
    "I3 refunded although nobody was to be": """
        SELECT workflow_id FROM line WHERE given > 0 AND (ending = 'completed' OR code = 'STEP_TROUBLE' OR NOT taken)""",
    "I3 the rows of the refund are not what the provider did": """
        SELECT coalesce(line.workflow_id, ours.payment_id) FROM line FULL JOIN ours USING (payment_id, line)
        WHERE (line.ending IS NOT NULL OR ours.succeeded > 0) AND coalesce(ours.succeeded, 0) <> coalesce(line.given, 0)""",
    "I3 shows as refunded and is not, or the other way round": """
        SELECT workflow_id FROM line WHERE ending IS NOT NULL AND coalesce(refunded, false) <> (times > 0 OR outside > 0)""",
    "I4 lessons are not 1..N": """
        SELECT workflow_id FROM line WHERE ending = 'completed' AND fulfilment = 'sessions'
        AND NOT skipped ?| ARRAY['assign_trainer', 'approve_allocation', 'create_sessions'] AND
        (SELECT array_agg(session.number ORDER BY session.number) FROM sessions AS session
         JOIN allocations AS allocation ON allocation.id = session.allocation_id AND allocation.status = 'approved'
         WHERE session.purchase_id = line.purchase_id AND session.status = 'scheduled')
        IS DISTINCT FROM ARRAY(SELECT generate_series(1, session_count))""",
    "I4 a lesson is not at its held slot": """
        SELECT session.allocation_id || ' ' || session.number FROM sessions AS session
        JOIN trainer_slots AS slot USING (allocation_id, number)
        JOIN allocations AS allocation ON allocation.id = allocation_id AND allocation.status = 'approved' WHERE session.status = 'scheduled'
        AND (slot.status <> 'held' OR slot.during <> tstzrange(session.starts_at, session.ends_at, '[)'))""",
    "I4 two lessons overlap": """
        SELECT one.allocation_id || ' ' || one.number || ' and ' || two.allocation_id || ' ' || two.number
        FROM sessions AS one JOIN trainer_slots AS a USING (allocation_id, number)
        JOIN sessions AS two ON (one.allocation_id, one.number) < (two.allocation_id, two.number)
          AND one.starts_at < two.ends_at AND two.starts_at < one.ends_at
        JOIN trainer_slots AS b ON (b.allocation_id, b.number) = (two.allocation_id, two.number)
          AND (a.trainer_id = b.trainer_id OR a.student_id = b.student_id)
        WHERE one.status = 'scheduled' AND two.status = 'scheduled'""",
    "I4 made whole, and still holds a trainer": """
        SELECT workflow_id FROM line WHERE ending IN ('refused', 'cancelled') AND (
          EXISTS (SELECT FROM allocations AS a WHERE a.purchase_id = line.purchase_id AND a.status <> 'cancelled')
          OR EXISTS (SELECT FROM trainer_slots AS slot JOIN allocations AS a ON a.id = slot.allocation_id
                     WHERE a.purchase_id = line.purchase_id AND slot.status <> 'cancelled')
          OR EXISTS (SELECT FROM sessions AS session WHERE session.purchase_id = line.purchase_id
                     AND session.status = 'scheduled' AND session.starts_at > line.ended_at))""",
    "I4 the load kept with a trainer is not what the slots say": f"SELECT id FROM ({WRONG}) AS wrong",  # noqa: S608 -- a constant
    "I5 cards are not 50 of each subject": """
        SELECT workflow_id || ' ' || coalesce(subject_id, '-') || ': ' || count(card.id) FROM line
        LEFT JOIN purchase_subjects USING (purchase_id)
        LEFT JOIN mock_test_attempts AS card USING (purchase_id, subject_id)
        WHERE fulfilment = 'test_cards' AND card.voided_at IS NULL AND EXISTS (
          SELECT FROM purchase_steps AS kept
          WHERE kept.purchase_id = line.purchase_id AND step = 'issue_test_cards' AND state = 'done')
        GROUP BY workflow_id, subject_id HAVING count(card.id) <> 50""",
    "I5 cards without their step, or unused ones of a purchase that was made whole": """
        SELECT workflow_id FROM line JOIN mock_test_attempts AS card USING (purchase_id)
        WHERE card.voided_at IS NULL AND NOT EXISTS (SELECT FROM test_attempt_sessions WHERE test_card_id = card.id)
        AND NOT EXISTS (SELECT FROM purchase_steps AS kept WHERE kept.purchase_id = line.purchase_id
                        AND step = 'issue_test_cards' AND state = 'done')""",
    "I6 enrolled without a purchase": """
        SELECT enrolled.purchase_id FROM enrollments AS enrolled
        JOIN student_course_purchases AS purchase ON purchase.id = enrolled.purchase_id
        WHERE enrolled.ended_at IS NULL AND purchase.status = 'voided'""",
    "I6 has the purchase and is not enrolled": """
        SELECT workflow_id FROM line WHERE ending = 'completed' AND fulfilment <> 'ownership'
        AND NOT skipped ? 'enroll' AND NOT EXISTS (
          SELECT FROM enrollments AS e WHERE e.purchase_id = line.purchase_id AND (e.ended_at IS NULL OR e.expired))""",
    "I6 enrolled in other subjects than were bought": """
        SELECT workflow_id || ' ' || coalesce(bought.subject_id, item_id) FROM line
        JOIN purchase_subjects AS bought USING (purchase_id)
        FULL JOIN (SELECT * FROM enrollments WHERE (ended_at IS NULL OR expired) AND item_type = 'subject') AS e
          ON e.purchase_id = line.purchase_id AND e.item_id = bought.subject_id
        WHERE (e.item_id IS NULL AND ending = 'completed' AND NOT skipped ? 'enroll') OR bought.subject_id IS NULL""",
    "I6 access ended with time, and the purchase does not say so, or says so of access that goes on": """
        SELECT enrolled.purchase_id FROM enrollments AS enrolled
        JOIN student_course_purchases AS purchase ON purchase.id = enrolled.purchase_id
        WHERE purchase.status <> 'voided' AND (enrolled.expired <> (purchase.expired_at IS NOT NULL)
          OR enrolled.expires_on IS DISTINCT FROM purchase.expires_on)""",
    "I7 a balance is not what came and went": """
        SELECT id || ': ' || balance || ', not ' || moved FROM (
          SELECT id, coalesce((SELECT coins FROM coin_balances WHERE student_id = id), 0) AS balance,
                 coins_opening + coalesce((SELECT sum(coins) FROM coin_movements
                                           WHERE student_id = id AND kind <> 'opening'), 0) AS moved
          FROM students) AS student
        WHERE balance <> moved OR balance < 0""",
    "I8 ownership is not what was bought": """
        SELECT purchase.id FROM student_course_purchases AS purchase
        LEFT JOIN ownerships AS owned ON owned.purchase_id = purchase.id AND owned.revoked_at IS NULL
        WHERE (owned.purchase_id IS NULL) <> (purchase.status = 'voided')""",
    "I9 an event is missing, or tells what did not happen": """
        SELECT workflow_id || ' ' || type FROM line, LATERAL (VALUES
          ('PURCHASE_CREATED', purchase_status IS NOT NULL), ('PURCHASE_VOIDED', purchase_status = 'voided'),
          ('PURCHASE_COMPLETED', ending = 'completed'),
          ('PURCHASE_REFUNDED', ending IS NOT NULL AND refunded)) AS told (type, happened)
        WHERE coalesce(happened, false) <> EXISTS (
          SELECT FROM outbox WHERE key = 'purchase:' || purchase_id || ':' || told.type AND outbox.type = told.type)""",
    "I9 an event nobody knows": """
        SELECT key FROM outbox WHERE key NOT LIKE 'purchase:%:' || type
          AND NOT (key LIKE 'purchase:%:' || type || '@____-__-__' AND type IN ('PURCHASE_EXPIRED', 'PURCHASE_EXTENDED'))
          AND NOT (type IN ('PURCHASE_NEEDS_ATTENTION', 'PURCHASE_ATTENTION_ESCALATED') AND key LIKE 'purchase:%:' || type || '.%')
          AND (type NOT LIKE 'LESSONS!_%' ESCAPE '!' OR key NOT LIKE 'purchase:%:' || type || '-%')
        OR type NOT IN ('PURCHASE_EXPIRED', 'PURCHASE_EXTENDED', 'PURCHASE_CREATED', 'PURCHASE_VOIDED',
          'PURCHASE_COMPLETED', 'PURCHASE_REFUNDED', 'PURCHASE_NEEDS_ATTENTION', 'PURCHASE_ATTENTION_ESCALATED', 'PURCHASE_ENDED', 'LESSONS_CHANGED',
          'LESSONS_STRANDED')""",
    "I11 the ledger is not of one mind": """
        SELECT workflow_id || ' ' || step || ' ' || state FROM line JOIN purchase_steps AS kept USING (purchase_id, attempt)
        WHERE (ending = 'completed' AND state = 'undone')
           OR (ending IN ('refused', 'cancelled') AND state = 'done' AND step <> 'clear_cart')""",
}


def violations(engine: Engine, provider_url: str) -> list[str]:
    """Every violation found, named by its invariant; empty when all is well. Reads the provider's `/_ledger`."""
    answer = httpx2.get(f"{provider_url}/_ledger", trust_env=False).raise_for_status()
    return violations_by(engine, json.dumps(answer.json()))


def violations_by(engine: Engine, operations: str) -> list[str]:
    """The same, with the provider's operations as JSON; see gateways/fake_provider/ledger.py."""
    return [
        f"{rule}: {found[0]}"
        for rule, query in _RULES.items()
        for found in rows(engine, _LINES + query, operations=operations)
    ]


async def violations_of_runs(engine: Engine, client: Client) -> list[str]:
    """I11: a run that is closed has its ending written, and fits it; a row without an ending has a running workflow."""
    wrong: list[str] = []
    fits = {
        "completed": {WorkflowExecutionStatus.COMPLETED},
        "refused": {WorkflowExecutionStatus.FAILED},
        "cancelled": {WorkflowExecutionStatus.FAILED, WorkflowExecutionStatus.CANCELED},
        None: {WorkflowExecutionStatus.RUNNING},
    }
    with engine.connect() as connection:
        starts = connection.execute(text("SELECT workflow_id, ending FROM purchase_starts")).all()
    for workflow_id, ending in starts:
        status = (await client.get_workflow_handle(workflow_id).describe()).status
        # The ending is written just before the run closes, and somebody may terminate it in between.
        between = {WorkflowExecutionStatus.RUNNING, *((WorkflowExecutionStatus.TERMINATED,) if ending else ())}
        if status not in fits[ending] | between:
            wrong.append(f"I11 {workflow_id} is {status and status.name}, its row says {ending}")
    return wrong
