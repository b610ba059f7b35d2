"""Print what commands answer: JSON alone on stdout, or a table; everything else goes to stderr."""

from __future__ import annotations

import json as json_text
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment
from rich.table import Table

# Exit codes of every command (spec section 10).
FINE, FAILED, USAGE, UNREACHABLE = 0, 1, 2, 3

Json = Annotated[bool, Parameter(name="--json", negative=(), help="Print JSON on stdout, nothing else.")]


# What moves the cursor, changes the colours or turns the direction of text; a line's end and a tab are fine.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    """Return the text without control characters: a terminal shows what others wrote and obeys none of it."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


class Terminal(Console):
    """A console that shows data as text only: its control characters are replaced everywhere."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments with harmless text; rich calls this for all that is shown."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(harmless(segment.text), segment.style)


def print_json(value: Any) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(json_text.dumps(value, indent=2, ensure_ascii=False) + "\n")


def print_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """Print rows as a table; `columns` maps a key of the rows to its heading. None is shown as nothing."""
    table = Table(*columns.values())
    for row in rows:
        table.add_row(*("" if row.get(key) is None else escape(str(row[key])) for key in columns))
    Terminal().print(table)


def print_line(text: str) -> None:
    """Print one line on stdout; markup in the text is not interpreted."""
    Terminal().print(text, markup=False, highlight=False, soft_wrap=True)


def to_people() -> Console:
    """Return the console for progress and hints, on stderr."""
    return Terminal(stderr=True)
