"""The column kinds all tables use: text, never varchar or a native enum; times with zone; JSON as jsonb."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic_core import PydanticUndefined
from sqlalchemy import BigInteger, CheckConstraint, MetaData, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel


class Row(SQLModel):
    """A row of the schema. Constraint names follow PostgreSQL's own, so hand-written SQL and tables agree."""

    if TYPE_CHECKING:  # sqlmodel declares a descriptor and documents a plain string
        __tablename__: ClassVar[str]  # pyright: ignore[reportIncompatibleVariableOverride]

    metadata = MetaData(
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
        }
    )


Json = dict[str, Any]

Id = Annotated[str, Field(sa_type=Text, primary_key=True)]
Words = Annotated[str, Field(sa_type=Text)]
MaybeWords = Annotated[str | None, Field(sa_type=Text)]
Number = Annotated[int, Field(primary_key=True)]
Minor = Annotated[int, Field(sa_type=BigInteger)]
Object = Annotated[Json, Field(sa_type=JSONB, sa_column_kwargs={"server_default": text("'{}'")})]
MaybeObject = Annotated[Json | None, Field(sa_type=JSONB)]


def reference(column: str, *, key: bool = False) -> Any:
    """A text column that names a row of another table; `key` when it is part of the primary key."""
    return Field(sa_type=Text, foreign_key=column, primary_key=key)


def defaulted(sql: str, default: object, kind: Any = PydanticUndefined) -> Any:
    """A column the database fills in when an INSERT leaves it out; `sql` is the default as SQL."""
    return Field(default=default, sa_type=kind, sa_column_kwargs={"server_default": text(sql)})


def one_of(column: str, *words: str) -> CheckConstraint:
    """The words a text column may hold: a CHECK, not a native enum, so that adding one is a small migration."""
    listed = ", ".join(f"'{word}'" for word in words)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")
