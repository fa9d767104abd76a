"""A comparison as people read it in a terminal: how wrong the model is first, then the table."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from typing import Any

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from controller.comparison.naming import parsed

WIDTH = 156
# A narrower terminal shows the columns that decide, and says so.
_DECISIVE = 4
_NOTE = "Worst minute, TTFT, TPOT and more: in a terminal of {} columns, or with --json."
_ROW_WORDS = {
    "static-peak": "fixed for the peak",
    "clairvoyant": "knows the future",
    "hindsight": "best in hindsight",
}


def lines(
    results: pl.DataFrame,
    validity: str,
    sentences: list[str],
    *,
    is_validated: bool,
    plain: bool = True,
    width: int = WIDTH,
) -> str:
    """The whole answer as text.

    Args:
        results: of `replay_frames.summary`.
        validity: one sentence.
        sentences: verdicts.
        is_validated: else every table says so.
        plain: without marks for a terminal.
        width: columns of the terminal.
    """
    to = StringIO()
    shown_width = WIDTH if width >= WIDTH else max(width, 100)
    console = Console(
        file=to, width=shown_width, force_terminal=not plain, highlight=False, markup=False
    )
    columns = _COLUMNS if width >= WIDTH else _COLUMNS[:_DECISIVE]
    console.print(validity[:1].upper() + validity[1:] + ".")
    shown = results.filter(pl.col("row") != "curve")
    for (case, startup), part in shown.group_by("case", "startup_seconds", maintain_order=True):
        mark = "" if is_validated else "  [not validated]"
        console.print(f"\n{case or 'failed'}, start-up {startup:g} s{mark}")
        console.print(_table(part, columns))
    for text in sentences:
        console.print(text)
    if width < WIDTH:
        console.print(_NOTE.format(WIDTH))
    return "\n".join(line.rstrip() for line in to.getvalue().splitlines())


_Column = tuple[str, Callable[[Mapping[str, Any]], str]]
_COLUMNS: tuple[_Column, ...] = (
    ("GPU-hours", lambda row: span(row, "gpu_hours", short)),
    ("vs\nfixed", lambda row: span(row, "regret_static_ratio", signed)),
    ("vs clair-\nvoyant", lambda row: span(row, "regret_clairvoyant_ratio", signed)),
    ("attain-\nment %", lambda row: span(row, "attainment_ratio", percent)),
    ("worst\nminute %", lambda row: span(row, "worst_minute_ratio", percent)),
    ("TTFT s\np50, p99", lambda row: _pair(row, "ttft", 1.0)),
    ("TPOT ms\np50, p99", lambda row: _pair(row, "tpot", 1000.0)),
    ("refused\n%", lambda row: span(row, "refused_ratio", percent)),
    ("changes", lambda row: span(row, "scale_events", short)),
)
_COST: _Column = ("cost", lambda row: span(row, "cost", short))


def _table(part: pl.DataFrame, told: Sequence[_Column]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("policy", min_width=26)
    has_cost = part["cost"].is_not_null().any()
    columns = [*told, *([_COST] if has_cost else [])]
    for name, _ in columns:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("kept")
    for row in part.iter_rows(named=True):
        name = f"{row['title']}\n  {settings(row)}"
        if row["failed"]:
            table.add_row(f"{name}\n  failed: {row['reason']}", *[""] * len(columns), "failed")
        else:
            table.add_row(name, *(tell(row) for _, tell in columns), _kept(row))
    return table


def _kept(row: Mapping[str, Any]) -> str:
    if row["is_met"] is None:
        return f"{row['seeds']} seed" if row["seeds"] == 1 else "?"
    return "yes" if row["is_met"] else "NO"


def settings(row: Mapping[str, Any]) -> str:
    """Which row of a policy it is, with what was changed."""
    told = {**parsed(row["policy"])[1], **json.loads(row["parameters"])}
    values = ", ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in told.items()
    )
    word = _ROW_WORDS.get(row["row"], row["row"])
    if row["row"] == "default" and told:
        word = "as given"
    return f"{word}: {values}" if values else word


def span(
    row: Mapping[str, Any], name: str, text: Callable[[float], str], between: str = "\n"
) -> str:
    """A median and its range; never one without the other.

    Args:
        row: of `replay_frames.summary`.
        name: of the number.
        text: how it is written.
        between: the two.
    """
    value, low, high = row[name], row[f"{name}_low"], row[f"{name}_high"]
    if value is None:
        return "-"
    ends = text(low), text(high)
    return text(value) if ends[0] == ends[1] else f"{text(value)}{between}{ends[0]}..{ends[1]}"


def _pair(row: Mapping[str, Any], name: str, factor: float) -> str:
    values = [row[f"{name}_{level}_seconds"] for level in ("p50", "p99")]
    return "\n".join("-" if value is None else short(value * factor) for value in values)


def short(value: float) -> str:
    """Three digits that matter."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def signed(value: float) -> str:
    """More or less, in percent."""
    return f"{value:+.0%}"


def percent(value: float) -> str:
    """Percent, finer where it matters."""
    digits = 2 if value >= 0.99 else 1
    return f"{100 * value:.{digits}f}".rstrip("0").rstrip(".")
