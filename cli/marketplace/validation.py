"""Read a marketplace file and report all that is wrong with it at once, each fault with its place."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias, cast

from pydantic import ValidationError

from cli.marketplace.file_format import VERSION, Marketplace, Shape
from domain.refusals import Refused
from domain.schedule import zone_named
from domain.texts import is_storable

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"


@dataclass(frozen=True)
class Fault:
    """What is wrong, and its place in the file: a JSON path like `$.trainers[3].radiusKm`."""

    path: str
    message: str


class BadMarketplace(Exception):
    """The file cannot be imported; nothing was stored."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__(f"{len(faults)} fault(s), the first at {faults[0].path}: {faults[0].message}")
        self.faults = faults


@dataclass(frozen=True)
class Reference:
    """A name that nothing in the file defines: the database has it, or it is a fault. `key`: an id, or `course/id`."""

    path: str
    kind: str
    key: str


def read_marketplace(content: bytes) -> Marketplace:
    """Parse the file. Raises BadMarketplace with all faults that can be seen without the database."""
    try:
        return _read(content)
    except RecursionError:
        raise BadMarketplace([Fault("$", "nested too deep")]) from None


def open_references(market: Marketplace) -> list[Reference]:
    """Return the students, courses and subjects that the file names but does not define.

    A payment line may name any item.
    """
    students = {student.id for student in market.students}
    items = {f"course/{item.id}" for item in market.courses} | {f"subject/{item.id}" for item in market.subjects}
    named = [
        Reference(f"$.payments[{n}].studentId", "student", one.student_id) for n, one in enumerate(market.payments)
    ]
    named += [Reference(f"$.carts[{n}].studentId", "student", cart.student_id) for n, cart in enumerate(market.carts)]
    for n, trainer in enumerate(market.trainers):
        for m, course in enumerate(trainer.courses):
            named.append(Reference(f"$.trainers[{n}].courses[{m}]", "course", f"course/{course}"))
    for n, bundle in enumerate(market.bundles):
        for m, subject in enumerate(bundle.subjects):
            named.append(Reference(f"$.bundles[{n}].subjects[{m}]", "subject", f"subject/{subject}"))
    return [name for name in named if name.key not in (students if name.kind == "student" else items)]


def warnings(market: Marketplace) -> list[str]:
    """Return what is odd but imported: unknown keys (not stored) and unknown time zones (stored)."""
    counted = Counter(_extras(market, "$"))
    told = [f"{path}: unknown key, not stored" + (f" ({n} times)" if n > 1 else "") for path, n in counted.items()]
    zones = [(f"$.trainers[{n}].timezone", trainer.timezone) for n, trainer in enumerate(market.trainers)]
    for n, student in enumerate(market.students):
        if student.profile and student.profile.timezone is not None:
            zones.append((f"$.students[{n}].profile.timezone", student.profile.timezone))
    return told + [f"{path}: unknown time zone {ascii(zone)[:60]}" for path, zone in zones if not _is_zone(zone)]


def _read(content: bytes) -> Marketplace:
    raw = _json(content)
    if faults := [*_unstorable(raw, "$")]:
        raise BadMarketplace(faults)
    if not isinstance(raw, dict):
        _refuse("$", "a marketplace file is one JSON object")
    version = raw.get("version")
    if version != VERSION or isinstance(version, bool):
        _refuse("$.version", f"this is version {json.dumps(version)[:40]}; version {VERSION} is known")
    try:
        market = Marketplace.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        raise BadMarketplace([Fault(_path(e["loc"]), e["msg"]) for e in error.errors()]) from None
    if faults := [*_twice(market), *_wrong_payments(market), *_wrong_hours(market)]:
        raise BadMarketplace(faults)
    return market


def _json(content: bytes) -> Json:
    def no_number(name: str) -> NoReturn:
        raise ValueError(f"{name} is no JSON number")

    try:
        return cast(Json, json.loads(content.decode("utf-8-sig"), parse_constant=no_number))
    except ValueError as error:  # no JSON, no UTF-8, a number of thousands of digits
        _refuse("$", f"this is no JSON: {error}")


def _refuse(path: str, message: str) -> NoReturn:
    raise BadMarketplace([Fault(path, message)])


def _unstorable(value: Json, path: str) -> Iterator[Fault]:
    """Yield a fault for each value that text and jsonb cannot hold: NUL, half a surrogate pair, infinity."""
    if isinstance(value, dict):
        for key, inner in value.items():
            here = f"{path}.{ascii(key)[1:-1]}"
            yield from _unstorable(key, here)
            yield from _unstorable(inner, here)
    elif isinstance(value, list):
        for n, inner in enumerate(value):
            yield from _unstorable(inner, f"{path}[{n}]")
    elif isinstance(value, str) and not is_storable(value):
        yield Fault(path, "a NUL character, or half a surrogate pair, cannot be stored")
    elif isinstance(value, float) and not math.isfinite(value):
        yield Fault(path, "this number is too large")


def _twice(market: Marketplace) -> Iterator[Fault]:
    """Yield a fault for each second entry under one id: which one is meant cannot be known."""
    lists: dict[str, list[Any]] = {
        name: getattr(market, name)
        for name in ("students", "courses", "subjects", "bundles", "tests", "trainers", "payments")
    }
    places = [
        (name, entry.id, f"$.{name}[{n}].id") for name, entries in lists.items() for n, entry in enumerate(entries)
    ]
    for n, cart in enumerate(market.carts):
        places += [("carts", item.id, f"$.carts[{n}].items[{m}].id") for m, item in enumerate(cart.items)]
    for n, payment in enumerate(market.payments):
        places += [
            (f"payments[{n}]", f"{x.line}", f"$.payments[{n}].lines[{m}].line") for m, x in enumerate(payment.lines)
        ]
    first: dict[tuple[str, str], str] = {}
    for name, key, path in places:
        if (name, key) in first:
            yield Fault(path, f"{key!a} is already at {first[name, key]}")
        first.setdefault((name, key), path)


def _wrong_payments(market: Marketplace) -> Iterator[Fault]:
    for n, payment in enumerate(market.payments):
        lines = sum(line.amount_minor for line in payment.lines)
        if lines != payment.amount_minor:
            yield Fault(f"$.payments[{n}].amountMinor", f"{payment.amount_minor}, but the lines add up to {lines}")


def _wrong_hours(market: Marketplace) -> Iterator[Fault]:
    for n, trainer in enumerate(market.trainers):
        starts = Counter((hours.weekday, hours.starts) for hours in trainer.availability)
        for m, hours in enumerate(trainer.availability):
            path = f"$.trainers[{n}].availability[{m}]"
            if hours.starts == hours.ends:
                yield Fault(path, "from and to are the same")
            if starts[hours.weekday, hours.starts] > 1:
                yield Fault(path, "two entries of this weekday start at the same time")


def _path(place: Iterable[int | str]) -> str:
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)


def _extras(value: object, path: str) -> Iterator[str]:
    if isinstance(value, Shape):
        yield from (f"{path}.{key}" for key in value.model_extra or {})
        for name, about in type(value).model_fields.items():
            yield from _extras(getattr(value, name), f"{path}.{about.alias}")
    elif isinstance(value, list):
        for inner in cast("list[object]", value):
            yield from _extras(inner, f"{path}[]")


def _is_zone(name: str) -> bool:
    try:
        zone_named(name)
    except Refused:
        return False
    return True
