"""`GET .../{id}/case`: why a purchase stands where it stands, what happened, what can be done; and its audit."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter
from pydantic import ConfigDict, Field

from api.http.auth import CallerDep
from api.http.dependencies import ServicesDep
from api.http.ids import PurchaseInPath, purchase_id_from
from api.http.json_models import Answer, wall
from api.http.openapi_examples import CASE
from api.http.problems import problems
from api.purchases.student_views import words_for_student
from application.case_text import cause_of, timeline
from application.context import Services
from application.errors import NotFound, Unavailable, Unprocessable
from application.find_purchase import found
from application.purchase_state import live
from application.run_states import RunState
from db.closed_days import Stranded
from db.reads.cases import Money, acts_of, money_of, sent_events_of
from db.reads.lessons import stranded_lessons
from db.reads.progress import progress_after, steps_told
from db.reads.purchases import BoughtRow, Lessons, bought, lessons_of
from db.reads.starts import StartRow
from domain.next_actions import START_AGAIN, Action, actions_for
from domain.refusals import REFUSALS
from domain.runs import Helps
from domain.texts import SAMPLE_REASON

router = APIRouter(prefix="/api/v1/admin/purchases", tags=["admin"])

_PAID = ("succeeded", "partially_refunded", "refunded")
_BACK = ("succeeded", "settled_outside")


class ActionView(Answer):
    """What makes sense now: POST `body` to `href`. For a verb, put in a reason and a key of your own."""

    verb: str
    why: str
    href: str
    body: dict[str, Any]


class MoneyView(Answer):
    """The money of this payment line, in minor units of `currency`; `status` is the payment's.

    `refunded`: by us, or past the provider as operators say. `givenBackAtProvider`: the most that it was seen to have
    given back, by whomever. `refundStatus`: of our newest refund. `coins`: its price in coins; `coinsRedeemed`,
    `coinsGivenBack`: how many of them were.
    """

    paid: int
    refunded: int
    given_back_at_provider: int
    currency: str
    status: str
    refund_status: str | None
    coins: int
    coins_redeemed: int
    coins_given_back: int


class Happened(Answer):
    """An entry of the timeline."""

    at: datetime
    what: str


class CaseLessons(Answer):
    """How many of the lessons exist; wall times in `timezone`.

    `closed`: those to come whose day was closed since, and that could not be moved yet.
    """

    count: int
    of: int | None
    first: str | None
    last: str | None
    timezone: str | None
    closed: list[str]


class CaseLinks(Answer):
    """`temporalUi` null: no Temporal UI is configured."""

    temporal_ui: str | None
    api: str


class CaseFile(Answer):
    """Everything support needs of one purchase, in words. Without Temporal `cause` says what the database knows."""

    id: str
    workflow_id: str
    student_id: str
    item: str | None
    ending: str
    stage: str | None
    code: str | None
    cause: str
    student: str = Field(description="what to tell the student")
    since: datetime | None
    next_retry: str | None
    gives_up: str | None = Field(description="when it is undone by itself, and the money goes back; null: never")
    next_action: str | None
    actions: list[ActionView]
    second_person: str | None = Field(description="an act that waits until a second person sends the same requestKey")
    problems: list[str] = Field(description="not empty: the workflow's code fails on it, an engineer is needed")
    skipped: list[str]
    money: MoneyView | None
    lessons: CaseLessons
    timeline: list[Happened]
    links: CaseLinks
    worker: str
    model_config = ConfigDict(json_schema_extra={"examples": [CASE]})


@router.get("/{purchase}/case", summary="The case file", responses=problems(NotFound, Unprocessable, Unavailable))
async def case_file(purchase: PurchaseInPath, services: ServicesDep, who: CallerDep) -> CaseFile:
    """Says why it waits, what to tell the student, what to do, the money, and what happened. Needs no worker."""
    purchase_id = purchase_id_from(purchase)
    async with services.reading() as conn:
        start = await found(conn, purchase_id, who)
    start, run, reached, worker = await live(services, start)
    async with services.reading() as conn:  # after its ending was: what it ended with is there
        item = await bought(conn, purchase_id)
        steps = steps_told(await progress_after(conn, purchase_id, 0))
        lessons = await lessons_of(conn, purchase_id)
        closed = await stranded_lessons(conn, purchase_id, services.clock())
        money = await money_of(conn, start.payment_id, start.line)
        told = await sent_events_of(conn, purchase_id)
        acts = await acts_of(conn, purchase_id)
    now = run if run and not start.ending else None
    attention = now.attention if now else None
    code = attention.reason if attention else start.code
    return CaseFile(
        id=start.purchase_id,
        workflow_id=start.workflow_id,
        student_id=start.student_id,
        item=f"{item.item_type} {item.item_id}" if item else None,
        ending=start.ending or ("attention" if attention else "running"),
        stage=now.stage if now else None,
        code=code,
        cause=_cause(start, now, reached),
        student=words_for_student(start, now),
        since=attention.since if attention else start.ended_at,
        next_retry=now.next_retry if now else None,
        gives_up=now.gives_up if now else None,
        next_action=REFUSALS[code].next_action if code in REFUSALS else None,
        actions=[_action(start, action) for action in _actions(now)],
        second_person=_second_person(now),
        problems=now.problems if now else [],
        skipped=[step for event in told if event.type == "PURCHASE_COMPLETED" for step in event.skipped],
        money=_money(money) if money else None,
        lessons=_lessons(lessons, item, closed),
        timeline=[Happened(at=when, what=what) for when, what in timeline(start, steps, told, acts, money)],
        links=_links(services, start),
        worker=worker,
    )


def _cause(start: StartRow, run: RunState | None, reached: bool) -> str:
    """Return why it stands where it stands, for operators."""
    if run and run.problems:
        return "The workflow's own code fails on this purchase; an engineer has to deploy a fix."
    if run and run.attention:
        found = [run.paused_by and f"by {run.paused_by}", run.attention.message]
        return cause_of(run.attention.reason, "; ".join(text for text in found if text))
    if start.ending == "completed":
        return "It is completed: the student has what was bought."
    if start.ending:
        return cause_of(start.code or "CANCELLED", None)
    if run:
        waits = " and waits for its next look" if run.next_retry else ""
        return f"Nothing is wrong: it is at {run.stage or 'its start'}{waits}."
    if not reached:
        return "Temporal does not answer, so it is not known whether it waits; nothing is lost."
    return "Its workflow is about to start."


def _actions(run: RunState | None) -> list[Action]:
    if run is None or run.problems:
        return []
    if run.kind.helps is not Helps.NOTHING_NEEDED:
        return [START_AGAIN] if run.kind.helps is Helps.START_AGAIN else []
    return actions_for(run.stage, run.attention.reason if run.attention else None)


def _second_person(run: RunState | None) -> str | None:
    return "; ".join(f"{said} (requestKey {key})" for key, said in (run.second_person if run else {}).items()) or None


def _action(start: StartRow, action: Action) -> ActionView:
    if action is START_AGAIN:
        return ActionView(
            verb=action.verb, why=action.why, href="/api/v1/purchases", body={"purchaseId": start.purchase_id}
        )
    told_at = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"  # in the key: what is copied from here acts once, and later again
    body = {"reason": SAMPLE_REASON, "requestKey": f"{action.verb}-{told_at}", **action.values}
    return ActionView(
        verb=action.verb, why=action.why, href=f"{router.prefix}/{start.purchase_id}/{action.verb}", body=body
    )


def _money(money: Money) -> MoneyView:
    return MoneyView(
        paid=money.amount_minor if money.status in _PAID else 0,
        refunded=sum(each.amount_minor for each in money.refunds if each.status in _BACK),
        given_back_at_provider=money.given_back_minor,
        currency=money.currency,
        status=money.status,
        refund_status=money.refunds[-1].status if money.refunds else None,
        coins=money.coins,
        coins_redeemed=money.coins_redeemed,
        coins_given_back=money.coins_given_back,
    )


def _lessons(lessons: Lessons, item: BoughtRow | None, closed: list[Stranded]) -> CaseLessons:
    return CaseLessons(
        count=lessons.count,
        of=item.session_count if item and item.fulfilment == "sessions" else None,
        first=wall(lessons.first_local),
        last=wall(lessons.last_local),
        timezone=lessons.zone,
        closed=[f"lesson {each.number}, {wall(each.local_start)}: {each.why}" for each in closed],
    )


def _links(services: Services, start: StartRow) -> CaseLinks:
    named = quote(start.workflow_id, safe="")
    ui = (
        services.temporal_ui_url
        and f"{services.temporal_ui_url.rstrip('/')}/namespaces/{services.temporal.namespace}/workflows/{named}"
    )
    return CaseLinks(temporal_ui=ui, api=f"/api/v1/purchases/{start.purchase_id}")
