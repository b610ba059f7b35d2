"""What commands print of data: a terminal shows it and never obeys it."""

from __future__ import annotations

import io

import pytest
from rich.table import Table

from cli.main import app
from cli.output import Terminal, harmless

HOSTILE = "a\x1b[2J\x1b]0;owned\x07b\x9b31m\u202ec\rd"


def test_data_moves_no_cursor_wherever_it_stands():
    shown = io.StringIO()
    table = Table("heading")
    table.add_row(HOSTILE)
    console = Terminal(file=shown, force_terminal=True, width=200)
    console.print(HOSTILE, markup=False)
    console.print(table)
    console.print("[bold]fine[/]\n\tlines and tabs")
    text = shown.getvalue()
    for harm in ("\x1b[2J", "\x1b]0", "\x07", "\x9b", "\u202e", "\r"):
        assert harm not in text, ascii(harm)
    assert "\x1b[1m" in text  # our own styles stay
    assert text.count("owned") == 2


@pytest.mark.parametrize("text", ["", "plain", "two\nlines", "a\ttab", "Größe 東京 🎹"])
def test_other_text_stays_as_it_is(text: str):
    assert harmless(text) == text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_be_told_the_commands(shell: str):
    script = app.generate_completion(shell=shell)  # pyright: ignore[reportArgumentType]
    assert "purchases" in script
