"""What was measured so far: how far labels can be trusted, and who loses what beside whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from servescope.lab.plan import ALONE, BESIDE

VICTIM_COLUMNS = (
    "victim", "alone", "cv_alone", "floor_points", "beside", "noisy",
    "p_median", "p_lowest", "ttft_p_median", "alone_per_s", "beside_per_s",
)  # fmt: skip
AGGRESSOR_COLUMNS = ("aggressor", "placement", "runs", "p_mean", "p_lowest")


@dataclass(frozen=True, slots=True)
class Report:
    """Tables and figures.

    Attributes:
        runs: in all.
        clean: of them, those that can be trusted.
        seconds: rows in the trusted ones.
        floor_points: mean |1 - P| of runs alone in hundredths: no model can be better than that.
        victims: a row a victim, `VICTIM_COLUMNS`.
        aggressors: a row an aggressor and placement, `AGGRESSOR_COLUMNS`.
        noise: reason -> runs, most frequent first.
    """

    runs: int
    clean: int
    seconds: int
    floor_points: float | None
    victims: pl.DataFrame
    aggressors: pl.DataFrame
    noise: Mapping[str, int]

    def as_record(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "runs": self.runs,
            "clean": self.clean,
            "seconds": self.seconds,
            "floor_points": self.floor_points,
            "victims": self.victims.to_dicts(),
            "aggressors": self.aggressors.to_dicts(),
            "noise": dict(self.noise),
        }


def report(records: Sequence[Mapping[str, Any]]) -> Report:
    """The report on runs as `dataset.Folder.records` gives them."""
    runs = _frame(records)
    clean = runs.filter(pl.col("noise") == "")
    floor = clean.filter(pl.col("phase") == ALONE).select(_floor()).item()
    return Report(
        runs=runs.height,
        clean=clean.height,
        seconds=int(clean["rows"].sum()),
        floor_points=floor,
        victims=_victims(runs),
        aggressors=_aggressors(clean),
        noise=_noise(runs),
    )


def _frame(records: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    schema = {
        **dict.fromkeys(("victim", "aggressor", "placement", "phase", "noise"), pl.String),
        **dict.fromkeys(("label_p", "label_raw", "label_ttft_p", "achieved_per_s"), pl.Float64),
        "rows": pl.Int64,
    }
    return pl.DataFrame(
        {name: [record[name] for record in records] for name in schema}, schema=schema
    )


def _floor() -> pl.Expr:
    return ((1 - pl.col("label_raw")).abs().mean() * 100).alias("floor_points")


def _victims(runs: pl.DataFrame) -> pl.DataFrame:
    clean = pl.col("noise") == ""
    alone, beside = clean & (pl.col("phase") == ALONE), clean & (pl.col("phase") == BESIDE)
    ratio = pl.col("label_raw").filter(alone)
    return (
        runs.group_by("victim")
        .agg(
            alone.sum().alias("alone"),
            (ratio.std() / ratio.mean()).alias("cv_alone"),
            ((1 - ratio).abs().mean() * 100).alias("floor_points"),
            beside.sum().alias("beside"),
            (~clean).sum().alias("noisy"),
            pl.col("label_p").filter(beside).median().alias("p_median"),
            pl.col("label_p").filter(beside).min().alias("p_lowest"),
            pl.col("label_ttft_p").filter(beside).median().alias("ttft_p_median"),
            pl.col("achieved_per_s").filter(alone).mean().alias("alone_per_s"),
            pl.col("achieved_per_s").filter(beside).mean().alias("beside_per_s"),
        )
        .sort("victim")
        .select(VICTIM_COLUMNS)
    )


def _aggressors(clean: pl.DataFrame) -> pl.DataFrame:
    return (
        clean.filter(pl.col("phase") == BESIDE)
        .group_by("aggressor", "placement")
        .agg(
            pl.len().cast(pl.Int64).alias("runs"),
            pl.col("label_p").mean().alias("p_mean"),
            pl.col("label_p").min().alias("p_lowest"),
        )
        .sort("p_mean", "aggressor", "placement", nulls_last=True)
        .select(AGGRESSOR_COLUMNS)
    )


def _noise(runs: pl.DataFrame) -> dict[str, int]:
    """Reasons without their figures."""
    reason = pl.col("noise").str.replace_all(r"[\d.]+%?", "…").alias("reason")
    told = runs.filter(pl.col("noise") != "").group_by(reason).agg(pl.len().alias("runs"))
    rows = told.sort(["runs", "reason"], descending=[True, False]).iter_rows()
    return {str(name): int(count) for name, count in rows}
