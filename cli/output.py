"""What commands print: JSON alone on stdout, or a table; everything else goes to stderr."""

from __future__ import annotations

import json as json_text
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape
from rich.table import Table

# Exit codes of every command (spec section 10).
FINE, FAILED, USAGE, UNREACHABLE = 0, 1, 2, 3

Json = Annotated[bool, Parameter(name="--json", negative=(), help="Print JSON on stdout, nothing else.")]


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json_text.dumps(value, indent=2, ensure_ascii=False) + "\n")


def print_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """Rows as a table; `columns` maps a key of the rows to its heading. None is shown as nothing."""
    table = Table(*columns.values())
    for row in rows:
        table.add_row(*("" if row.get(key) is None else escape(str(row[key])) for key in columns))
    Console().print(table)


def print_line(text: str) -> None:
    """One line on stdout; the text is shown as it is."""
    Console().print(text, markup=False, highlight=False, soft_wrap=True)


def to_people() -> Console:
    """Where progress and hints go."""
    return Console(stderr=True)
