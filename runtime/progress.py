"""Show the progress of something slow on stderr: a spinner on a terminal, plain lines anywhere else."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator

from rich.console import Console

Say = Callable[[str], None]


def say_nothing(_: str) -> None:
    """Ignore the text: for callers that show no progress."""


@contextlib.contextmanager
def progress() -> Generator[Say]:
    """Yield a function that shows what is being done now."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True)
        return
    with console.status("") as status:
        yield status.update
