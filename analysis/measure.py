"""One number as it may be shown: with its unit, its interval and why it is unknown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import polars as pl

from store.queries.scope import Scope

# Measures in "ratio" that are no share of anything: they read as numbers, never as percentages.
QUOTIENTS = frozenset({"output_to_input_ratio"})

EmptyKind = Literal["nothing_connected", "metric_absent", "outside_range", "no_traffic"]


@dataclass(frozen=True, slots=True)
class Measure:
    """A number for people.

    Attributes:
        value: the number in `unit`; None when unknown. Unknown is never 0.
        unit: "s", "requests/s", "tokens/s", "ratio", "tokens", "requests", "bytes",
            "x" (how many times too fast a budget burns) or "".
        low: lower end of its interval (Wilson, bucket edge), same unit.
        high: upper end of its interval, same unit.
        n: number of events behind it.
        why: one line: why it is unknown, or why only an interval is known.
    """

    value: float | None
    unit: str
    low: float | None = None
    high: float | None = None
    n: int | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Empty:
    """Why there is nothing to show: one of four reasons, never just "no data"."""

    kind: EmptyKind
    text: str
    last_record_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class View:
    """Everything one page, API answer, CLI table or report section shows, computed once.

    Attributes:
        name: key in `analysis.views.VIEWS`.
        scope: what was asked for.
        measures: single numbers by name.
        frames: tables by name; units are in the column names.
        sentences: verdicts and findings, best first.
        empty: why there is nothing to show, or None.
        sql: the query text behind a frame, by frame name.
        computed_at: when the numbers were read (aware UTC).
        totals: how many rows there are in all of the frames that hold the first of them only.
    """

    name: str
    scope: Scope
    measures: Mapping[str, Measure] = field(default_factory=dict)
    frames: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    sentences: tuple[str, ...] = ()
    empty: Empty | None = None
    sql: Mapping[str, str] = field(default_factory=dict)
    computed_at: datetime | None = None
    totals: Mapping[str, int] = field(default_factory=dict)

    def total(self, name: str) -> int:
        """All rows that there are of a frame; it may hold the first of them only."""
        return max(self.totals.get(name, 0), self.frames[name].height)
