"""What an act of an operator says, whatever it is about, and what is answered."""

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
    """`requestKey` makes the act happen once: send the same again to hear the first answer again.

    Who acts is said by the token, never by the body.
    """

    reason: Words
    request_key: Key
    model_config = example()

    def act(self, actor: str) -> Act:
        """As the workflow is told."""
        return Act(actor, self.reason, self.request_key)


class ActAnswer(Answer):
    """`outcome`: what the purchase said. With `done` false: null while it is still at it, or `awaiting_second_person`."""

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
