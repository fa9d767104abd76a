"""What was forecast beside what came true, by horizon."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from analysis import forecasts_judged
from analysis.emptiness import why_empty
from analysis.intervals import skill_interval, wilson, with_ends
from analysis.measure import Empty, Measure, View
from analysis.predictors_view import LEAST_OUTCOMES
from store.errors import InputError
from store.queries import forecasts as queries
from store.queries.predictions import SCORED_LEVELS
from store.queries.scope import LIVE_SOURCE_ID, Scope
from store.reader import Reader
from store.units import percent_text, seconds_text, signed_percent_text

_NEVER = (
    "No demand was forecast yet. The server forecasts it every few minutes once it has seen half "
    "an hour of live requests."
)
_TRACE = "Demand is forecast for the live fleet; a trace has none."
MOST_MISSES = 10
_SHOWN: dict[str, Any] = {
    "quantity": pl.String,
    "key": pl.String,
    "horizon_seconds": pl.Float64,
}


def predictors_forecast(
    reader: Reader, scope: Scope, *, quantity: str = "", key: str = "", horizon: str = ""
) -> View:
    """Forecasts of demand beside the real course.

    Options: `quantity` (requests_per_second or tokens_per_second), `key` ("model / tenant"; the
    one with the most forecasts by default), `horizon` (seconds).

    Measures: forecasts, outcomes, skill_ratio, coverage_90_ratio, fallback_ratio, all of the
    quantity shown. Frames: `shown`, `course` (see `analysis.forecasts_judged`), `ahead` (see
    `store.queries.forecasts.newest`),
    `misses` (rows of `course` that were furthest off, with `error`: outcome less median),
    `horizons` and `keys` (forecasts, outcomes, pinball, rival_pinball, skill_ratio, error_low and
    error_high (pinball where the rival's is held and skill is at its ends), coverage_50_ratio and
    coverage_90_ratio with their intervals, wmape_ratio, rival_wmape_ratio, fallback_ratio).

    Raises:
        InputError: there is no such forecast.
    """
    runs = queries.runs(reader, scope)
    if runs is None:
        _, last_at = queries.ever(reader, scope, queries.DEMAND)
        empty = _why_empty(reader, scope, last_at)
        return View("predictors_forecast", scope, _unknown(), {}, (), empty)
    said = forecasts_judged.with_losses(queries.said(reader, scope, runs.judged_from))
    found, blocks = forecasts_judged.judged(said), forecasts_judged.blocks(said)
    shown = _shown(found, quantity, key, horizon)
    of_quantity = found.filter(pl.col("quantity") == shown["quantity"])
    of_key = of_quantity.filter(pl.col("key") == shown["key"])
    if runs.judged_from > runs.first:
        said = queries.said_of(reader, scope, runs.drawn_from, **shown)
    course = forecasts_judged.course(said, **shown)
    frames = {
        "shown": pl.DataFrame([shown], schema=_SHOWN, orient="row"),
        "course": course,
        "misses": misses(course),
        "ahead": queries.newest(
            reader, scope, shown["quantity"], shown["key"], max(of_key["last_made_at"])
        ),
        "horizons": _added(found, ["quantity", "horizon_seconds"], blocks),
        "keys": _added(found, ["quantity", "key"], blocks).sort(
            "quantity", "outcomes", descending=True
        ),
        "choices": found.select("quantity", "key", "horizon_seconds", "forecasts", "outcomes"),
    }
    whole = _added(of_quantity, ["quantity"], blocks).row(0, named=True)
    sentences = (_sentence(whole, frames["horizons"]),)
    return View("predictors_forecast", scope, _measures(whole), frames, sentences)


def misses(course: pl.DataFrame) -> pl.DataFrame:
    """The forecasts of a course that were furthest from what came, the worst first.

    Args:
        course: as of `analysis.forecasts_judged.course`: one unit, so that errors can be compared.
    """
    known = course.with_columns(error=pl.col("outcome") - pl.col("median")).drop_nulls("error")
    return known.sort(pl.col("error").abs(), "at", descending=[True, False]).head(MOST_MISSES)


def _shown(found: pl.DataFrame, quantity: str, key: str, horizon: str) -> dict[str, Any]:
    rows = found
    for name, wanted in (("quantity", quantity), ("key", key)):
        known = rows[name].unique().sort().to_list()
        if wanted and wanted not in known:
            raise InputError(
                f"no forecast has the {name} '{wanted}'", hint=f"there are: {', '.join(known[:20])}"
            )
        by_count = rows.group_by(name).agg(pl.col("forecasts").sum())
        first = by_count.sort(["forecasts", name], descending=[True, False])[name][0]
        rows = rows.filter(pl.col(name) == (wanted or first))
    return {
        "quantity": rows["quantity"][0],
        "key": rows["key"][0],
        "horizon_seconds": _horizon(rows["horizon_seconds"].sort().to_list(), horizon),
    }


def _horizon(known: Sequence[float], text: str) -> float:
    if not text:
        return known[0]
    try:
        wanted = float(text)
    except ValueError:
        wanted = math.nan
    if wanted not in known:
        words = ", ".join(f"{value:g}" for value in known)
        raise InputError(f"no forecast looks '{text}' seconds ahead", hint=f"there are: {words}")
    return wanted


def _added(found: pl.DataFrame, by: Sequence[str], blocks: pl.DataFrame) -> pl.DataFrame:
    """Losses and counts of `analysis.forecasts_judged.judged`, added up and made into ratios."""
    sums = found.group_by(by, maintain_order=True).agg(
        pl.col(
            "forecasts", "outcomes", "loss", "rival_loss", "inside_50", "inside_90",
            "absolute_error", "rival_absolute_error", "outcome_sum", "fallbacks",
        ).sum(),
        pl.col("last_made_at").max(),
    )  # fmt: skip
    outcomes = pl.when(pl.col("outcomes") > 0).then(pl.col("outcomes"))
    per_row = outcomes * len(SCORED_LEVELS)
    is_known = (pl.col("rival_loss") > 0) & (pl.col("outcomes") >= LEAST_OUTCOMES)
    made = sums.select(
        *by,
        "forecasts",
        "outcomes",
        pinball=pl.col("loss") / per_row,
        rival_pinball=pl.col("rival_loss") / per_row,
        skill_ratio=pl.when(is_known).then(1 - pl.col("loss") / pl.col("rival_loss")),
        coverage_50_ratio=pl.col("inside_50") / outcomes,
        coverage_90_ratio=pl.col("inside_90") / outcomes,
        wmape_ratio=_over_outcomes("absolute_error"),
        rival_wmape_ratio=_over_outcomes("rival_absolute_error"),
        fallback_ratio=pl.col("fallbacks") / pl.col("forecasts"),
        last_made_at="last_made_at",
    )
    made = with_ends(made, "skill", _skill_ends(made, by, blocks))
    for level in ("50", "90"):
        counts = zip(sums[f"inside_{level}"], sums["outcomes"], strict=True)
        ends = [wilson(inside, n) or (None, None) for inside, n in counts]
        made = with_ends(made, f"coverage_{level}", ends)
    rival = pl.col("rival_pinball")
    return made.with_columns(
        error_low=rival * (1 - pl.col("skill_high")), error_high=rival * (1 - pl.col("skill_low"))
    )


def _over_outcomes(errors: str) -> pl.Expr:
    total = pl.col("outcome_sum")
    return pl.when(total > 0).then(pl.col(errors) / total)


def _skill_ends(
    made: pl.DataFrame, by: Sequence[str], blocks: pl.DataFrame
) -> list[tuple[float | None, float | None]]:
    """95 % interval of each row's skill, from blocks of neighbours in time."""
    sums = blocks.group_by(*by, "block").agg(pl.col("loss", "rival_loss").sum()).sort("block")
    parts = sums.partition_by(by, as_dict=True)
    ends: list[tuple[float | None, float | None]] = []
    for row in made.iter_rows(named=True):
        own = parts.get(tuple(row[name] for name in by))
        if own is None or row["skill_ratio"] is None:
            ends.append((None, None))
            continue
        found = skill_interval(own["loss"].to_list(), own["rival_loss"].to_list())
        ends.append(found or (None, None))
    return ends


def _unknown() -> dict[str, Measure]:
    why = "no demand was forecast in this range"
    return {
        "forecasts": Measure(0.0, ""),
        "outcomes": Measure(0.0, ""),
        "skill_ratio": Measure(None, "ratio", why=why),
        "coverage_90_ratio": Measure(None, "ratio", why=why),
        "fallback_ratio": Measure(None, "ratio", why=why),
    }


def _measures(whole: dict[str, Any]) -> dict[str, Measure]:
    outcomes = int(whole["outcomes"])
    few = f"{outcomes:,} outcomes are too few: {LEAST_OUTCOMES} are needed"
    skill = whole["skill_ratio"]
    ends = (whole["coverage_90_low"], whole["coverage_90_high"])
    return {
        "forecasts": Measure(float(whole["forecasts"]), ""),
        "outcomes": Measure(float(outcomes), ""),
        "skill_ratio": Measure(
            skill, "ratio", whole["skill_low"], whole["skill_high"], outcomes,
            why=few if skill is None else None,
        ),
        "coverage_90_ratio": Measure(
            whole["coverage_90_ratio"], "ratio", *ends, outcomes,
            why=None if outcomes else "no window that was forecast is over yet",
        ),
        "fallback_ratio": Measure(whole["fallback_ratio"], "ratio", n=int(whole["forecasts"])),
    }  # fmt: skip


def _sentence(whole: dict[str, Any], horizons: pl.DataFrame) -> str:
    name = {"requests_per_second": "Requests", "tokens_per_second": "Tokens"}[whole["quantity"]]
    if whole["skill_ratio"] is None:
        return (
            f"{name}: {whole['outcomes']:,} forecasts have an outcome, too few to judge "
            f"({LEAST_OUTCOMES} are needed)."
        )
    if whole["fallback_ratio"] == 1:
        return (
            f"{name} are forecast by their last value: no trained model answers yet"
            f" ({whole['outcomes']:,} outcomes)."
        )
    side = "better" if whole["skill_ratio"] > 0 else "worse"
    percent = percent_text(abs(whole["skill_ratio"]), 0)
    said = f"{name} are forecast {percent} {side} than by the naive rival"
    known = horizons.filter(
        (pl.col("quantity") == whole["quantity"]) & pl.col("skill_ratio").is_not_null()
    )
    if known.height > 1:
        ends = known.sort("skill_ratio")
        worst, best = (
            f"{signed_percent_text(row['skill_ratio'])} at {seconds_text(row['horizon_seconds'])}"
            for row in (ends.row(0, named=True), ends.row(-1, named=True))
        )
        said += f", from {worst} to {best} ahead"
    return f"{said} ({whole['outcomes']:,} outcomes, pinball loss)."


def _why_empty(reader: Reader, scope: Scope, last_at: datetime | None) -> Empty:
    if LIVE_SOURCE_ID not in scope.source_ids:
        return Empty("metric_absent", _TRACE)
    if last_at is not None:
        last = last_at.replace(tzinfo=UTC)
        if scope.start <= last < scope.end:
            return Empty("no_traffic", "No demand with these labels was forecast here.", last)
        text = f"The last forecast was made at {last:%d %b %Y %H:%M} UTC."
        return Empty("outside_range", text, last)
    empty = why_empty(reader, scope)
    if empty is not None and empty.kind == "nothing_connected":
        return empty
    return Empty("metric_absent", _NEVER)
