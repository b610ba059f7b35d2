"""The picture of the page: purchases per second, and below the CPU of a purchase by process, as an SVG."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from xml.sax.saxutils import escape

from cli.bench.words import CPU, SIDES_SAID

_WIDTH, _LEFT, _BAR, _GAP = 720, 110, 26, 12
_RIGHT = 90  # for the number after a bar
# Read by people who see colours differently, on a light ground and on a dark one.
_COLOURS = {
    "temporal": "#4477aa", "worker": "#66ccee", "dbos": "#aa3377", "plain": "#ccbb44", "postgres": "#228833",
    "provider": "#bbbbbb", "starter": "#ee6677",
}  # fmt: skip
_STYLE = "text{font:13px sans-serif;fill:#24292f}.head{font-weight:bold}.small{font-size:11px}"


def draw(peers: Mapping[str, Any]) -> str:
    """Return the SVG of what the peers' part measured."""
    sides = peers["sides"]
    lines: list[str] = []
    y = _title(lines, 24, "Purchases per second: more is better")
    most = max(side["perSecond"] for side in sides.values())
    for name, side in sides.items():
        y = _bar(lines, y, SIDES_SAID[name], [(_COLOURS[name], side["perSecond"])], most, f"{side['perSecond']:,.1f}")
    y = _title(lines, y + 24, "CPU of a purchase, ms: less is better")
    most = max(side["cpuMsTotal"] for side in sides.values())
    for name, side in sides.items():
        parts = [(_COLOURS[of], side["cpuMsPerPurchase"].get(of, 0.0)) for of in _COLOURS]
        y = _bar(lines, y, SIDES_SAID[name], parts, most, f"{side['cpuMsTotal']:,.0f}")
    y = _legend(lines, y + 8)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" role="img" '
        'aria-label="Purchases per second, and the CPU of a purchase by process">'
    )
    ground = f'<rect width="{_WIDTH}" height="{y}" fill="#ffffff"/>'
    return "\n".join([head, f"<style>{_STYLE}</style>", ground, *lines, "</svg>"]) + "\n"


def _title(lines: list[str], y: int, words: str) -> int:
    lines.append(f'<text class="head" x="12" y="{y}">{escape(words)}</text>')
    return y + 12


def _bar(lines: list[str], y: int, name: str, parts: Iterable[tuple[str, float]], most: float, said: str) -> int:
    lines.append(f'<text x="12" y="{y + 18}">{escape(name)}</text>')
    x = float(_LEFT)
    for colour, value in parts:
        width = (_WIDTH - _LEFT - _RIGHT) * value / most
        if width >= 0.1:
            lines.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{colour}"/>')
        x += width
    lines.append(f'<text x="{x + 8:.1f}" y="{y + 18}">{said}</text>')
    return y + _BAR + _GAP


def _legend(lines: list[str], y: int) -> int:
    """Name the colours, three in a row."""
    for number, (name, colour) in enumerate(_COLOURS.items()):
        row, column = divmod(number, 3)
        x, at = 12 + column * 236, y + row * 20
        lines.append(f'<rect x="{x}" y="{at}" width="12" height="12" fill="{colour}"/>')
        lines.append(f'<text class="small" x="{x + 18}" y="{at + 10}">{escape(CPU[name])}</text>')
    return y + (len(_COLOURS) + 2) // 3 * 20 + 8
