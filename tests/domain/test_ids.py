"""Ids made of parts: two things never get the same one, whatever the parts hold, and every one can be kept and read."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from domain import ids
from domain.ids import MOST, joined
from domain.purchase import ITEM_TYPES
from domain.students import is_student_id

TEXT = st.one_of(st.text(alphabet=":~.3amx|'/ ", max_size=6), st.text(max_size=300))
FEW = st.one_of(st.sampled_from(["a", "b", "a:b", "b:c", "a:", ":b", "~", "~3a.", "1", "manual", "free"]), TEXT)
PAYMENT = st.one_of(st.sampled_from(["manual", "free", "payment", "1"]), st.from_regex(r"\A[A-Za-z0-9_-]{1,64}\Z"))
LINE = st.integers(1, 3)
UUIDS = st.uuids(version=4).map(str) | st.just(str(UUID(int=1)))
ITEM_TYPE = st.sampled_from(ITEM_TYPES)
EVENT = st.sampled_from(["PURCHASE_CREATED", "PURCHASE_EXPIRED", "LESSONS_CHANGED", "PURCHASE_CONFIRMED"])
WHICH = st.one_of(st.just(""), st.dates().map(lambda day: f"@{day}"), UUIDS.map(lambda uuid: f"-{uuid}"))


def opening(student_id: str) -> str:
    """As the database writes it (migration 0003)."""
    return f"student:{student_id}:COIN_OPENING"


Kind = tuple[Callable[..., str], st.SearchStrategy[Any]]

PURCHASES: list[Kind] = [
    (ids.workflow_id_of, st.tuples(PAYMENT, LINE)),
    (ids.manual_workflow_id_of, st.tuples(FEW)),
    (ids.free_workflow_id_of, st.tuples(FEW, ITEM_TYPE, FEW, LINE)),
]
# What is told apart by its id alone, in one place.
PLACES: dict[str, list[Kind]] = {
    "workflows": [
        *PURCHASES,
        (ids.expiry_id_of, st.tuples(UUIDS)),
        (ids.hold_workflow_id_of, st.tuples(UUIDS)),
        (ids.change_workflow_id_of, st.tuples(UUIDS, FEW)),
        (ids.sweep_id_of, st.tuples(FEW)),
        (ids.prune_id_of, st.tuples(FEW)),
    ],
    "updates of a workflow": [(ids.update_id_of, st.tuples(st.sampled_from(["cancel", "amend"]), FEW, FEW, FEW))],
    "keys of a bulk": [
        (ids.bulk_key_of, st.tuples(FEW, args.map(lambda args, build=build: build(*args)))) for build, args in PURCHASES
    ],
    "coin movements": [
        (ids.coins_key, st.tuples(PAYMENT, LINE, st.sampled_from(["redemption", "recredit"]))),
        (ids.top_up_key, st.tuples(FEW, FEW)),
    ],
    "keys at the provider": [
        (ids.refund_id_of, st.tuples(PAYMENT, LINE)),
        (ids.checkout_key_of, st.tuples(PAYMENT)),
    ],
    "events": [
        (ids.event_key_of, st.tuples(UUIDS, EVENT, WHICH)),
        (ids.confirmed_key_of, st.tuples(PAYMENT, EVENT)),
    ],
    "things in carts": [(ids.cart_item_id_of, st.tuples(FEW, FEW))],
}


def things(place: str) -> st.SearchStrategy[tuple[int, tuple[Any, ...]]]:
    return st.one_of(*(st.tuples(st.just(n), args) for n, (_, args) in enumerate(PLACES[place])))


@pytest.mark.parametrize("place", PLACES)
@given(data=st.data())
def test_two_things_in_one_place_have_two_ids(place: str, data: st.DataObject) -> None:
    one, other = data.draw(things(place)), data.draw(things(place))
    made = [PLACES[place][kind][0](*args) for kind, args in (one, other)]
    assert (made[0] == made[1]) == (one == other)
    for each in made:
        assert each.isprintable()
        assert len(each.encode()) <= MOST


def parts_of(whole: str) -> list[str]:
    """What was joined, read back: there is one answer at most."""
    return [re.sub(r"~([0-9a-f]+)\.", lambda found: chr(int(found[1], 16)), part) for part in whole.split(":")]


@given(st.lists(FEW, min_size=1, max_size=5))
@example(["a", "b:c"])
@example(["a:b", "c"])
@example(["~3a.", "\0", "\ud800", "\u2028"])
def test_what_was_joined_can_be_read_back_so_nothing_else_is_joined_to_it(parts: list[str]) -> None:
    assert parts_of(joined(*parts, most=1_000_000)) == parts


@given(st.lists(FEW, max_size=3), st.text(min_size=255), st.integers(80, 255))
@example([], "é" * 200, 101)
def test_too_much_is_cut_to_a_readable_beginning_and_a_digest_of_all(few: list[str], last: str, most: int) -> None:
    parts = [*few, last]
    whole, cut = joined(*parts, most=1_000_000), joined(*parts, most=most)
    begins, _, digest = cut.rpartition("~")
    assert len(cut.encode()) <= most
    assert whole.startswith(begins)
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert joined(*parts, "more", most=most) != cut
    assert joined(*cut.split(":"), most=1_000_000) != cut, "no short thing is called so"


@given(st.lists(st.text(alphabet="ab|/@'é -", min_size=1, max_size=20), min_size=1, max_size=5))
def test_what_could_never_be_mistaken_looks_as_it_always_did(parts: list[str]) -> None:
    assert joined(*parts) == ":".join(parts)


def test_known_ids_keep_their_form() -> None:
    assert [
        ids.workflow_id_of("pay-1", 2), ids.manual_workflow_id_of("ticket-1"), ids.expiry_id_of("p"),
        ids.free_workflow_id_of("auth0|5f7c12ab", "test", "t"), ids.free_workflow_id_of("s", "test", "t", 2),
        ids.hold_workflow_id_of("h"), ids.change_workflow_id_of("p", "k"), ids.sweep_id_of("purchases"),
        ids.bulk_key_of("k", "purchase:pay-1:2"), ids.refund_id_of("pay-1", 2), ids.checkout_key_of("pay-1"),
        ids.coins_key("pay-1", 2, "redemption"), ids.top_up_key("student-1", "k"), ids.event_key_of("p", "X", "@2026"),
    ] == [
        "purchase:pay-1:2", "purchase:manual:ticket-1", "expiry:p", "purchase:free:auth0|5f7c12ab:test:t",
        "purchase:free:s:test:t:2", "hold:h", "lesson-change:p:k", "purchases:lesson-sweep", "k:purchase:pay-1:2",
        "refund:pay-1:2", "checkout:pay-1", "payment:pay-1:2:COIN_REDEMPTION", "student:student-1:k:COIN_TOP_UP",
        "purchase:p:X@2026",
    ]  # fmt: skip
    assert ids.workflow_id_of("manual", 1) == "purchase:payment:manual:1"


@given(UUIDS, EVENT, EVENT, WHICH)
def test_events_of_one_purchase_have_one_subject(purchase: str, one: str, other: str, which: str) -> None:
    subject = ids.subject_of(ids.event_key_of(purchase, one, which))
    assert subject == ids.subject_of(ids.event_key_of(purchase, other)) == f"purchase:{purchase}"


@given(FEW, FEW, FEW)
def test_an_older_key_of_a_top_up_is_of_no_other_top_up_of_the_student(student: str, one: str, other: str) -> None:
    assume(one != other)
    assert ids.older_top_up_key(student, one) not in (
        ids.top_up_key(student, other),
        ids.older_top_up_key(student, other),
        opening(student),
    )


@pytest.mark.parametrize(
    "student", ["auth0|5f7c12ab", "o'neil@example.com", "a/b c%2F", "~", "a:b", "0", "x" * 128, "Me", "mee"]
)
def test_a_student_may_be_called(student: str) -> None:
    assert is_student_id(student)


@pytest.mark.parametrize("student", ["", " ", " a", "a ", "a\n", "a\tb", "\0", "é", "x" * 129, "me", "a\x7f"])
def test_a_student_may_not_be_called(student: str) -> None:
    assert not is_student_id(student)
