"""Rows of the demand predictors: what the last windows of a series looked like, and how far ahead.

A window is ten minutes. A row carries the newest `HISTORY` windows of its series (`recent`) and of
the fleet it belongs to (`fleet`), oldest first; null or NaN is a window that nobody saw.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from predictors.base import AT, OUTCOME, Feature, Spec
from predictors.distribution import Floats

WINDOW_SECONDS = 600
DAY = 24 * 3600 // WINDOW_SECONDS
STEPS = 6
# Two days and the hour around the same time two days ago.
HISTORY = 2 * DAY + 12
TOTAL = "(all)"

FEATURES = (
    Feature("recent", "list"),
    Feature("fleet", "list"),
    Feature("steps_ahead", "number"),
)
RATE = Spec(
    name="demand-rate",
    quantity="requests_per_second",
    unit="requests/s",
    features=FEATURES,
    keys=("model", "tenant"),
    horizon_seconds=float(STEPS * WINDOW_SECONDS),
    rival="demand-rate-last-value",
)
TOKENS = Spec(
    name="demand-tokens",
    quantity="tokens_per_second",
    unit="tokens/s",
    features=FEATURES,
    keys=("model", "tenant"),
    horizon_seconds=float(STEPS * WINDOW_SECONDS),
    rival="demand-tokens-last-value",
)


@dataclass(frozen=True, slots=True)
class Series:
    """One measured series on a grid of windows.

    Attributes:
        model: whose fleet it belongs to.
        tenant: who asks; `TOTAL` for the whole fleet.
        values: (t,) per second; NaN where nobody saw.
        fleet: (t,) of the whole model.
    """

    model: str
    tenant: str
    values: Floats
    fleet: Floats

    @property
    def mean(self) -> float:
        """Over the windows that were seen; 0 when none was."""
        seen = self.values[np.isfinite(self.values)]
        return float(seen.mean()) if len(seen) else 0.0


def series_of(windows: pl.DataFrame, until: datetime | None = None) -> list[Series]:
    """The total and every tenant of each model, on one grid, with outages masked.

    Args:
        windows: `model`, `tenant`, `at`, `value`; a window that is missing counts as zero when any
            tenant of the model had traffic then. When none had any, it is an outage or a gap in
            the measurement: nobody stops asking everywhere at once.
        until: the grid goes on up to here (unseen), by default to the last window of each model.
    """
    found = []
    for (model,), part in windows.group_by(["model"], maintain_order=True):
        names, grid = _grid(part, until)
        dead = ~(np.nansum(grid, axis=1) > 0)
        grid[dead] = np.nan
        fleet = np.where(dead, np.nan, np.nansum(grid, axis=1))
        found.append(Series(str(model), TOTAL, fleet, fleet))
        found += [
            Series(str(model), name, grid[:, number], fleet) for number, name in enumerate(names)
        ]
    return found


def _grid(part: pl.DataFrame, until: datetime | None) -> tuple[list[str], Floats]:
    seconds = part["at"].dt.epoch("s").to_numpy()
    place = (seconds - seconds.min()) // WINDOW_SECONDS
    tenants = part["tenant"].fill_null("").cast(pl.String)
    names = tenants.unique().sort().to_list()
    column = np.searchsorted(np.array(names, dtype=str), tenants.to_numpy().astype(str))
    size = int(place.max()) + 1
    if until is not None:
        end = (pl.Series([until]).cast(pl.Datetime("us")).dt.epoch("s")[0] - seconds.min()) / 1.0
        size = max(size, int(end // WINDOW_SECONDS))
    grid = np.zeros((size, len(names)))
    values = part["value"].cast(pl.Float64).fill_null(0.0).fill_nan(0.0).to_numpy()
    np.add.at(grid, (place, column), values)
    return names, grid


def rows_of(
    series: Sequence[Series],
    origins: Mapping[tuple[str, str], Iterable[int]],
    start: datetime,
    steps: Sequence[int] = tuple(range(1, STEPS + 1)),
) -> pl.DataFrame:
    """A row for each series, origin and step, with its outcome where it was seen.

    A row asks for the mean over the window that ends `horizon_seconds` after `at`.

    Args:
        series: to ask about.
        origins: by (model, tenant): numbers of the newest window that is known.
        start: time of window 0; `at` is when the newest known window ended.
        steps: how many windows ahead.
    """
    columns: dict[str, list[Any]] = {name: [] for name in (*_LABELS, "recent", "fleet", OUTCOME)}
    for one in series:
        for origin in origins.get((one.model, one.tenant), ()):
            lowest = max(origin + 1 - HISTORY, 0)
            recent, fleet = one.values[lowest : origin + 1], one.fleet[lowest : origin + 1]
            for step in steps:
                ahead = origin + step
                known = ahead < len(one.values)
                ended = start + timedelta(seconds=WINDOW_SECONDS * (origin + 1))
                row = (one.model, one.tenant, ended)
                outcome = float(one.values[ahead]) if known else np.nan
                for name, value in zip(
                    columns,
                    (
                        *row,
                        float(step),
                        float(step * WINDOW_SECONDS),
                        origin,
                        recent,
                        fleet,
                        outcome,
                    ),
                    strict=True,
                ):
                    columns[name].append(value)
    return pl.DataFrame(
        columns,
        schema_overrides={AT: pl.Datetime("us"), "recent": _LIST, "fleet": _LIST},
    )


_LIST = pl.List(pl.Float64)
_LABELS = ("model", "tenant", AT, "steps_ahead", "horizon_seconds", "origin")


def matrix(column: pl.Series) -> Floats:
    """(n, `HISTORY`) newest last; NaN before the first window of a short list."""
    lists = column.cast(_LIST).list.tail(HISTORY)
    sizes = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
    made = np.full((len(column), HISTORY), np.nan)
    if not sizes.sum():
        return made
    values = lists.filter(sizes > 0).explode().fill_null(np.nan).to_numpy().astype(np.float64)
    row = np.repeat(np.arange(len(column)), sizes)
    first = np.cumsum(sizes) - sizes
    place = np.arange(len(values)) - np.repeat(first, sizes) + HISTORY - np.repeat(sizes, sizes)
    made[row, place] = values
    made[~np.isfinite(made) | (made < 0)] = np.nan
    return made


def steps_of(rows: pl.DataFrame) -> npt.NDArray[np.int64]:
    """(n,) windows ahead, 1 to `STEPS`; what is unknown is asked about the next window."""
    asked = rows["steps_ahead"].cast(pl.Float64).fill_null(1.0).to_numpy()
    whole = np.nan_to_num(asked, nan=1.0, posinf=float(STEPS), neginf=1.0)
    return np.asarray(np.clip(np.rint(whole), 1, STEPS), dtype=np.int64)
