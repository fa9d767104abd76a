"""Can the predictions be trusted? Skill beside the naive rival, calibration, drift, misses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Any

import polars as pl

from analysis.emptiness import why_empty
from analysis.intervals import skill_interval, wilson
from analysis.measure import Empty, Measure, View
from analysis.predictions_judged import Judged
from analysis.predictors_frames import nothing
from store.queries import predictions as queries
from store.queries.scope import LIVE_SOURCE_ID, Scope
from store.reader import Reader
from store.units import percent_text, signed_percent_text

# With fewer outcomes no skill is stated: an accident of ten requests is no skill.
LEAST_OUTCOMES = 30
# Coverage of the 0.9 quantile this close to 0.9 counts as calibrated.
COVERAGE_MARGIN = 0.02
WORDS = {
    "output_tokens": "response length",
    "ttft_seconds": "time to first token",
    "tpot_seconds": "time per output token",
    "e2e_seconds": "end-to-end time",
}
_OF_SAID = ("quantities", "calibration", "over_time", "keys", "misses", "pairs")
_NEVER = (
    "Nothing was predicted for these requests yet. The server predicts finished live requests on "
    "its own; a gateway asks POST /api/v1/predictions/NAME."
)
_LEFT_OUT = "beyond predict.most_requests_per_second: learnt from, not predicted; of all labels"
_TRACE = (
    "Nothing was predicted for the requests of this trace: live requests are predicted, and those "
    "of a gateway that asks. How models do on recorded data: servescope backtest."
)


def predictors(reader: Reader, scope: Scope) -> View:
    """What was predicted, and what came true.

    Measures: predictions, outcomes, left_out (live requests of any label that were learnt from and
    not predicted, to bound the work), fallback_ratio, calibrated_ratio, before_ratio, drift_events.
    Frames: `quantities` (one row a quantity, with skill_ratio = 1 - loss / loss of the rival, its
    interval, coverage of the 0.9 quantile with its interval, and a verdict), `calibration`,
    `over_time`, `keys`, `misses`, `pairs`, `drift`; columns as in `analysis.predictions_judged`.
    """
    one_in = queries.one_in(reader, scope)
    frames = _judged_frames(reader, scope, one_in) if one_in else nothing()
    found = frames["quantities"]
    frames |= {"drift": queries.drift(reader, scope)}
    empty = _why_empty(reader, scope) if found.is_empty() else None
    measures = _measures(found, frames["drift"].height, one_in)
    if LIVE_SOURCE_ID in scope.source_ids:
        measures["left_out"] = Measure(float(queries.left_out(reader, scope)), "", why=_LEFT_OUT)
    said = queries.said_sql(scope, max(one_in, 1))
    sql = {name: said for name in frames if name in _OF_SAID} | {"drift": queries.DRIFT}
    return View("predictors", scope, measures, frames, _sentences(found), empty, sql)


def _judged_frames(reader: Reader, scope: Scope, one_in: int) -> dict[str, pl.DataFrame]:
    found = Judged(queries.said(reader, scope, one_in))
    calibration = _with_wilson(found.calibration)
    return {
        "quantities": _judged(found.summary(), found.blocks("quantity"), calibration),
        "calibration": calibration,
        "over_time": _with_skill(found.over_time(scope.bin_seconds(60))),
        "keys": _with_ends(_with_skill(found.keys()), found.blocks("quantity", "key")),
        "misses": found.misses(),
        "pairs": found.pairs(),
    }


def _with_skill(frame: pl.DataFrame) -> pl.DataFrame:
    is_known = (pl.col("rival_pinball") > 0) & (pl.col("outcomes") >= LEAST_OUTCOMES)
    skill = 1 - pl.col("pinball") / pl.col("rival_pinball")
    return frame.with_columns(skill_ratio=pl.when(is_known).then(skill))


def _with_ends(keys: pl.DataFrame, blocks: pl.DataFrame) -> pl.DataFrame:
    """Keys with the 95 % intervals of their skill and of their coverage."""
    parts = blocks.partition_by("quantity", "key", as_dict=True)
    skills: list[tuple[float | None, float | None]] = []
    covered: list[tuple[float | None, float | None]] = []
    for row in keys.iter_rows(named=True):
        own = parts.get((row["quantity"], row["key"]))
        found = None if row["skill_ratio"] is None or own is None else _interval(own)
        skills.append(found or (None, None))
        ratio, n = row["coverage_q90_ratio"], row["outcomes"]
        covered.append((wilson(round(ratio * n), n) if ratio is not None else None) or (None, None))
    return keys.with_columns(
        pl.Series(f"{name}_{end}", [pair[place] for pair in ends], dtype=pl.Float64)
        for name, ends in (("skill", skills), ("coverage_q90", covered))
        for place, end in enumerate(("low", "high"))
    )


def _judged(summary: pl.DataFrame, blocks: pl.DataFrame, calibration: pl.DataFrame) -> pl.DataFrame:
    """The summary with skill, its interval, the coverage of the 0.9 quantile and a verdict."""
    at_nine = calibration.filter(pl.col("level") == 0.9).select(
        "quantity", coverage_q90_ratio="coverage_ratio", coverage_q90_low="coverage_low",
        coverage_q90_high="coverage_high",
    )  # fmt: skip
    found = _with_skill(summary).join(at_nine, on="quantity", how="left", maintain_order="left")
    ends = [
        _interval(blocks.filter(pl.col("quantity") == quantity)) if skill is not None else None
        for quantity, skill in found.select("quantity", "skill_ratio").iter_rows()
    ]
    low, high = ([end[place] if end else None for end in ends] for place in (0, 1))
    rows = zip(found["skill_ratio"], ends, found["fallback_ratio"], strict=True)
    words = [
        "history answers" if fallback == 1 else verdict(skill, *(end or (None, None)))
        for skill, end, fallback in rows
    ]
    return found.with_columns(
        skill_low=pl.Series(low, dtype=pl.Float64),
        skill_high=pl.Series(high, dtype=pl.Float64),
        verdict=pl.Series(words, dtype=pl.String),
    )


def _interval(blocks: pl.DataFrame) -> tuple[float, float] | None:
    return skill_interval(blocks["loss"].to_list(), blocks["rival_loss"].to_list())


def verdict(skill: float | None, low: float | None, high: float | None) -> str:
    """In words: what cannot be told from no difference is not called better.

    Args:
        skill: None when there are too few outcomes.
        low: of its interval.
        high: of its interval.
    """
    if skill is None:
        return "too few outcomes"
    if low is None or high is None or low <= 0 <= high:
        return "no difference seen"
    return "better" if skill > 0 else "worse"


def _with_wilson(frame: pl.DataFrame) -> pl.DataFrame:
    rows = zip(frame["coverage_ratio"], frame["outcomes"], strict=True)
    ends = [wilson(round(ratio * n), n) or (None, None) for ratio, n in rows]
    return frame.with_columns(
        coverage_low=pl.Series([low for low, _ in ends], dtype=pl.Float64),
        coverage_high=pl.Series([high for _, high in ends], dtype=pl.Float64),
    )


def _measures(found: pl.DataFrame, drifts: int, one_in: int) -> dict[str, Measure]:
    total = int(found["predictions"].sum())
    made = {
        "predictions": Measure(float(total * one_in), "", why=_cut(one_in)),
        "outcomes": Measure(float(found["outcomes"].sum()), ""),
        "drift_events": Measure(float(drifts), ""),
    }
    for name in ("fallback_ratio", "calibrated_ratio", "before_ratio"):
        if total:
            share = float((found[name] * found["predictions"]).sum()) / total
            made[name] = Measure(share, "ratio", n=total)
        else:
            made[name] = Measure(None, "ratio", why="nothing was predicted in this range")
    return made


def _cut(one_in: int) -> str | None:
    return f"about; one request in {one_in} is judged" if one_in > 1 else None


def _sentences(found: pl.DataFrame) -> tuple[str, ...]:
    """What loses first, then what is not calibrated, then the rest."""
    rows: Sequence[dict[str, Any]] = found.to_dicts()
    ordered = sorted(rows, key=lambda row: row["skill_ratio"] or 0)
    off = [_off_words(row) for row in ordered if _is_off(row)]
    told = [_sentence(row) for row in ordered]
    losing = sum(row["verdict"] == "worse" for row in ordered)
    return (*told[:losing], *off, *told[losing:])


def _sentence(row: dict[str, Any]) -> str:
    name = WORDS.get(row["quantity"], row["quantity"]).capitalize()
    if row["skill_ratio"] is None:
        return (
            f"{name}: {row['outcomes']:,} outcomes are too few to judge"
            f" ({LEAST_OUTCOMES} are needed)."
        )
    if row["fallback_ratio"] == 1:
        return (
            f"{name} is answered by the history of its key: no trained model answers yet"
            f" ({row['outcomes']:,} outcomes)."
        )
    percent = percent_text(abs(row["skill_ratio"]), 0)
    behind = f"({row['outcomes']:,} outcomes, pinball loss"
    if row["skill_low"] is not None:
        ends = " to ".join(signed_percent_text(row[name]) for name in ("skill_low", "skill_high"))
        behind += f", 95 % interval {ends}"
    if row["verdict"] == "no difference seen":
        return f"{name}: no difference from its naive rival can be seen {behind})."
    if row["verdict"] == "worse":
        words = f"{percent} worse than its naive rival, which answers where it loses"
    else:
        words = f"{percent} better than its naive rival"
    return f"{name} is {words} {behind})."


def _is_off(row: dict[str, Any]) -> bool:
    ratio = row["coverage_q90_ratio"]
    if ratio is None or row["outcomes"] < LEAST_OUTCOMES:
        return False
    low, high = wilson(round(ratio * row["outcomes"]), row["outcomes"]) or (0.0, 1.0)
    # Sure to lie outside the margin, not only by the chance of a few rows.
    return low > 0.9 + COVERAGE_MARGIN or high < 0.9 - COVERAGE_MARGIN


def _off_words(row: dict[str, Any]) -> str:
    name = WORDS.get(row["quantity"], row["quantity"]).capitalize()
    side = "too narrow" if row["coverage_q90_ratio"] < 0.9 else "too wide"
    return (
        f"{name}: {percent_text(row['coverage_q90_ratio'], 0)} of the outcomes lie below the 0.9 "
        f"quantile, so its intervals are {side}."
    )


def _why_empty(reader: Reader, scope: Scope) -> Empty:
    told = queries.ever(reader, scope)
    last = told.last_at.replace(tzinfo=UTC) if told.last_at else None
    if told.is_in_range:
        return Empty("no_traffic", "No request with these labels was predicted here.", last)
    empty = why_empty(reader, scope)
    if empty is not None and (empty.kind != "outside_range" or last is None):
        return empty
    if last is not None:
        return Empty("outside_range", f"The last prediction is of {last:%d %b %Y %H:%M} UTC.", last)
    return Empty("metric_absent", _NEVER if LIVE_SOURCE_ID in scope.source_ids else _TRACE)
