"""`POST /api/v1/events`: take another system's event over HTTP, through the same door as those of Kafka."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import ConfigDict

from api.http.dependencies import ServicesDep
from api.http.json_models import Answer
from api.http.problems import problems
from api.purchases.purchases import StartedLine
from application.errors import NotFound, Unavailable, Unprocessable
from application.event_schema import PurchaseConfirmed
from application.incoming_events import ingest

router = APIRouter(prefix="/api/v1/events", tags=["events"])


class EventTaken(Answer):
    """`duplicate`: it was handled before, or left nothing to start. `lines`: the lines that were looked at now."""

    key: str
    duplicate: bool
    lines: list[StartedLine]
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "key": "payment:pay-1:PURCHASE_CONFIRMED",
                    "duplicate": False,
                    "lines": [
                        {
                            "line": 1,
                            "id": "5a1b7ad3-7b4f-5b8e-9c51-0a6d1b1f3c7e",
                            "workflowId": "purchase:pay-1:1",
                            "state": "started",
                        }
                    ],
                }
            ]
        }
    )


@router.post(
    "",
    status_code=202,
    summary="Take an event of another system",
    responses={
        200: {"model": EventTaken, "description": "A duplicate; nothing changed."},
        **problems(NotFound, Unprocessable, Unavailable),
    },
)
async def take_event(
    body: PurchaseConfirmed, request: Request, services: ServicesDep, response: Response
) -> EventTaken:
    """Starts a workflow for every line of the confirmed payment. Safe to repeat: an event is taken once per `key`.

    A refused event is answered here and stored nowhere: mend it and send it again. A 503 means that some lines may not
    have been started: send the same event again.
    """
    # The bytes, not `body`: the door reads them itself, as it reads those from Kafka, and sees keys that stand twice.
    taken = await ingest(services, await request.body())
    response.status_code = 200 if taken.duplicate else 202
    return EventTaken(
        key=taken.key, duplicate=taken.duplicate, lines=[StartedLine(**vars(line)) for line in taken.lines]
    )
