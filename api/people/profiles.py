"""Store trainers and student profiles, and wake the purchases that wait for them."""

from __future__ import annotations

from datetime import time
from typing import Annotated, Any, Self, cast

from fastapi import APIRouter, Response
from pydantic import AfterValidator, ConfigDict, Field, field_validator, model_validator

from api.http.auth import CallerDep
from api.http.dependencies import ServicesDep
from api.http.ids import GivenInPath, StudentInPath
from api.http.json_models import Answer, Body
from api.http.problems import problems
from application.closed_days_sweep import sweep_lessons_later
from application.errors import NotFound, Unavailable, Unprocessable
from application.ids import Day, GivenId, Words
from application.temporal_client import equals
from application.wake_parked import WakeFilter, wake_later
from db.people import Hours, TrainerRecord, put_trainer, set_profile
from domain.matching import place_of
from domain.refusals import Refused
from domain.schedule import zone_named
from workflows.attributes import STUDENT_ID

router = APIRouter(prefix="/api/v1", tags=["people"])

WAITING_FOR_PROFILE = ("STUDENT_PROFILE_MISSING", "GPS_INVALID", "NO_TRAINER_AVAILABLE")
WAITING_FOR_DATA = (*WAITING_FOR_PROFILE, "UNKNOWN_ITEM")

_CLOCK = r"^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$"
_END = r"^(([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?|24:00)$"


def _zone(name: str) -> str:
    try:
        zone_named(name)
    except Refused as err:
        raise ValueError("must be an IANA time zone, such as Europe/London") from err
    return name


Zone = Annotated[str, Field(max_length=100), AfterValidator(_zone)]
Latitude = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
Longitude = Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]


class PlaceBody(Body):
    """A point on the globe, in degrees."""

    latitude: Latitude
    longitude: Longitude

    @model_validator(mode="after")
    def _a_real_place(self) -> Self:
        try:
            place_of(self.latitude, self.longitude)
        except Refused as err:
            raise ValueError(err.message) from err
        return self


class HoursBody(Body):
    """Weekly hours in the trainer's zone; Monday is 1. A `to` before `from` is on the next day; `24:00` is midnight."""

    weekday: int = Field(ge=1, le=7)
    starts: str = Field(alias="from", pattern=_CLOCK)
    ends: str = Field(alias="to", pattern=_END)

    def hours(self) -> Hours:
        """Return the stored form: 24:00 is no time of day, the last second stands for it."""
        ends = time(23, 59, 59) if self.ends == "24:00" else time.fromisoformat(self.ends)
        return Hours(self.weekday, time.fromisoformat(self.starts).isoformat(), ends.isoformat())


class TrainerBody(Body):
    """The whole trainer: what is left out is emptied.

    The place is optional, as `place` or as `latitude` and `longitude` (as in the marketplace file).
    """

    name: Words
    courses: list[GivenId] = Field(max_length=200)
    timezone: Zone
    place: PlaceBody | None = None
    radius_km: float = Field(ge=0, le=20_100, allow_inf_nan=False)
    max_group_size: Annotated[int, Field(ge=1, le=10_000)] | None = None
    availability: list[HoursBody] = Field(max_length=200)
    blocked_days: list[Day] = Field(default=[], max_length=1000)
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "Trainer Piano",
                    "courses": ["course-piano"],
                    "timezone": "Europe/London",
                    "place": {"latitude": 51.51, "longitude": -0.12},
                    "radiusKm": 30,
                    "maxGroupSize": 4,
                    "availability": [{"weekday": 1, "from": "09:00", "to": "18:00"}],
                    "blockedDays": ["2026-12-24"],
                }
            ]
        }
    )

    @model_validator(mode="before")
    @classmethod
    def _place_from_file(cls, data: Any) -> Any:
        if isinstance(data, dict) and "place" not in data and ("latitude" in data or "longitude" in data):
            said: dict[str, Any] = {**cast("dict[str, Any]", data)}
            place = {name: said.pop(name) for name in ("latitude", "longitude") if name in said}
            said["place"] = place if any(value is not None for value in place.values()) else None
            return said
        return cast("Any", data)

    @field_validator("availability")
    @classmethod
    def _each_once(cls, hours: list[HoursBody]) -> list[HoursBody]:
        starts = {(each.weekday, each.hours().starts) for each in hours}
        if len(starts) < len(hours):
            raise ValueError("two entries begin at the same time of the same weekday")
        if any(each.hours().starts == each.hours().ends for each in hours):
            raise ValueError("an entry ends when it begins")
        return hours


class TrainerAnswer(Answer):
    """The trainer that was stored."""

    id: str
    model_config = ConfigDict(json_schema_extra={"examples": [{"id": "trainer-1"}]})


class ProfileBody(PlaceBody):
    """Where the student lives: lessons are planned in this zone, trainers are looked for around this place."""

    timezone: Zone
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"timezone": "Europe/London", "latitude": 51.51, "longitude": -0.12}]}
    )


class ProfileAnswer(Answer):
    """The student whose profile was stored."""

    student_id: str
    timezone: str
    model_config = ConfigDict(json_schema_extra={"examples": [{"studentId": "student-1", "timezone": "Europe/London"}]})


class WakeAnswer(Answer):
    """For which reasons parked purchases are tried again."""

    reasons: list[str]
    model_config = ConfigDict(json_schema_extra={"examples": [{"reasons": list(WAITING_FOR_DATA)}]})


@router.put(
    "/admin/trainers/{trainer_id}",
    summary="Make a trainer be exactly this",
    responses={201: {"model": TrainerAnswer, "description": "New."}, **problems(Unprocessable, Unavailable)},
)
async def write_trainer(
    trainer_id: GivenInPath, body: TrainerBody, services: ServicesDep, response: Response
) -> TrainerAnswer:
    """Purchases parked as NO_TRAINER_AVAILABLE are tried again at once; lessons on newly blocked days are moved."""
    is_new = await put_trainer(
        services.engine,
        TrainerRecord(
            id=trainer_id,
            name=body.name,
            timezone=body.timezone,
            latitude=body.place.latitude if body.place else None,
            longitude=body.place.longitude if body.place else None,
            radius_km=body.radius_km,
            max_group_size=body.max_group_size,
            courses=body.courses,
            availability=[each.hours() for each in body.availability],
            blocked_days=body.blocked_days,
        ),
    )
    wake_later(services, WakeFilter(("NO_TRAINER_AVAILABLE",), f"trainer {trainer_id} changed"))
    sweep_lessons_later(services, f"trainer {trainer_id} changed")
    response.status_code = 201 if is_new else 200
    return TrainerAnswer(id=trainer_id)


@router.put(
    "/students/{student_id}/profile",
    summary="Store where a student lives",
    responses=problems(NotFound, Unprocessable, Unavailable),
)
async def write_profile(
    student_id: StudentInPath, body: ProfileBody, services: ServicesDep, who: CallerDep
) -> ProfileAnswer:
    """Purchases of this student that wait for the profile, the place or a trainer near it are tried again at once."""
    if not await set_profile(services.engine, student_id, body.timezone, body.latitude, body.longitude, who.own):
        raise NotFound(code="STUDENT_NOT_FOUND", detail="No student has this id.")
    wake_later(
        services, WakeFilter(WAITING_FOR_PROFILE, f"profile of {student_id} changed", (equals(STUDENT_ID, student_id),))
    )
    return ProfileAnswer(student_id=student_id, timezone=body.timezone)


@router.post(
    "/admin/purchases:wake",
    status_code=202,
    summary="Try again what data may have mended",
    responses=problems(Unprocessable, Unavailable),
)
async def wake(services: ServicesDep) -> WakeAnswer:
    """For use after a bulk change (an import).

    Purchases parked for a trainer, a profile or an unknown item are tried again; lessons on newly closed days move.
    """
    wake_later(services, WakeFilter(WAITING_FOR_DATA, "data changed in bulk"))
    sweep_lessons_later(services, "data changed in bulk")
    return WakeAnswer(reasons=list(WAITING_FOR_DATA))
