"""Predictions judged by what came true: losses, coverage, order, and where they were furthest off.

All from one frame of `store.queries.predictions.said`. The pinball loss of level l, of a predicted
q and an outcome y, is max(l (y - q), (l - 1) (y - q)).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from store.queries.predictions import BLOCKS, SCORED_LEVELS

MOST_KEYS = 100
MOST_MISSES = 10
# Where DuckDB's and our bins of time begin: a Monday.
_ORIGIN = datetime(2000, 1, 3)  # noqa: DTZ001 - as the store keeps it
_LEAST_MEDIAN = 1e-6
_NEXT_TO_NOTHING = 1e-9
Floats = npt.NDArray[np.float64]


class Judged:
    """What was said, judged.

    Args:
        said: as of `store.queries.predictions.said`.

    Attributes:
        calibration: quantity, level, coverage_ratio, rival_coverage_ratio, outcomes.
    """

    def __init__(self, said: pl.DataFrame) -> None:
        self._said = said
        known = said.filter(pl.col("outcome").is_not_null() & ~pl.col("is_cut"))
        known = known.sort("arrived_at", "request_key")
        levels = _Levels(known)
        self.calibration = levels.calibration
        self._rows = known.drop("levels", "predicted", "rival").with_columns(levels.of_rows)

    def summary(self) -> pl.DataFrame:
        """One row a quantity.

        Columns: quantity, predictions, outcomes, cut, pinball, rival_pinball, mae,
        rank_correlation (Spearman), fallback_ratio, calibrated_ratio, before_ratio, last_at,
        model_id.
        """
        is_judged = pl.col("outcome").is_not_null() & ~pl.col("is_cut")
        told = self._said.group_by("quantity").agg(
            predictions=pl.len().cast(pl.Int64),
            outcomes=is_judged.sum().cast(pl.Int64),
            cut=pl.col("is_cut").sum().cast(pl.Int64),
            fallback_ratio=pl.col("was_fallback").mean(),
            calibrated_ratio=pl.col("is_calibrated").mean(),
            before_ratio=pl.col("was_before").mean(),
            last_at=pl.col("arrived_at").max(),
            model_id=pl.col("model_id").get(pl.col("predicted_at").arg_max()),
        )
        middle, outcome = pl.col("median").drop_nulls(), pl.col("outcome")
        known = outcome.filter(pl.col("median").is_not_null())
        losses = self._rows.group_by("quantity").agg(
            *_means(),
            mae=(outcome - pl.col("median")).abs().mean(),
            rank_correlation=pl.corr(
                middle.rank("min").cast(pl.Float64), known.rank("min").cast(pl.Float64)
            ).fill_nan(None),
        )
        joined = told.join(losses.drop("outcomes", "coverage_q90_ratio"), on="quantity", how="left")
        return joined.sort("quantity").select(
            "quantity", "predictions", "outcomes", "cut", "pinball", "rival_pinball", "mae",
            "rank_correlation", "fallback_ratio", "calibrated_ratio", "before_ratio", "last_at",
            "model_id",
        )  # fmt: skip

    def over_time(self, bin_seconds: int) -> pl.DataFrame:
        """quantity, at, pinball, rival_pinball, coverage_q90_ratio, outcomes."""
        width = bin_seconds * 1_000_000
        since = (pl.col("arrived_at") - pl.lit(_ORIGIN)).dt.total_microseconds()
        at = pl.lit(_ORIGIN) + pl.duration(microseconds=since.floordiv(width) * width)
        return self._added("quantity", at.cast(pl.Datetime("us")).alias("at")).sort(
            "quantity", "at"
        )

    def keys(self) -> pl.DataFrame:
        """quantity, key, outcomes, pinball, rival_pinball, coverage_q90_ratio; the largest."""
        found = self._added("quantity", "key")
        order = ["outcomes", "quantity", "key"]
        largest = found.sort(order, descending=[True, False, False]).head(MOST_KEYS)
        return largest.select(
            "quantity", "key", "outcomes", "pinball", "rival_pinball", "coverage_q90_ratio"
        )

    def misses(self) -> pl.DataFrame:
        """The ten of each quantity that were furthest off as a ratio.

        Columns: quantity, request (its identity, as the request pages take it), arrived_at, key,
        predicted_median, predicted_q90, outcome, off (|ln ratio|).
        """
        ratio = (pl.col("outcome") + _NEXT_TO_NOTHING) / (pl.col("median") + _NEXT_TO_NOTHING)
        rows = self._rows.with_columns(off=ratio.log().abs()).sort(
            "quantity", "off", "arrived_at", descending=[False, True, False], nulls_last=True
        )
        return (
            rows.group_by("quantity", maintain_order=True)
            .head(MOST_MISSES)
            .select(
                "quantity",
                pl.format(
                    "{}:{}:{}", "source_id", pl.col("arrived_at").dt.epoch("us"), "request_key"
                ).alias("request"),
                "arrived_at",
                "key",
                pl.col("median").alias("predicted_median"),
                pl.col("q90").alias("predicted_q90"),
                "outcome",
                "off",
            )
        )

    def pairs(self) -> pl.DataFrame:
        """quantity, predicted_half_octave, real_half_octave (2 log2 of the value), requests.

        Squares of half an octave: enough to see a slope, few enough to send.
        """

        def half_octave(name: str) -> pl.Expr:
            value = pl.col(name).clip(lower_bound=_LEAST_MEDIAN)
            return (2 * value.log(2)).round(0).cast(pl.Int32)

        by = ("quantity", "predicted_half_octave", "real_half_octave")
        rows = self._rows.drop_nulls("median").select(
            "quantity",
            predicted_half_octave=half_octave("median"),
            real_half_octave=half_octave("outcome"),
        )
        return rows.group_by(by).agg(requests=pl.len().cast(pl.Int64)).sort(by)

    def blocks(self, *by: str) -> pl.DataFrame:
        """Losses summed over runs of neighbours in time: *by, block (from 1), loss, rival_loss.

        Args:
            by: "quantity", and "key" for each key's own runs.
        """
        place = pl.int_range(pl.len()).over(by)
        rows = self._rows.with_columns(block=ntile(place, pl.len().over(by)))
        sums = rows.filter(pl.col("n") > 0).group_by(*by, "block")
        return sums.agg(pl.col("loss", "rival_loss").sum()).sort(*by, "block")

    def _added(self, *by: str | pl.Expr) -> pl.DataFrame:
        return self._rows.group_by(*by).agg(*_means()).filter(pl.col("outcomes") > 0)


class _Levels:
    """All levels of all rows, one after the other.

    Attributes:
        of_rows: for each row its losses added up over `SCORED_LEVELS`, of how many, and what was
            said at the middle and at 0.9.
        calibration: see `Judged`.
    """

    def __init__(self, known: pl.DataFrame) -> None:
        counts = known["levels"].list.len().to_numpy()
        self._row = np.repeat(np.arange(known.height), counts)
        self._height = known.height
        level, self._ours, self._naive = (
            known[name].explode(empty_as_null=False).to_numpy()
            for name in ("levels", "predicted", "rival")
        )
        self._levels = pl.Series(level).unique().sort().to_numpy()
        self._place = np.searchsorted(self._levels, level)
        self._outcome = known["outcome"].to_numpy()[self._row]
        scored = np.flatnonzero(np.isin(self._levels, SCORED_LEVELS)[self._place])
        self.of_rows = [
            pl.Series("loss", self._losses(scored, self._ours)),
            pl.Series("rival_loss", self._losses(scored, self._naive)),
            pl.Series("n", np.bincount(self._row[scored], minlength=self._height)),
            self._at(0.5, "median"),
            self._at(0.9, "q90"),
        ]
        self.calibration = self._calibration(known["quantity"])

    def _losses(self, chosen: npt.NDArray[np.intp], said: Floats) -> Floats:
        """The loss of each row, added up over the chosen levels."""
        level = self._levels[self._place[chosen]]
        short = self._outcome[chosen] - said[chosen]
        loss = np.maximum(level * short, (level - 1) * short)
        return np.asarray(np.bincount(self._row[chosen], loss, self._height), np.float64)

    def _at(self, level: float, name: str) -> pl.Series:
        made = np.full(self._height, np.nan)
        for place in np.flatnonzero(self._levels == level):
            chosen = np.flatnonzero(self._place == place)
            made[self._row[chosen]] = self._ours[chosen]
        return pl.Series(name, made).fill_nan(None)

    def _calibration(self, quantity: pl.Series) -> pl.DataFrame:
        names, width = quantity.unique().sort(), len(self._levels)
        numbers = quantity.cast(pl.Enum(names)).to_physical().to_numpy().astype(np.int64)
        cell = numbers[self._row] * width + self._place
        cells = len(names) * width
        n = np.bincount(cell, minlength=cells)
        held, rival = (
            np.bincount(cell[self._outcome <= said], minlength=cells) / np.maximum(n, 1)
            for said in (self._ours, self._naive)
        )
        return pl.DataFrame(
            {
                "quantity": np.repeat(names.to_numpy(), width),
                "level": np.tile(self._levels, len(names)),
                "coverage_ratio": held,
                "rival_coverage_ratio": rival,
                "outcomes": n,
            },
            schema=_CALIBRATION,
        ).filter(pl.col("outcomes") > 0)


_CALIBRATION = {
    "quantity": pl.String(), "level": pl.Float64(), "coverage_ratio": pl.Float64(),
    "rival_coverage_ratio": pl.Float64(), "outcomes": pl.Int64(),
}  # fmt: skip


def ntile(place: pl.Expr, count: pl.Expr) -> pl.Expr:
    """The number of the part, from 1, when rows in order are cut into `BLOCKS` of like size.

    As SQL's ntile: what is left over makes the first parts one longer.

    Args:
        place: of a row, from 0.
        count: rows in all.
    """
    least, more = count // BLOCKS, count % BLOCKS
    first = more * (least + 1)
    later = more + (place - first) // least.clip(lower_bound=1)
    return pl.when(place < first).then(place // (least + 1)).otherwise(later) + 1


def _means() -> Sequence[pl.Expr]:
    """Losses a row and level, coverage of the 0.9 quantile, and rows with a loss."""
    levels = pl.when(pl.col("n").sum() > 0).then(pl.col("n").sum())
    return (
        (pl.col("loss").sum() / levels).alias("pinball"),
        (pl.col("rival_loss").sum() / levels).alias("rival_pinball"),
        (pl.col("outcome") <= pl.col("q90")).mean().alias("coverage_q90_ratio"),
        (pl.col("n").sum() // len(SCORED_LEVELS)).alias("outcomes"),
    )
