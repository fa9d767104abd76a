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

from analysis import replay_parts
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
    by_cost: bool = False,
) -> str:
    """The whole answer as text.

    Args:
        results: of `replay_frames.summary`.
        validity: one sentence.
        sentences: verdicts.
        is_validated: else every table says so.
        plain: without marks for a terminal.
        width: columns of the terminal.
        by_cost: whether money is compared: it leads then.
    """
    to = StringIO()
    shown_width = WIDTH if width >= WIDTH else max(width, 100)
    console = Console(
        file=to, width=shown_width, force_terminal=not plain, highlight=False, markup=False
    )
    told = (*_BY_COST, *_COLUMNS[len(_BY_COST) :]) if by_cost else _COLUMNS
    columns = told if width >= WIDTH else told[:_DECISIVE]
    console.print(validity[:1].upper() + validity[1:] + ".")
    shown = results.filter(pl.col("row") != "curve")
    for (case, startup), part in shown.group_by("case", "startup_seconds", maintain_order=True):
        mark = "" if is_validated else "  [not validated]"
        console.print(f"\n{case or 'failed'}, start-up {startup:g} s{mark}")
        console.print(_table(part, columns))
        for text in told_of_parts(part):
            console.print(text)
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
_BY_COST: tuple[_Column, ...] = (
    _COST,
    ("vs\nfixed", lambda row: span(row, "regret_static_cost_ratio", signed)),
    ("vs clair-\nvoyant", lambda row: span(row, "regret_clairvoyant_cost_ratio", signed)),
)
_HOURS = _COLUMNS[0]


def _table(part: pl.DataFrame, told: Sequence[_Column]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("policy", min_width=26)
    has_cost = part["cost"].is_not_null().any()
    leads_with_cost = told[0] is _COST
    other = [_HOURS] if leads_with_cost else [_COST] if has_cost else []
    columns = [*told, *other]
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


def told_of_parts(part: pl.DataFrame) -> list[str]:
    """What guards held of whom, and how good the forecasts were, a line each.

    Args:
        part: rows of `replay_frames.summary` of one case and start-up time.
    """
    found, forecasts = [], None
    for row in part.filter(pl.col("row") != "curve").iter_rows(named=True):
        forecasts = forecasts or row["forecasts"]
        held: dict[str, float] = {}
        for (_, guard), count in replay_parts.flat(json.loads(row["clips"] or "{}")).items():
            held[guard] = held.get(guard, 0.0) + count
        if held:
            words = ", ".join(f"{guard} {count:g}" for guard, count in held.items())
            found.append(f"{row['title']} ({row['row']}): guards held or clipped: {words}")
    if forecasts is not None:
        told = json.loads(forecasts)
        skill, below = (_share(told.get(name)) for name in ("skill", "coverage_q90"))
        found.append(
            f"forecasts: {told['count']:.0f}, every five minutes, of the next ten; skill {skill}"
            f" against all rates seen by then, {below} at or below their 90 % quantile"
        )
    return found


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0%}"


def _kept(row: Mapping[str, Any]) -> str:
    if row["is_met"] is None:
        return f"{row['seeds']} seed" if row["seeds"] == 1 else "?"
    return "yes" if row["is_met"] else "NO"


def settings(row: Mapping[str, Any]) -> str:
    """Which row of a policy it is, with what was changed."""
    told = {**parsed(row["policy"])[1], **json.loads(row["parameters"])}
    if isinstance(told.get("replicas"), Mapping):
        # Of a fleet: each pool by its name.
        told = {**told.pop("replicas"), **told}
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
