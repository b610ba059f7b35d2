"""What commands print: JSON alone on stdout, or a table; everything else goes to stderr."""

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
    """The text without what a terminal would obey: what others said of a purchase is shown, never followed."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


class Terminal(Console):
    """A console on which data is text alone, wherever on it the data stands."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Called by rich for all that is shown."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(harmless(segment.text), segment.style)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json_text.dumps(value, indent=2, ensure_ascii=False) + "\n")


def print_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """Rows as a table; `columns` maps a key of the rows to its heading. None is shown as nothing."""
    table = Table(*columns.values())
    for row in rows:
        table.add_row(*("" if row.get(key) is None else escape(str(row[key])) for key in columns))
    Terminal().print(table)


def print_line(text: str) -> None:
    """One line on stdout; the text is shown as it is."""
    Terminal().print(text, markup=False, highlight=False, soft_wrap=True)


def to_people() -> Console:
    """Where progress and hints go."""
    return Terminal(stderr=True)
