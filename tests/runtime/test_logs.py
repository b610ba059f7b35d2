"""What a process writes once its logs are set up, seen from outside."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runtime.logs import _PATTERNS, HIDDEN, is_private, redact

SET_UP = """
import logging, structlog
from runtime.logs import set_up_logs
set_up_logs("INFO", "json")
log = structlog.stdlib.get_logger("ours")
"""


def logged(code: str) -> list[dict[str, Any]]:
    """The lines that this code logs, as objects."""
    done = subprocess.run([sys.executable, "-c", SET_UP + code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_our_events_are_one_object_a_line():
    [line] = logged("log.info('purchase_created', payment_id='pay_1', line=2)")
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "purchase_created",
        "payment_id": "pay_1",
        "line": 2,
        "level": "info",
        "logger": "ours",
    }


def test_bound_context_comes_with_every_line_of_any_logger():
    lines = logged(
        "structlog.contextvars.bind_contextvars(request_id='r1')\nlog.info('a')\nlogging.getLogger('other').info('b')"
    )
    assert [line["request_id"] for line in lines] == ["r1", "r1"]


def test_facts_of_workflow_and_activity_loggers_are_fields():
    [line] = logged(
        "logging.getLogger('temporalio.workflow').info('parked', extra={'temporal_workflow': {'workflow_id': 'w1'}})"
    )
    assert line["temporal_workflow"] == {"workflow_id": "w1"}
    assert line["event"] == "parked"


def test_personal_data_is_hidden_at_any_depth():
    [line] = logged(
        "log.info('seen', email='a@b.example', student={'id': 's1', 'homeAddress': 'x', 'places': [{'latitude': 1.5}]})"
    )
    assert line["email"] == HIDDEN
    assert line["student"] == {"id": "s1", "homeAddress": HIDDEN, "places": [{"latitude": HIDDEN}]}


def test_a_traceback_has_no_local_values_and_no_personal_data():
    [line] = logged("""
def fails(pin='4711-secret'):
    raise ValueError('no student jane@school.example')
try:
    fails()
except ValueError:
    log.exception('failed')
""")
    text = json.dumps(line)
    assert "ValueError" in text
    assert "4711" not in text
    assert "jane" not in text


def test_the_url_of_a_request_is_not_logged():
    lines = logged("""
import httpx2
asked = httpx2.Client(transport=httpx2.MockTransport(lambda _: httpx2.Response(200)))
log.info('asked', status=asked.post('https://shop.example/hook/canary-1?token=canary-2').status_code)
""")
    assert [(line["event"], line["status"]) for line in lines] == [("asked", 200)]


def test_lines_below_the_level_are_left_out():
    assert logged("log.debug('a')\nlogging.getLogger('x').debug('b')") == []


@pytest.mark.parametrize(
    "key",
    [
        "studentName",
        "trainer_name",
        "name",
        "coordinates",
        "GPS",
        "api_key",
        "privateKey",
        "cookie",
        "webhook_signature",
        "street",
        "email",
        "studentEmail",
        "phone_number",
        "cardNumber",
        "access_token",
        "Authorization",
        "address",
        "lat",
        "lng",
    ],
)
def test_private_keys_are_known_in_every_spelling(key: str):
    assert is_private(key)


@pytest.mark.parametrize(
    "key",
    [
        "request_key",
        "key",
        "kafka_topic_name",
        "session_count",
        "test_card_id",
        "testCards",
        "flat",
        "plan",
        "latency_ms",
        "payment_id",
        "zone",
    ],
)
def test_other_keys_stay_readable(key: str):
    assert not is_private(key)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("postgresql://me:hunter2@h:1/d", f"postgresql://{HIDDEN}@h:1/d"),
        ("Authorization: Bearer abc.def-1", f"Authorization: {HIDDEN}"),
        ("key -----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY----- end", f"key {HIDDEN} end"),
        ("whsec_c2VjcmV0c2VjcmV0 was made", f"{HIDDEN} was made"),
        ("token eyJhbGciOi.eyJzdWIi.c2ln!", f"token {HIDDEN}!"),
        ("no\nDETAIL:  Failing row contains (Jane).\nHINT: x", f"no\nDETAIL: {HIDDEN}\nHINT: x"),
        ("write to jane.doe+x@school.example!", f"write to {HIDDEN}!"),
    ],
)
def test_secrets_inside_texts_are_hidden(written: str, kept: str):
    assert redact(written) == kept


PIECES = (
    *(
        "://",
        "@",
        "me",
        ".example",
        "Bearer ",
        "bearer  ",
        "abc",
        "eyJ",
        ".x",
        "-----BEGIN ",
        "-----",
        "-----END ",
        "whsec_",
    ),
    *("\n", "DETAIL:", "CONTEXT: ", " row", "İ", "K", ""),
)


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
@example("https://me@a.example\nDETAIL: Bearer eyJa.b.c whsec_x")
def test_a_text_without_a_sign_of_a_secret_has_none(text: str):
    """Patterns are tried only where a sign of one is; what comes out is as if all were tried."""
    all_tried = text
    for pattern, instead in _PATTERNS:
        all_tried = pattern.sub(instead, all_tried)
    assert redact(text) == all_tried
