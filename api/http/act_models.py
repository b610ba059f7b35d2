"""The body of every operator's act, and the answer to it."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict
from pydantic.config import JsonDict

from api.http.json_models import Answer, Body
from application.ids import Key, Words
from workflows.messages import Act


def example(**more: Any) -> ConfigDict:
    said: JsonDict = {"reason": "the student called", "requestKey": "ticket-4711", **more}
    return ConfigDict(json_schema_extra={"examples": [said]})


class ActBody(Body):
    """`requestKey` makes the act happen once: the same request again gets the first answer again.

    The token says who acts, never the body.
    """

    reason: Words
    request_key: Key
    model_config = example()

    def act(self, actor: str) -> Act:
        """Return the act in the workflow's form."""
        return Act(actor, self.reason, self.request_key)


class ActAnswer(Answer):
    """`outcome`: the purchase's answer. With `done` false: null (under way), or `awaiting_second_person`."""

    id: str
    workflow_id: str
    verb: str
    request_key: str
    actor: str
    done: bool
    outcome: Any = None
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "5a1b7ad3-7b4f-5b8e-9c51-0a6d1b1f3c7e",
                    "workflowId": "purchase:pay-1:1",
                    "verb": "retry_now",
                    "requestKey": "ticket-4711",
                    "actor": "ann@example.test",
                    "done": True,
                    "outcome": "done",
                }
            ]
        }
    )
