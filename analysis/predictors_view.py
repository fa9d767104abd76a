"""Can the predictions be trusted? Skill beside the naive rival, calibration, drift, misses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Any

import polars as pl

from analysis.intervals import wilson
from analysis.measure import Empty, Measure, View
from store import models
from store.queries import predictions as queries
from store.queries.scope import Scope
from store.reader import Reader

# With fewer outcomes no skill is stated: an accident of ten requests is no skill.
LEAST_OUTCOMES = 30
WORDS = {
    "output_tokens": "response length",
    "ttft_seconds": "time to first token",
    "tpot_seconds": "time per output token",
    "e2e_seconds": "end-to-end time",
}
_NEVER = (
    "Nothing was predicted for these requests yet. The server predicts finished live requests on "
    "its own; a gateway asks POST /api/v1/predictions/NAME."
)


def predictors(reader: Reader, scope: Scope) -> View:
    """What was predicted, and what came true.

    Measures: predictions, outcomes, fallback_ratio. Frames: `quantities` (one row a quantity, with
    skill_ratio = 1 - loss / loss of the rival), `calibration`, `over_time`, `keys`, `misses`,
    `pairs`, `drift`, `models`, `scores`; columns as in `store.queries.predictions`.
    """
    found = _with_skill(queries.summary(reader, scope))
    frames = {
        "quantities": found,
        "calibration": _with_wilson(queries.calibration(reader, scope)),
        "over_time": _with_skill(queries.over_time(reader, scope, scope.bin_seconds(60))),
        "keys": _with_skill(queries.by_key(reader, scope)),
        "misses": queries.misses(reader, scope),
        "pairs": queries.pairs(reader, scope),
        "drift": queries.drift(reader, scope),
        "models": models.listed(reader),
        "scores": queries.scores(reader),
    }
    empty = _why_empty(reader, scope) if found.is_empty() else None
    return View("predictors", scope, _measures(found), frames, _sentences(found), empty)


def _with_skill(frame: pl.DataFrame) -> pl.DataFrame:
    is_known = (pl.col("rival_pinball") > 0) & (pl.col("outcomes") >= LEAST_OUTCOMES)
    skill = 1 - pl.col("pinball") / pl.col("rival_pinball")
    return frame.with_columns(skill_ratio=pl.when(is_known).then(skill))


def _with_wilson(frame: pl.DataFrame) -> pl.DataFrame:
    rows = zip(frame["coverage_ratio"], frame["outcomes"], strict=True)
    ends = [wilson(round(ratio * n), n) or (None, None) for ratio, n in rows]
    return frame.with_columns(
        coverage_low=pl.Series([low for low, _ in ends], dtype=pl.Float64),
        coverage_high=pl.Series([high for _, high in ends], dtype=pl.Float64),
    )


def _measures(found: pl.DataFrame) -> dict[str, Measure]:
    total = int(found["predictions"].sum())
    if not total:
        unknown = "nothing was predicted in this range"
        return {
            "predictions": Measure(0.0, "requests"),
            "outcomes": Measure(0.0, "requests"),
            "fallback_ratio": Measure(None, "ratio", why=unknown),
        }
    fallback = float((found["fallback_ratio"] * found["predictions"]).sum()) / total
    return {
        "predictions": Measure(float(total), "requests"),
        "outcomes": Measure(float(found["outcomes"].sum()), "requests"),
        "fallback_ratio": Measure(fallback, "ratio", n=total),
    }


def _sentences(found: pl.DataFrame) -> tuple[str, ...]:
    rows: Sequence[dict[str, Any]] = found.to_dicts()
    return tuple(_sentence(row) for row in sorted(rows, key=lambda row: row["skill_ratio"] or 0))


def _sentence(row: dict[str, Any]) -> str:
    name = WORDS.get(row["quantity"], row["quantity"])
    if row["skill_ratio"] is None:
        return (
            f"{name.capitalize()}: {row['outcomes']:,} outcomes are too few to judge"
            f" ({LEAST_OUTCOMES} are needed)."
        )
    percent = abs(row["skill_ratio"]) * 100
    if row["skill_ratio"] <= 0:
        verdict = f"{percent:.0f} % worse than its naive rival, which answers where it loses"
    else:
        verdict = f"{percent:.0f} % better than its naive rival"
    return f"{name.capitalize()} is {verdict} ({row['outcomes']:,} outcomes, pinball loss)."


def _why_empty(reader: Reader, scope: Scope) -> Empty:
    rows, last_at = queries.ever(reader, scope)
    if rows and last_at is not None:
        last = last_at.replace(tzinfo=UTC)
        return Empty("outside_range", f"The last prediction is of {last:%d %b %Y %H:%M} UTC.", last)
    return Empty("metric_absent", _NEVER)
