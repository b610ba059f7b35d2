"""Show the demo: live panels on a terminal; anywhere else plain lines, each event once."""

from __future__ import annotations

import time
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from cli.demo.chapter import Chapter, clock_time, words

_NARROW = 90  # columns; below it the facts stand under the steps
_MARKS = {"done": ("✔", "green"), "undone": ("↩", "magenta"), "refused": ("✘", "red"), "trouble": ("!", "yellow")}
_ASCII = {"done": "+", "undone": "<", "refused": "x"}
_COLOURS = {"completed": "green", "needs attention": "yellow", "refused and made whole": "magenta"}


class Screen(Protocol):
    """Where the demo is shown."""

    @property
    def live(self) -> bool:
        """Whether somebody watches on a terminal."""
        ...

    def phase(self, text: str) -> None:
        """Show that something begins which takes a while."""
        ...

    def say(self, text: str = "") -> None:
        """Show a line that stays; this ends the phases before it."""
        ...

    def show(self, chapter: Chapter) -> None:
        """Show the chapter in its present state."""
        ...

    def close(self) -> None:
        """End all that moves on the screen. May be called twice."""
        ...


def screen_for(console: Console) -> Screen:
    """Return a live screen on a terminal, a plain one anywhere else."""
    return LiveScreen(console) if console.is_terminal and not console.is_dumb_terminal else PlainScreen(console)


class PlainScreen:
    """Prints lines without control codes."""

    live = False

    def __init__(self, console: Console) -> None:
        self._console = console
        self._chapter: Chapter | None = None
        self._happenings = self._facts = 0
        self._status = ""

    def phase(self, text: str) -> None:
        self.say(text)

    def say(self, text: str = "") -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(self, chapter: Chapter) -> None:
        if chapter is not self._chapter:
            self._chapter, self._happenings, self._facts, self._status = chapter, 0, 0, ""
            self.say(f"\n{chapter.number}. {chapter.title}")
        for one in chapter.told[self._happenings :]:
            if one.ended is None:
                break
            self._happenings += 1
            self.say(f"   {clock_time(one.ended)}  {words(one)} ({one.took_ms} ms)")
        for fact in chapter.facts[self._facts :]:
            self.say(f"   {fact.label}: {fact.text}")
        self._facts = len(chapter.facts)
        if chapter.status not in (self._status, "buying", "running"):
            self.say(f"   => {chapter.status}")
        self._status = chapter.status

    def close(self) -> None:
        return


class LiveScreen:
    """Shows a list of phases while the servers start, then a panel per chapter.

    What is over stays in the scroll-back.
    """

    live = True

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._spinner = Spinner("dots", style="cyan")
        self._phases: list[tuple[str, float]] = []
        self._chapter: Chapter | None = None

    def phase(self, text: str) -> None:
        now = time.monotonic()
        if self._phases and _same(self._phases[-1][0], text):
            now = self._phases.pop()[1]
        self._phases.append((text, now))
        if len(self._phases) == 1:
            self._start(transient=True)

    def say(self, text: str = "") -> None:
        self.close()
        self._console.print(Text(text), soft_wrap=True)

    def show(self, chapter: Chapter) -> None:
        if chapter is not self._chapter:
            self.close()
            self._chapter = chapter
            self._start(transient=False)
        elif self._live:
            self._live.refresh()

    def close(self) -> None:
        if self._live:
            self._live.stop()
        self._live = self._chapter = None
        self._phases.clear()

    def _start(self, *, transient: bool) -> None:
        self._live = Live(
            console=self._console, get_renderable=self._picture, transient=transient, refresh_per_second=10
        )
        self._live.start()

    def _picture(self) -> RenderableType:
        return self._panel(self._chapter) if self._chapter else self._progress()

    def _progress(self) -> RenderableType:
        phases, now = list(self._phases), time.monotonic()
        lines = Table.grid(padding=(0, 1))
        ends = [began for _, began in phases[1:]] + [now]
        for (text, began), end in zip(phases, ends, strict=True):
            over = end is not now
            mark: RenderableType = self._mark("done") if over else self._spinner
            lines.add_row(mark, Text(text, style="dim" if over else ""), Text(f"{end - began:.1f} s", style="dim"))
        return lines

    def _panel(self, chapter: Chapter) -> RenderableType:
        steps, facts = self._steps(chapter), _facts(chapter)
        body: RenderableType = Group(steps, facts)
        if self._console.width >= _NARROW:
            table = Table.grid(expand=True, padding=(0, 2))
            table.add_column(ratio=10)
            table.add_column(ratio=11)
            table.add_row(steps, facts)
            body = table
        colour = _COLOURS.get(chapter.status, "cyan")
        return Panel(
            body,
            title=Text(f"{chapter.number}. {chapter.title}", style="bold"),
            title_align="left",
            subtitle=Text(f" {chapter.status} ", style=f"bold {colour}"),
            subtitle_align="right",
            border_style=colour,
        )

    def _steps(self, chapter: Chapter) -> RenderableType:
        table = Table.grid(expand=True, padding=(0, 1))
        table.add_column(width=1)
        table.add_column(ratio=1, overflow="fold")
        table.add_column(no_wrap=True, style="dim")
        table.add_column(no_wrap=True, style="dim", justify="right", min_width=7)
        for one in list(chapter.told):
            if one.ended is None:
                table.add_row(self._spinner, Text(words(one), style="cyan"), "", "")
            else:
                colour = _MARKS[one.state][1] if one.state != "done" else ""
                times = (clock_time(one.ended), f"{one.took_ms} ms")
                told = one.code if one.state == "refused" else words(one)  # its mark says the rest
                table.add_row(self._mark(one.state), Text(told, style=colour), *times)
        if not chapter.happenings:
            table.add_row(self._spinner, Text(chapter.status, style="cyan"), "", "")
        return table

    def _mark(self, state: str) -> Text:
        mark, colour = _MARKS[state]
        return Text(_ASCII.get(state, mark) if self._console.options.ascii_only else mark, style=f"bold {colour}")


def _facts(chapter: Chapter) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    table.add_column(style="dim", no_wrap=True, justify="right")
    table.add_column()
    for fact in list(chapter.facts):
        table.add_row(fact.label, Text(fact.text))
    return table


def _same(before: str, text: str) -> bool:
    """Return whether both texts are of one phase: "building X once (2 minutes)", "building X: 30 s so far"."""
    return before.partition(" once")[0].partition(":")[0] == text.partition(" once")[0].partition(":")[0]
