"""Questions that share an origin, put together: one set of features, an outcome for each step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from predictors.base import AT, OUTCOME
from predictors.demand.windows import HISTORY, STEPS, WINDOW_SECONDS, Series, matrix, steps_of
from predictors.distribution import Floats


@dataclass(frozen=True, slots=True)
class Origins:
    """n series at n instants.

    Attributes:
        recent: (n, `HISTORY`) newest last.
        fleet: (n, `HISTORY`).
        outcomes: (n, `STEPS`) what came, NaN unknown.
        seconds: (n,) of the instant; NaN unknown.
        group: (n,) number of the fleet.
        series: (n,) number of the series.
    """

    recent: Floats
    fleet: Floats
    outcomes: Floats
    seconds: Floats
    group: npt.NDArray[np.int64]
    series: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.recent)

    def take(self, chosen: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Origins:
        """The origins that an index or a mask names."""
        return Origins(
            *(self.recent[chosen], self.fleet[chosen], self.outcomes[chosen]),
            *(self.seconds[chosen], self.group[chosen], self.series[chosen]),
        )


def origins_of(rows: pl.DataFrame) -> Origins:
    """The rows by origin, in the order in which they first appear.

    Args:
        rows: with the columns of the spec, `outcome`, and `at` where there is time; without it
            every row is an origin of its own.
    """
    if AT not in rows.columns:
        rows = rows.with_columns(pl.lit(None, pl.Datetime("us")).alias(AT))
    alone = pl.when(pl.col(AT).is_null()).then(pl.int_range(pl.len()))
    model, tenant = (pl.col(name).cast(pl.String).fill_null("") for name in ("model", "tenant"))
    marked = rows.with_columns(
        model.alias("model"),
        tenant.alias("tenant"),
        pl.Series("_step", steps_of(rows)),
        pl.struct(model, tenant, AT, alone.alias("_alone")).rank("dense").alias("_origin"),
    )
    first = marked.unique("_origin", keep="first", maintain_order=True)
    place = {mark: number for number, mark in enumerate(first["_origin"].to_list())}
    outcomes = np.full((first.height, STEPS), np.nan)
    where = np.array([place[mark] for mark in marked["_origin"].to_list()], np.int64)
    outcomes[where, marked["_step"].to_numpy() - 1] = (
        marked[OUTCOME].cast(pl.Float64).fill_null(np.nan).to_numpy()
    )
    series = first.select(pl.struct("model", "tenant").rank("dense")).to_series()
    return Origins(
        *(matrix(first["recent"]), matrix(first["fleet"]), outcomes),
        seconds_of(first),
        first["model"].rank("dense").to_numpy().astype(np.int64),
        series.to_numpy().astype(np.int64),
    )


def sampled(
    series: Sequence[Series], every: int, until: Mapping[str, int], seed: int = 0
) -> Origins:
    """One in `every` origins of each series whose outcomes all lie before a window.

    They are drawn, since every second window of a series that alternates is always its low one;
    all series of a model share the draw, so that they can be added up.

    Args:
        series: measured ones.
        every: how many windows there are for each that is taken.
        until: by model: number of the first window that must not be looked at.
        seed: of the draw.
    """
    parts = []
    groups = {name: number for number, name in enumerate(sorted({s.model for s in series}))}
    for number, one in enumerate(series):
        last = min(until.get(one.model, len(one.values)), len(one.values)) - STEPS
        drawn = np.random.default_rng(seed).random(max(last, 0)) < 1 / every
        origins = np.flatnonzero(drawn)
        origins = origins[origins >= min(HISTORY // 2, max(last - 1, 0))]
        if one.mean > 0 and len(origins):
            parts.append(_sampled(one, origins, groups[one.model], number))
    return joined(parts)


def _sampled(series: Series, origins: npt.NDArray[np.int64], group: int, number: int) -> Origins:
    n = len(origins)
    return Origins(
        _past(series.values, origins),
        _past(series.fleet, origins),
        series.values[origins[:, None] + np.arange(1, STEPS + 1)],
        np.asarray((origins + 1) * float(WINDOW_SECONDS), dtype=np.float64),
        np.full(n, group, np.int64),
        np.full(n, number, np.int64),
    )


def _past(values: Floats, origins: npt.NDArray[np.int64]) -> Floats:
    padded = np.concatenate([np.full(HISTORY, np.nan), values])
    return np.asarray(padded[origins[:, None] + 1 + np.arange(HISTORY)])


def seconds_of(rows: pl.DataFrame) -> Floats:
    """(n,) seconds of `at`; NaN where there is none."""
    if AT not in rows.columns or rows[AT].dtype == pl.Null:
        return np.full(rows.height, np.nan)
    return rows[AT].dt.epoch("s").cast(pl.Float64).fill_null(np.nan).to_numpy()


def summed(origins: Origins, count: int, seed: int) -> Origins:
    """Made-up series: weighted sums of some series of one fleet at the same instants.

    They look like the totals of models that were never seen, which real rows hold few of.

    Args:
        origins: real ones.
        count: how many series to make.
        seed: of the choice.
    """
    random = np.random.default_rng(seed)
    made = [one for _ in range(count) if (one := _sum(origins, random)) is not None]
    return joined(made) if made else origins.take(np.zeros(0, np.int64))


def joined(parts: list[Origins]) -> Origins:
    """All of them, one behind the other."""
    names = ("recent", "fleet", "outcomes", "seconds", "group", "series")
    return Origins(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _sum(origins: Origins, random: np.random.Generator) -> Origins | None:
    group = random.choice(origins.group)
    members = np.unique(origins.series[origins.group == group])
    size = min(int(random.choice([2, 3, 5, 8, 15, 30])), len(members))
    if size < 2:
        return None
    picked = random.choice(members, size, replace=False)
    places = [np.flatnonzero(origins.series == one) for one in picked]
    common = origins.seconds[places[0]]
    for place in places[1:]:
        common = np.intersect1d(common, origins.seconds[place])
    common = np.unique(common[np.isfinite(common)])
    if not len(common):
        return None
    power = random.uniform(0, 1)
    recent, outcomes = np.zeros((len(common), HISTORY)), np.zeros((len(common), STEPS))
    for place in places:
        order = place[np.argsort(origins.seconds[place], kind="stable")]
        here = order[np.searchsorted(origins.seconds[order], common)]
        level = (
            np.nanmean(origins.outcomes[here]) if np.isfinite(origins.outcomes[here]).any() else 0
        )
        weight = max(float(level), 1e-3) ** -power
        recent += weight * origins.recent[here]
        outcomes += weight * origins.outcomes[here]
    n = len(common)
    return Origins(
        *(recent, origins.fleet[here], outcomes, common),
        *(np.full(n, group, np.int64), np.full(n, -1, np.int64)),
    )
