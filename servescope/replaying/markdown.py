"""A comparison as Markdown tables, for pages that are generated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from servescope.replaying.report import percent, settings, short, signed, span
from store.errors import InputError

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
_BETWEEN = "<br>"

_COLUMNS: tuple[tuple[str, Callable[[Mapping[str, Any]], str]], ...] = (
    ("GPU-hours", lambda row: span(row, "gpu_hours", short, _BETWEEN)),
    ("vs fixed", lambda row: span(row, "regret_static_ratio", signed, _BETWEEN)),
    ("vs clairvoyant", lambda row: span(row, "regret_clairvoyant_ratio", signed, _BETWEEN)),
    ("attainment %", lambda row: span(row, "attainment_ratio", percent, _BETWEEN)),
    ("worst minute %", lambda row: span(row, "worst_minute_ratio", percent, _BETWEEN)),
    ("refused %", lambda row: span(row, "refused_ratio", percent, _BETWEEN)),
    ("TTFT p99 s", lambda row: span(row, "ttft_p99_seconds", short, _BETWEEN)),
    ("TPOT p99 s", lambda row: span(row, "tpot_p99_seconds", short, _BETWEEN)),
    ("changes", lambda row: span(row, "scale_events", short, _BETWEEN)),
)


_BY_COST = (
    ("cost", lambda row: span(row, "cost", short, _BETWEEN)),
    ("vs fixed", lambda row: span(row, "regret_static_cost_ratio", signed, _BETWEEN)),
    ("vs clairvoyant", lambda row: span(row, "regret_clairvoyant_cost_ratio", signed, _BETWEEN)),
)


def table(part: pl.DataFrame, *, by_cost: bool = False) -> list[str]:
    """Lines of one table.

    Args:
        part: rows of `replay_frames.summary` of one case and start-up time.
        by_cost: whether money is compared, not GPU-hours.
    """
    columns = (*_BY_COST, *_COLUMNS[len(_BY_COST) :]) if by_cost else _COLUMNS
    names = ["policy", "settings", *(name for name, _ in columns), "kept"]
    lines = [_line(names), _line(["---", "---", *["--:"] * len(columns), "---"])]
    for row in part.filter(pl.col("row") != "curve").iter_rows(named=True):
        if row["failed"]:
            cells, kept = ["-"] * len(columns), f"failed: {row['reason']}"
        else:
            cells = [tell(row) for _, tell in columns]
            kept = {True: "yes", False: "**no**", None: "?"}[row["is_met"]]
        lines.append(_line([row["title"], settings(row), *cells, kept]))
    return lines


def replaced(file: Path, lines: list[str], marks: tuple[str, str] = (BEGIN, END)) -> None:
    """Put lines between the two marks of a page.

    Raises:
        InputError: the page has no such marks.
    """
    text = file.read_text("utf-8")
    before, begin, rest = text.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not begin or not end:
        raise InputError(
            f"the page has no marks {marks[0]} and {marks[1]}", where=str(file), hint="add them"
        )
    file.write_text("\n".join([before + begin, "", *lines, "", end]) + after, "utf-8")


def _line(cells: list[str]) -> str:
    safe = [str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells]
    return f"| {' | '.join(safe)} |"
