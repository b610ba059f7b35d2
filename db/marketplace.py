"""Load a marketplace into the tables: insert what is absent, report what differs, overwrite only when asked.

A *document* is one entry of the file as plain JSON with its `key`; a stored row is read back as the same document, so
the two compare field by field. Fields that a document leaves out are not compared. The kinds are students, catalogue,
trainers, holidays, cartItems, payments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from json import dumps
from typing import Any

from sqlalchemy import Connection, CursorResult, text

from db.marketplace_kinds import KINDS, Kind
from db.rows import rows_as

Document = dict[str, Any]


@dataclass(frozen=True)
class Difference:
    """A field whose stored value differs from the file's and was left as it is."""

    kind: str
    key: str
    field: str
    stored: object
    file: object


@dataclass(frozen=True)
class _Known:
    key: str
    document: Document


@dataclass
class Stored:
    """The outcome of an import: the keys inserted and updated, by kind, and the differences that remain."""

    inserted: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    updated: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    differences: list[Difference] = field(default_factory=list[Difference])


def store(
    connection: Connection, documents: Mapping[str, Sequence[Document]], *, update: bool, now: datetime
) -> Stored:
    """Insert what is absent, in the caller's transaction; a second time nothing changes (spec section 9).

    `update` also changes stored catalogue items, trainers and profiles to what the file says. `now` is the creation
    time of payments without `createdAt`. Two imports at once wait for each other.
    """
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('coursaga:import'))"))
    outcome = Stored()
    for kind in KINDS:
        known = _known(connection, kind, documents[kind.name])
        absent = [document for document in documents[kind.name] if document["key"] not in known]
        _insert(connection, kind, absent, now, outcome)
        _compare(connection, kind, [d for d in documents[kind.name] if d["key"] in known], known, update, outcome)
    return outcome


def unknown(connection: Connection, *, students: Iterable[str], items: Iterable[str]) -> set[str]:
    """Return those of these students (ids) and items (`course/id`) that are not stored."""
    wanted = {"students": sorted(set(students)), "items": sorted(set(items))}
    known = connection.execute(
        text("""
            SELECT id FROM students WHERE id = ANY(:students)
            UNION ALL SELECT item_type || '/' || id FROM catalogue_items WHERE item_type || '/' || id = ANY(:items)"""),
        wanted,
    ).scalars()
    return {*wanted["students"], *wanted["items"]}.difference(known)


def _known(connection: Connection, kind: Kind, documents: Sequence[Document]) -> dict[str, Document]:
    found = connection.execute(text(kind.read), {"keys": [document["key"] for document in documents]})
    return {row.key: row.document for row in rows_as(_Known, found)}


def _insert(connection: Connection, kind: Kind, absent: Sequence[Document], now: datetime, outcome: Stored) -> None:
    """Insert absent documents; parts only for rows this statement inserted, as another door may have been faster."""
    made = set(_run(connection, kind.insert, absent, now).scalars()) if absent else set[str]()
    for part in kind.parts:
        _run(connection, part, [document for document in absent if document["key"] in made], now)
    outcome.inserted[kind.name] = sorted(made)
    outcome.differences += [
        Difference(kind.name, document["key"], "", "left out", "present")
        for document in absent
        if document["key"] not in made
    ]


def _compare(
    connection: Connection,
    kind: Kind,
    documents: Sequence[Document],
    known: Mapping[str, Document],
    update: bool,
    outcome: Stored,
) -> None:
    changed: list[Document] = []
    for document in documents:
        stored = known[document["key"]]
        differing = [name for name in document if name in stored and stored[name] != document[name]]
        mended = kind.updatable.intersection(differing) if update else frozenset[str]()
        if mended:
            changed.append(document)
        outcome.differences += [
            Difference(kind.name, document["key"], name, stored[name], document[name])
            for name in differing
            if name not in mended
        ]
    if changed:
        for statement in (kind.update, *kind.clear, *kind.parts):
            _run(connection, statement, changed, None)
    outcome.updated[kind.name] = sorted(document["key"] for document in changed)


def _run(
    connection: Connection, statement: str, documents: Sequence[Document], now: datetime | None
) -> CursorResult[*tuple[Any, ...]]:
    values = {"documents": dumps(documents), "keys": [document["key"] for document in documents], "now": now}
    return connection.execute(text(statement), values)
