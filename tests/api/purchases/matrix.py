"""What may be bought, in what state the world may be, and what the specification says becomes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, LiteralString

from sqlalchemy import Engine

from tests import build
from tests.gateways.in_memory import FakeProvider

TIERS = (10, 20, 30)
STATES = ("ok", "no profile", "bad GPS", "no trainer", "closed")
KINDS = ("course", "subject", "bundle")
LINES = (1, 3)
PRICE = 50000
_REASONS = {
    "no profile": "STUDENT_PROFILE_MISSING",
    "bad GPS": "GPS_INVALID",
    "no trainer": "NO_TRAINER_AVAILABLE",
}


@dataclass(frozen=True)
class Line:
    """One line of a payment. `tier` None: nothing said of lessons; `cards`: how many it brings."""

    item: tuple[str, str]
    tier: int | None = None
    slot: str = "18:00"
    cards: int = 0


@dataclass(frozen=True)
class Case:
    """A student who buys a thing of `kind` in a state of the world, alone or with two neighbours on the same payment."""

    number: int
    tier: int
    state: str
    kind: str
    lines: int

    def __str__(self) -> str:
        return f"{self.tier} {self.kind}, {self.state}, {self.lines} lines"

    def named(self, what: str) -> str:
        return f"m{self.number}-{what}"

    @property
    def bought(self) -> list[Line]:
        """The thing itself; then, of three, a course (beside a bundle one of its own subjects) and a book."""
        cards = {"course": 0, "subject": 50, "bundle": 100}[self.kind]
        first = Line((self.kind, self.named(self.kind)), self.tier, cards=cards)
        neighbour = Line(("course", self.named("neighbour")), 10, "08:00")
        overlap = Line(("subject", self.named("algebra")), None, cards=50)
        book = Line(("course", self.named("book")))
        return [first, overlap if self.kind == "bundle" else neighbour, book][: self.lines]

    def outcome(self, line: Line) -> dict[str, Any]:
        """What the list must show of a line, field by field (spec sections 3 and 6; rows 13, 64, 75, 80, 86)."""
        first = line == self.bought[0]
        counted = (line.tier, "purchaseTier") if line.tier else (30, "default")
        counted = (None, None) if line.cards else counted  # cards have no lessons to count
        if first and self.state == "closed":
            return _row("refused", "COURSE_UNAVAILABLE", True, None, None)
        lessons = line.item[0] == "course" and line.tier is not None
        parks = self.state in ("no profile", "bad GPS") or (first and self.state == "no trainer")
        if lessons and parks:
            return _row("attention", _REASONS[self.state], None, *counted)
        return _row("completed", None, False, *counted, sessions=line.tier or 0 if lessons else 0, cards=line.cards)


def _row(
    ending: str, code: str | None, refunded: bool | None, count: int | None, source: str | None, *,
    sessions: int = 0, cards: int = 0,
) -> dict[str, Any]:  # fmt: skip
    return {
        "ending": ending, "code": code, "refunded": refunded, "sessionCount": count, "sessionCountSource": source,
        "sessions": sessions, "testCards": cards,
    }  # fmt: skip


def cases() -> list[Case]:
    """All ninety: every state, kind and number of lines with its three tiers one after the other."""
    kinds = [(state, kind, lines) for state in STATES for kind in KINDS for lines in LINES]
    turned = [(TIERS[(turn + n) % 3], *what) for n, what in enumerate(kinds) for turn in range(3)]
    return [Case(number, *of) for number, of in enumerate(turned)]


_CART: LiteralString = """
INSERT INTO cart_items (id, student_id, item_type, item_id) SELECT :id, :student, :item_type, :item_id
"""


def stock(engine: Engine, provider: FakeProvider, case: Case, payment_id: str) -> None:
    """The student, the catalogue, the trainer, the cart with one thing more than is bought, and the payment."""
    home = {"no profile": {"timezone": None}, "bad GPS": {"latitude": 0, "longitude": 0}}.get(case.state, {})
    student = build.student(engine, case.named("student"), **home)
    for subject in ("algebra", "biology"):
        build.item(engine, case.named(subject), item_type="subject", fulfilment="test_cards")
    for line in case.bought:
        kind, item = line.item
        is_open = not (line == case.bought[0] and case.state == "closed")
        fulfilment = "test_cards" if kind != "course" else "sessions" if line.tier else "ownership"
        build.item(engine, item, item_type=kind, fulfilment=fulfilment, is_open=is_open)
        if kind == "bundle":
            for subject in ("algebra", "biology"):
                build.run(engine, "INSERT INTO bundle_subjects VALUES (:b, :s)", b=item, s=case.named(subject))
    taught = [line.item[1] for line in case.bought if line.item[0] == "course" and line.tier]
    taught = [item for item in taught if case.state != "no trainer" or item != case.named("course")]
    build.trainer(engine, case.named("trainer"), courses=tuple(taught))
    for number, line in enumerate([*case.bought, Line(("course", case.named("not-bought")))], start=1):
        build.run(
            engine,
            _CART,
            id=case.named(f"cart-{number}"),
            student=student,
            item_type=line.item[0],
            item_id=line.item[1],
        )
    _pay(engine, provider, case, payment_id)


def _pay(engine: Engine, provider: FakeProvider, case: Case, payment_id: str) -> None:
    items = tuple(line.item for line in case.bought)
    build.pay(engine, provider, payment_id, student_id=case.named("student"), items=items, amount_minor=PRICE)
    for number, line in enumerate(case.bought, start=1):
        said: dict[str, Any] = {"processingItemId": case.named(f"cart-{number}")}
        if line.tier:
            said |= {
                "purchaseTier": line.tier, "startDate": "2026-12-01", "classTime": line.slot, "scheduleType": "daily",
            }  # fmt: skip
        build.run(
            engine,
            "UPDATE payment_lines SET metadata = CAST(:said AS jsonb) WHERE payment_id = :id AND line = :line",
            said=build.json.dumps(said), id=payment_id, line=number,
        )  # fmt: skip
