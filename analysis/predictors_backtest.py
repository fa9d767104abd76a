"""How predictors do on rolling origins of the store's own rows, by horizon and by window."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Any

import polars as pl

from analysis.intervals import skill_interval, wilson, with_ends
from analysis.measure import Empty, Measure, View
from analysis.predictors_view import LEAST_OUTCOMES, verdict
from store import backtests
from store.errors import InputError
from store.queries.scope import Scope
from store.reader import Reader
from store.units import counted, percent_text, seconds_text, signed_percent_text

# With fewer runs of neighbours an interval would only look sure.
LEAST_BLOCKS = 10
_NONE = (
    "No predictor was judged on rolling origins of this server's own rows yet: servescope "
    "predictors backtest NAME does it and keeps it (the names: servescope predictors list)."
)
_SUMS = (
    "n", "loss", "rival_loss", "absolute_error", "rival_absolute_error", "outcome_sum",
    "below_q90", "inside_90", "fallbacks",
)  # fmt: skip


def predictors_backtest(reader: Reader, scope: Scope, *, predictor: str = "") -> View:
    """The newest back-test of each predictor: fitted before an instant, judged on what came after.

    They are of the rows that were asked for then, whatever range is shown.

    Options: `predictor` (the one that the sentence, `horizons` and `windows` are about; by default
    the one that was judged last).

    Measures: backtests; of the predictor outcomes, windows, skill_ratio, coverage_q90_ratio.
    Frames: `backtests` (newest of each predictor: backtest_id, predictor, made_at, source,
    data_from, data_until, rows, windows, unit, rival, seconds), `horizons` and `windows` (of the
    predictor), and `cells` (every predictor, horizon and window), each with n, pinball and
    rival_pinball (mean loss a row, in `unit`), season_pinball (of the same time yesterday, where
    that is known for all rows), skill_ratio (1 - loss / loss of the rival) and skill_low and
    skill_high (95 %, drawing runs of neighbours again; null below 10 of them), error_low and
    error_high (pinball where the rival's loss is held and skill is at its ends),
    season_skill_ratio, wmape_ratio, rival_wmape_ratio, coverage_q90_ratio with its Wilson
    interval, inside_90_ratio, fallback_ratio.

    Raises:
        InputError: the predictor was not judged.
    """
    found = backtests.newest(reader)
    if found.is_empty():
        measures = {"backtests": Measure(0.0, "")}
        return View(
            "predictors_backtest", scope, measures, {}, (), Empty("nothing_connected", _NONE)
        )
    chosen = _chosen(found, predictor)
    cells = backtests.cells(reader, found["backtest_id"].to_list())
    own = cells.filter(pl.col("predictor") == chosen["predictor"])
    window = ["window", "learnt_until", "judged_until", "learnt_rows"]
    frames = {
        "backtests": found,
        "horizons": added(own, ["horizon_seconds"]),
        "windows": added(own, window),
        "cells": added(cells, ["predictor", "horizon_seconds", *window]),
    }
    whole = added(own, ["predictor"]).row(0, named=True)
    said = (_sentence(whole, chosen, frames["horizons"]),)
    return View("predictors_backtest", scope, _measures(found, whole, chosen), frames, said)


def _chosen(found: pl.DataFrame, wanted: str) -> dict[str, Any]:
    if not wanted:
        return found.sort("made_at", "predictor", descending=[True, False]).row(0, named=True)
    rows = found.filter(pl.col("predictor") == wanted)
    if rows.is_empty():
        known = ", ".join(found["predictor"])
        raise InputError(f"'{wanted}' was not back-tested", hint=f"these were: {known}")
    return rows.row(0, named=True)


def added(cells: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Cells added up by some columns, as ratios and means with their intervals.

    Args:
        cells: of `store.backtests.cells`.
        by: columns of theirs.
    """
    season = pl.col("season_loss")
    known = season.is_not_null()
    rows = pl.col("n")
    # Beside yesterday only rows count of which yesterday is known.
    sums = cells.group_by(by, maintain_order=True).agg(
        pl.col(_SUMS).sum(),
        season_n=rows.filter(known).sum(), season_sum=season.filter(known).sum(),
        season_own=pl.col("loss").filter(known).sum(),
        block_losses=pl.col("loss"), block_rivals=pl.col("rival_loss"),
        block_names=pl.struct("window", "block"),
    )  # fmt: skip
    sums = sums.sort([name for name in by if name != "window"], nulls_last=True)
    is_judged = rows >= LEAST_OUTCOMES
    made = sums.with_columns(
        pinball=pl.col("loss") / rows,
        rival_pinball=pl.col("rival_loss") / rows,
        season_pinball=pl.when(pl.col("season_n") == rows).then(pl.col("season_sum") / rows),
        skill_ratio=pl.when(is_judged & (pl.col("rival_loss") > 0)).then(
            1 - pl.col("loss") / pl.col("rival_loss")
        ),
        season_skill_ratio=pl.when(
            (pl.col("season_n") >= LEAST_OUTCOMES) & (pl.col("season_sum") > 0)
        ).then(1 - pl.col("season_own") / pl.col("season_sum")),
        wmape_ratio=_over(pl.col("absolute_error")),
        rival_wmape_ratio=_over(pl.col("rival_absolute_error")),
        coverage_q90_ratio=pl.col("below_q90") / rows,
        inside_90_ratio=pl.col("inside_90") / rows,
        fallback_ratio=pl.col("fallbacks") / rows,
    )
    ends = [_ends(row) for row in made.iter_rows(named=True)]
    covered = [
        wilson(hits, n) or (None, None) for hits, n in made.select("below_q90", "n").iter_rows()
    ]
    made = with_ends(with_ends(made, "skill", ends), "coverage_q90", covered)
    return made.select(
        *by, "n", "pinball", "rival_pinball", "season_pinball", "skill_ratio", "skill_low",
        "skill_high", "season_skill_ratio", "wmape_ratio", "rival_wmape_ratio",
        "coverage_q90_ratio", "coverage_q90_low", "coverage_q90_high", "inside_90_ratio",
        "fallback_ratio",
        error_low=pl.col("rival_pinball") * (1 - pl.col("skill_high")),
        error_high=pl.col("rival_pinball") * (1 - pl.col("skill_low")),
    )  # fmt: skip


def _over(errors: pl.Expr) -> pl.Expr:
    return pl.when(pl.col("outcome_sum") > 0).then(errors / pl.col("outcome_sum"))


def _ends(row: dict[str, Any]) -> tuple[float | None, float | None]:
    """95 % interval of the skill; horizons of one run of neighbours in time belong together."""
    if row["skill_ratio"] is None:
        return None, None
    ours: dict[tuple[int, int], float] = {}
    theirs: dict[tuple[int, int], float] = {}
    parts = zip(row["block_names"], row["block_losses"], row["block_rivals"], strict=True)
    for place, loss, rival in parts:
        name = (place["window"], place["block"])
        ours[name] = ours.get(name, 0.0) + loss
        theirs[name] = theirs.get(name, 0.0) + rival
    if len(ours) < LEAST_BLOCKS:
        return None, None
    return skill_interval(list(ours.values()), list(theirs.values())) or (None, None)


def _measures(
    found: pl.DataFrame, whole: dict[str, Any], chosen: dict[str, Any]
) -> dict[str, Measure]:
    n, skill = int(whole["n"]), whole["skill_ratio"]
    few = f"{n:,} outcomes are too few: {LEAST_OUTCOMES} are needed"
    ends = (whole["coverage_q90_low"], whole["coverage_q90_high"])
    return {
        "backtests": Measure(float(found.height), ""),
        "outcomes": Measure(float(n), ""),
        "windows": Measure(float(chosen["windows"]), ""),
        "skill_ratio": Measure(
            skill, "ratio", whole["skill_low"], whole["skill_high"], n,
            why=few if skill is None else None,
        ),
        "coverage_q90_ratio": Measure(whole["coverage_q90_ratio"], "ratio", *ends, n),
    }  # fmt: skip


def _sentence(whole: dict[str, Any], chosen: dict[str, Any], horizons: pl.DataFrame) -> str:
    name = whole["predictor"]
    days = " to ".join(
        f"{chosen[end].replace(tzinfo=UTC):%d %b %Y %H:%M}" for end in ("data_from", "data_until")
    )
    where = f"{counted(chosen['windows'], 'window')}, rows of {chosen['source']}, {days}"
    base = f"{whole['n']:,} outcomes in {where}"
    skill = whole["skill_ratio"]
    if skill is None:
        return f"Back-test: {name} has too few outcomes to judge ({base})."
    if whole["fallback_ratio"] == 1:
        return f"Back-test: {name} had too little to learn from: its rival answered ({base})."
    word = verdict(skill, whole["skill_low"], whole["skill_high"])
    if word == "no difference seen":
        said = f"Back-test: no difference of {name} from its naive rival can be told"
    else:
        said = f"Back-test: {name} is {percent_text(abs(skill), 0)} {word} than its naive rival"
    if whole["skill_low"] is not None:
        ends = " to ".join(signed_percent_text(whole[f"skill_{end}"]) for end in ("low", "high"))
        said += f" (95 % interval {ends})"
    if whole["season_skill_ratio"] is not None:
        said += (
            f", {signed_percent_text(whole['season_skill_ratio'])} against the same time yesterday"
        )
    worst = horizons.drop_nulls(["skill_ratio", "horizon_seconds"]).sort("skill_ratio")
    if worst.height > 1:
        low = worst.row(0, named=True)
        said += (
            f"; least at {seconds_text(low['horizon_seconds'])} ahead"
            f" ({signed_percent_text(low['skill_ratio'])})"
        )
    return f"{said}: {base}."
