"""Texts that callers say: what can be stored stays as it is, what cannot is replaced."""

from __future__ import annotations

import pytest

from domain.texts import is_storable, storable


@pytest.mark.parametrize("text", ["", "why not", "é \U0001f600 \ufffd", "a\tb\n"])
def test_what_can_be_stored_stays_as_it_is(text: str) -> None:
    assert storable(text) == text


@pytest.mark.parametrize("letter", ["\0", "\ud800"], ids=ascii)
def test_what_cannot_be_stored_is_replaced(letter: str) -> None:
    assert not is_storable(f"a{letter}b")
    assert storable(f"a{letter}b") == "a\ufffdb"


def test_a_text_is_cut_to_what_there_is_room_for() -> None:
    assert (storable("a" * 3000), storable("abc", most=2)) == ("a" * 2000, "ab")
