"""Requests made from the documentation, right and wrong ones, by everybody: no 5xx, no answer that is not documented,
nobody let in who may not, nothing stored by what was refused. Repeatable: the same requests on every run.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import httpx2
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy
from schemathesis import Case, GenerationMode
from schemathesis.core import NotSet
from sqlalchemy import Engine

from tests.api.http.callers import document, stored
from tests.api.http.test_who_may_call import EXPECTED, reach
from tests.build import item, pay, run, start, student, trainer
from tests.gateways.in_memory import FakeProvider
from tests.tokens import bearer

CALLERS = [
    None,
    ("student", "student-1"),
    ("student", "student-2"),
    ("support", "sue"),
    ("admin", "ann"),
    ("service", "c"),
]


def requests(document: dict[str, Any], each: int) -> Iterator[tuple[dict[str, Any], list[Case]]]:
    """Every documented operation with up to `each` right and as many wrong requests for it."""
    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        made = found.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            if mode is GenerationMode.NEGATIVE and EXPECTED[f"{made.method.upper()} {made.path}"] == "public":
                continue  # nothing of it can be wrong
            yield document["paths"][made.path][made.method], drawn(made.as_strategy(generation_mode=mode), each)


def drawn(cases: SearchStrategy[Case], most: int) -> list[Case]:
    """The same ones on every run; fewer when there are no more."""
    found: list[Case] = []

    @settings(max_examples=most, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(cases)
    def collect(case: Case) -> None:
        found.append(case)

    collect()
    return found


def sent(case: Case, ids: dict[str, str] | None) -> dict[str, Any]:
    """The request; `ids` of what exists take the place of made up ones."""
    if ids:
        case.path_parameters.update({name: ids[name] for name in case.path_parameters.keys() & ids.keys()})
        if isinstance(case.body, dict) and "paymentId" in case.body:
            case.body["paymentId"] = ids["payment"]
    said: dict[str, Any] = {"method": case.method, "url": case.formatted_path, "params": dict(case.query or {})}
    # Who calls is said below; how long a body is says whoever sends it, and a server refuses another word for it itself.
    ours = ("authorization", "content-length")
    own = {name: value for name, value in (case.headers or {}).items() if name.lower() not in ours}
    said["headers"] = {name: value.encode("latin-1", "replace") for name, value in own.items()}
    if not isinstance(case.body, NotSet):
        said["content"] = case.body if isinstance(case.body, bytes) else json.dumps(case.body).encode()
        said["headers"]["content-type"] = b"application/json"
    return said


@pytest.fixture
def ids(engine: Engine, fake_provider: FakeProvider, paid: str) -> dict[str, str]:
    """A purchase of student-1 that has ended, so that none waits for a worker."""
    student(engine, "student-2")
    item(engine)
    trainer(engine, "t-1")
    of = start(engine, paid)
    run(engine, "UPDATE purchase_starts SET ending = 'completed', ended_at = now()")
    pay(engine, fake_provider, f"{paid}-2", student_id="student-2", metadata={})
    return {"purchase": of.workflow_id, "payment": paid, "student_id": "student-1", "trainer_id": "t-1"}


def fault(case: Case, told: dict[str, Any], role: str | None, answer: httpx2.Response) -> str | None:
    """What is wrong with the answer."""
    name, status = f"{case.method} {case.path}", answer.status_code
    if status >= 500 and (name, status) != ("GET /readyz", 503):  # no worker runs here
        return "a fault of ours"
    if str(status) not in told["responses"]:
        return "not documented"
    if EXPECTED[name] != "public":
        allowed = 401 if role is None else 403 if reach(name, role) == "-" else None
        if allowed and status != allowed:
            return f"should be {allowed}"
        if allowed is None and status in (401, 403) and answer.json()["code"] in ("UNAUTHENTICATED", "FORBIDDEN"):
            return "should be let in"
    if status >= 400 and answer.headers["content-type"] != "application/problem+json":
        return "no problem"
    documented = told["responses"][str(status)].get("content", {})
    if documented and answer.headers["content-type"].partition(";")[0] not in documented:
        return f"not of the documented type, {list(documented)}"
    if (
        answer.content
        and "json" in answer.headers["content-type"]
        and (shape := documented.get(answer.headers["content-type"], {}).get("schema"))
    ):
        return next((str(wrong)[:300] for wrong in validator(json.dumps(shape)).iter_errors(answer.json())), None)
    return None


@cache
def validator(shape: str) -> Any:
    """Of a schema in the documentation."""
    return jsonschema_rs.validator_for(json.loads(shape) | {"components": document()["components"]})


@pytest.mark.parametrize("count", [150, pytest.param(5_000, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])])
async def test_any_request_is_answered_as_documented_and_stores_nothing_when_refused(
    api: httpx2.AsyncClient, engine: Engine, ids: dict[str, str], count: int
) -> None:
    del api.headers["authorization"]
    each = max(len(CALLERS), count // 65)  # of each operation, right and wrong ones, so that everybody sends each
    faults: Counter[str] = Counter()
    done, before = 0, stored(engine)
    for turn, (told, cases) in enumerate(requests(document(), each)):
        for number, case in enumerate(cases):
            who = CALLERS[number % len(CALLERS)]
            said = sent(case, ids if (turn + number + number // len(CALLERS)) % 2 else None)
            answer = await api.request(**said | {"headers": said["headers"] | (bearer(*who) if who else {})})
            done += 1
            after = stored(engine)
            wrong = fault(case, told, who[0] if who else None, answer)
            if answer.status_code >= 400 and after != before:
                wrong = "stored something"
            before = after
            if wrong:
                faults[
                    f"{case.method} {case.path} by {who}: {answer.status_code} {wrong}: {said!r:.300} {answer.text:.200}"
                ] += 1
    assert not faults, "\n".join(list(faults)[:40])
    assert done >= count


def test_problems_of_one_status_are_told_so_that_each_may_fit() -> None:
    """Two that differ in their code alone are of the same form: `oneOf` would refuse either."""
    shapes = document()["paths"]["/api/v1/checkout"]["post"]["responses"]["409"]["content"]["application/problem+json"]
    answer = {"type": "http://api/problems/X", "title": "Conflict", "status": 409, "code": "X", "retryable": False}
    assert list(validator(json.dumps(shapes["schema"])).iter_errors(answer)) == []
