"""Tokens made to get in do not: every trick, at every operation, is the same 401 and stores nothing (row 12)."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from api.app import tokens_of
from api.http.tokens import TokenRefused, Tokens, Trusted
from runtime.settings import Settings
from tests.api.http.callers import good_request, stored
from tests.api.http.hostile import HEADER, HOSTILE, NOW, good, signed, stranger
from tests.api.http.test_who_may_call import GUARDED, ids, operation, refused
from tests.tokens import AUDIENCE, ISSUER, KID, auth_settings, claims, key, token

__all__ = ["ids"]

READER = tokens_of(Settings.model_validate(auth_settings()))
MANY = pytest.mark.parametrize("examples", [250, pytest.param(5_000, marks=pytest.mark.soak)])


@pytest.mark.parametrize("name", HOSTILE)
def test_is_refused(name: str) -> None:
    with pytest.raises(TokenRefused):
        READER.named(HOSTILE[name]())


async def test_every_operation_answers_every_one_of_them_the_same_and_stores_nothing(
    api: httpx2.AsyncClient, engine: Engine, ids: dict[str, str]
) -> None:
    hostile = {name: make() for name, make in HOSTILE.items()}
    before = stored(engine)
    for name in GUARDED:
        asked = good_request(operation(name), ids)
        for trick, made in hostile.items():
            refused(await api.request(**asked, headers={"Authorization": f"Bearer {made}"}), f"{name}: {trick}")
    assert stored(engine) == before


@pytest.mark.parametrize("role", ["student", "support", "admin", "service"])
@pytest.mark.parametrize("subject", ["ann", "ann@example.test", "auth0|12345", "o'neil", "a" * 128])
def test_a_good_token_says_who_calls(role: str, subject: str) -> None:
    assert READER.named(token(role, subject))[:2] == (subject, role)
    assert READER.named(token(role, subject, nbf=NOW, jti="1", client_id="c"))[:2] == (subject, role)


@pytest.mark.parametrize(
    ("said", "at", "good_then"),
    [
        ({"exp": 1_000_060}, 1_000_060 + 29, True), ({"exp": 1_000_060}, 1_000_060 + 30, False),
        ({"iat": 1_000_000}, 1_000_000 - 30, True), ({"iat": 1_000_000}, 1_000_000 - 31, False),
        ({"nbf": 1_000_000}, 1_000_000 - 30, True), ({"nbf": 1_000_000}, 1_000_000 - 31, False),
    ],
    ids=str,
)  # fmt: skip
def test_clocks_may_differ_by_the_leeway_and_no_more(said: dict[str, int], at: int, good_then: bool) -> None:
    made = token(**{"iat": 999_000, "exp": 1_009_000, **said})
    reader = Tokens({KID: Trusted(key(), ISSUER)}, AUDIENCE, 30, now=lambda: at)
    if good_then:
        assert reader.named(made)[:2] == ("ann", "admin")
    else:
        with pytest.raises(TokenRefused):
            reader.named(made)


def test_several_keys_are_good_while_they_are_rotated_each_for_its_own_issuer() -> None:
    both = {KID: Trusted(key(), ISSUER), "next": Trusted(stranger(), ISSUER), "other": Trusted(stranger(), "https://o")}
    reader = Tokens(both, AUDIENCE, 30)
    assert reader.named(good())[:2] == ("eve", "admin")
    following = signed({**HEADER, "kid": "next"}, claims("support", "eve"), stranger())
    assert reader.named(following)[:2] == ("eve", "support")
    with pytest.raises(TokenRefused):
        reader.named(signed({**HEADER, "kid": "other"}, claims("support", "eve"), stranger()))
    with pytest.raises(TokenRefused):
        Tokens({"next": both["next"]}, AUDIENCE, 30).named(good())  # the old key is gone


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda of: st.lists(of) | st.dictionaries(st.text(), of), max_leaves=5
)  # fmt: skip
NAMES = st.sampled_from(["iss", "aud", "sub", "exp", "iat", "nbf", "role", "jti"])


@MANY
def test_whatever_is_signed_is_read_or_refused_and_never_breaks(examples: int) -> None:
    @settings(max_examples=examples, deadline=None, database=None)
    @given(st.dictionaries(NAMES, JSON), st.dictionaries(st.sampled_from([*HEADER, "cty", "x"]), JSON))
    def holds(said: dict[str, Any], header: dict[str, Any]) -> None:
        made = signed(json.dumps({**HEADER, **header}), json.dumps({**claims("admin", "eve"), **said}))
        try:
            subject, role, _ = READER.named(made)
        except TokenRefused:
            return
        assert (subject, role) == (said.get("sub", "eve"), said.get("role", "admin"))
        assert said.get("iss", ISSUER) == ISSUER
        assert said.get("aud", AUDIENCE) == AUDIENCE
        assert {**HEADER, **header} == HEADER | {name: header[name] for name in header.keys() - HEADER.keys()}

    holds()


@MANY
def test_whatever_is_sent_is_refused_and_never_breaks(examples: int) -> None:
    made = good()
    parts = st.text() | st.binary().map(lambda content: content.decode("latin-1")) | st.sampled_from(made.split("."))

    @settings(max_examples=examples, deadline=None, database=None)
    @given(st.lists(parts, min_size=1, max_size=6))
    def holds(pieces: list[str]) -> None:
        if ".".join(pieces) != made:
            with pytest.raises(TokenRefused):
                READER.named(".".join(pieces))

    holds()
