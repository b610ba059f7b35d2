"""What a statement answers becomes a dataclass by the names of its columns, or fails."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import MultipleResultsFound, NoResultFound

from db.rows import ColumnsDiffer, optional_row_as, row_as, rows_as


@dataclass(frozen=True)
class Pair:
    """Two columns, one of which has a default."""

    name: str
    size: int = 0


TWO = "SELECT 2 AS size, 'b' AS name UNION ALL SELECT 1, 'a' ORDER BY name"
NONE = "SELECT 'a' AS name, 1 AS size WHERE false"


def test_rows_are_matched_by_name_not_by_place(engine: Engine) -> None:
    with engine.connect() as connection:
        assert rows_as(Pair, connection.execute(text(TWO))) == [Pair("a", 1), Pair("b", 2)]
        assert row_as(Pair, connection.execute(text("SELECT 1 AS size, 'a' AS name"))) == Pair("a", 1)
        assert optional_row_as(Pair, connection.execute(text(NONE))) is None


def test_one_row_is_one_row(engine: Engine) -> None:
    with engine.connect() as connection:
        with pytest.raises(NoResultFound):
            row_as(Pair, connection.execute(text(NONE)))
        with pytest.raises(MultipleResultsFound):
            optional_row_as(Pair, connection.execute(text(TWO)))


@pytest.mark.parametrize("columns", ["'a' AS nam, 1 AS size", "'a' AS name", "'a' AS name, 1 AS size, 2 AS more"])
def test_other_columns_than_the_fields_fail_also_without_a_row(engine: Engine, columns: str) -> None:
    with engine.connect() as connection:
        for read in (rows_as, row_as, optional_row_as):
            with pytest.raises(ColumnsDiffer, match="Pair"):
                read(Pair, connection.execute(text(f"SELECT {columns} WHERE false")))
