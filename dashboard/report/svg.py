"""Charts as SVG, drawn by hand: no script, no font, no library to go out of date.

Colours are variables of the page, so that one picture serves light, dark and print; `palette`
gives their values where variables are not understood.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from zoneinfo import ZoneInfo

from analysis.reports.document import Chart, Line
from dashboard.report.scales import Tick, instant, round_steps, time_ticks
from dashboard.text import unit_text

WIDTH, HEIGHT = 720, 220
LEFT, RIGHT, TOP, BOTTOM = 76, 12, 14, 26
BAR_HEIGHT, NAME_WIDTH = 22, 170
_LEGEND_HEIGHT = 20
_DASHES = ("", "6 4", "2 3", "9 3 2 3")
_MOST_NAME = 26


@dataclass(frozen=True, slots=True)
class Look:
    """Colours by role; the values are CSS colours or variables."""

    text: str = "var(--dim)"
    grid: str = "var(--line)"
    limit: str = "var(--bad)"
    series: tuple[str, ...] = ("var(--c0)", "var(--c1)", "var(--c2)", "var(--c3)")


PRINTED = Look("#555b66", "#d9dde3", "#b42318", ("#1f5fbf", "#b45309", "#0f766e", "#7c3aed"))


def drawn(chart: Chart, zone: ZoneInfo, look: Look, *, dated: bool = True) -> str:
    """A chart as one SVG element.

    Args:
        chart: what is drawn.
        zone: of its time axis.
        look: colours.
        dated: False for trace time.
    """
    if chart.kind == "bar":
        height, inside = _bars(chart, look)
    else:
        height, inside = _lines(chart, zone, look, dated=dated)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(chart.summary)}"'
        f' font-size="12" font-family="system-ui, sans-serif">{inside}</svg>'
    )


def _lines(chart: Chart, zone: ZoneInfo, look: Look, *, dated: bool) -> tuple[int, str]:
    times = sorted({at for line in chart.lines for at in line.x})
    start, end = instant(times[0]), instant(times[-1])
    known = [value for line in chart.lines for value in line.y if value is not None]
    known += [] if chart.limit is None else [chart.limit]
    steps = round_steps(min(0.0, *known), max(0.0, *known) or 1.0)
    frame = _Frame(start.timestamp(), end.timestamp(), steps[0], steps[-1])
    parts = [
        *_grid(frame, steps, chart.unit, look),
        *_times(frame, time_ticks(start, end, zone, dated=dated), look),
        *(_limit(frame, chart, look) if chart.limit is not None else ()),
    ]
    for place, line in enumerate(chart.lines):
        parts += _course(frame, line, look.series[place % 4], _DASHES[place % 4])
    legend = _legend(chart.lines, look) if len(chart.lines) > 1 else ""
    return HEIGHT + (_LEGEND_HEIGHT if legend else 0), "".join(parts) + legend


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where values come to lie."""

    first: float
    last: float
    low: float
    high: float

    def x(self, at: float) -> float:
        share = (at - self.first) / ((self.last - self.first) or 1.0)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _grid(frame: _Frame, steps: Sequence[float], unit: str, look: Look) -> Iterator[str]:
    for step in steps:
        y = frame.y(step)
        yield (
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"'
            f' style="stroke:{look.grid}"/>'
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" style="fill:{look.text}">'
            f"{escape(axis_text(step, unit))}</text>"
        )


def axis_text(value: float, unit: str) -> str:
    """A number beside an axis: short, whole percents without a decimal."""
    if unit == "ratio" and abs(value * 100 - round(value * 100)) < 1e-9:
        return f"{value * 100:.0f} %"
    if unit.endswith("/s"):
        return unit_text(value, "") + " /s"
    return unit_text(value, "" if unit in ("requests", "replicas", "starts") else unit)


def _times(frame: _Frame, ticks: Sequence[Tick], look: Look) -> Iterator[str]:
    for tick in ticks:
        x = frame.x(tick.at)
        yield (
            f'<text x="{x:.1f}" y="{HEIGHT - 7}" text-anchor="middle" style="fill:{look.text}">'
            f"{escape(tick.text)}</text>"
        )


def _limit(frame: _Frame, chart: Chart, look: Look) -> Iterator[str]:
    y = frame.y(chart.limit or 0.0)
    yield (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke-dasharray="4 3"'
        f' style="stroke:{look.limit}"/><text x="{WIDTH - RIGHT - 4}" y="{y - 5:.1f}"'
        f' text-anchor="end" style="fill:{look.limit}">{escape(chart.limit_label)}</text>'
    )


def _course(frame: _Frame, line: Line, colour: str, dashes: str) -> Iterator[str]:
    """A line, broken where nothing is known; a point between two gaps is a dot."""
    points = [
        (frame.x(instant(at).timestamp()), None if value is None else frame.y(value))
        for at, value in zip(line.x, line.y, strict=True)
    ]
    for is_known, run in groupby(points, key=lambda point: point[1] is not None):
        if not is_known:
            continue
        piece = [(x, y) for x, y in run if y is not None]
        if len(piece) == 1:
            x, y = piece[0]
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" style="fill:{colour}"/>'
            continue
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in piece)
        dash = f' stroke-dasharray="{dashes}"' if dashes else ""
        yield (
            f'<polyline points="{path}" fill="none" stroke-width="1.8" stroke-linejoin="round"'
            f'{dash} style="stroke:{colour}"/>'
        )


def _legend(lines: Sequence[Line], look: Look) -> str:
    """Names below, each behind a piece of its line: colour is never the only sign."""
    parts, x = [], float(LEFT)
    y = HEIGHT + _LEGEND_HEIGHT / 2
    for place, line in enumerate(lines):
        dash = f' stroke-dasharray="{_DASHES[place % 4]}"' if _DASHES[place % 4] else ""
        parts.append(
            f'<line x1="{x:.0f}" x2="{x + 26:.0f}" y1="{y}" y2="{y}" stroke-width="2"{dash}'
            f' style="stroke:{look.series[place % 4]}"/>'
            f'<text x="{x + 32:.0f}" y="{y + 4}" style="fill:{look.text}">'
            f"{escape(line.name)}</text>"
        )
        x += 52 + 7.0 * len(line.name)
    return "".join(parts)


def _bars(chart: Chart, look: Look) -> tuple[int, str]:
    """Horizontal bars with their values behind them."""
    (line,) = chart.lines
    values = [value or 0.0 for value in line.y]
    most = max(values) or 1.0
    room = WIDTH - NAME_WIDTH - 90
    parts = []
    for place, (name, value) in enumerate(zip(line.x, values, strict=True)):
        y, width = place * BAR_HEIGHT, max(1.0, room * value / most)
        parts.append(
            f'<text x="{NAME_WIDTH - 8}" y="{y + 15}" text-anchor="end" style="fill:{look.text}">'
            f"{escape(_short(str(name)))}</text>"
            f'<rect x="{NAME_WIDTH}" y="{y + 4}" width="{width:.1f}" height="{BAR_HEIGHT - 8}"'
            f' rx="2" style="fill:{look.series[0]}"/>'
            f'<text x="{NAME_WIDTH + width + 6:.1f}" y="{y + 15}" style="fill:{look.text}">'
            f"{escape(axis_text(value, chart.unit))}</text>"
        )
    return len(values) * BAR_HEIGHT + 4, "".join(parts)


def _short(name: str) -> str:
    return name if len(name) <= _MOST_NAME else f"{name[: _MOST_NAME - 1]}\N{HORIZONTAL ELLIPSIS}"
