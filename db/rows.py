"""Read the rows of a statement as frozen dataclasses, matched by name: a misspelt column fails at the first call."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Result

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


class ColumnsDiffer(Exception):
    """The columns of a statement are not exactly the fields of the dataclass it is read into."""


def rows_as(kind: type[T], found: Result[*tuple[Any, ...]]) -> list[T]:
    """Return all rows, each as a `kind`. Raises ColumnsDiffer, even without any row."""
    _check(kind, found)
    return [kind(**row) for row in found.mappings()]


def row_as(kind: type[T], found: Result[*tuple[Any, ...]]) -> T:
    """Return the only row as a `kind`. Raises ColumnsDiffer, NoResultFound, MultipleResultsFound."""
    _check(kind, found)
    return kind(**found.mappings().one())


def optional_row_as(kind: type[T], found: Result[*tuple[Any, ...]]) -> T | None:
    """Return the only row as a `kind`, None when there is none. Raises ColumnsDiffer, MultipleResultsFound."""
    _check(kind, found)
    row = found.mappings().one_or_none()
    return None if row is None else kind(**row)


def _check(kind: type[DataclassInstance], found: Result[*tuple[Any, ...]]) -> None:
    columns, names = sorted(found.keys()), _names(kind)
    if columns != names:
        raise ColumnsDiffer(f"{kind.__name__} has {names}, the statement answers {columns}")


@cache
def _names(kind: type[DataclassInstance]) -> list[str]:
    return sorted(field.name for field in fields(kind))
