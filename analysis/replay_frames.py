"""What replays came to: medians and ranges over seeds, regret, and which rows are beaten by none.

One number of one seed is never shown: a row is told by its median and its range, and not at all
before two seeds are done. Regret compares the same seed with the same seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

import polars as pl

from analysis import replay_parts

NUMBERS = (
    "attainment_ratio", "gpu_hours", "cost", "ttft_p50_seconds", "ttft_p95_seconds",
    "ttft_p99_seconds", "tpot_p50_seconds", "tpot_p95_seconds", "tpot_p99_seconds",
    "refused_ratio", "worst_minute_ratio", "scale_events", "most_replicas",
)  # fmt: skip
REGRETS = ("regret_static_ratio", "regret_clairvoyant_ratio")
COST_REGRETS = ("regret_static_cost_ratio", "regret_clairvoyant_cost_ratio")
OUTCOME_SCHEMA: Mapping[str, Any] = {
    "case": pl.String,
    "startup_seconds": pl.Float64,
    "policy": pl.String,
    "title": pl.String,
    "row": pl.String,
    "parameters": pl.String,
    "seed": pl.Int64,
    "state": pl.String,
    "reason": pl.String,
    "requests": pl.Int64,
    **dict.fromkeys(NUMBERS, pl.Float64),
    "advice": pl.List(pl.String),
    "run_seconds": pl.Float64,
    "clips": pl.String,
    "pool_gpu_hours": pl.String,
    "forecasts": pl.String,
}
LANE_SCHEMA: Mapping[str, Any] = {
    "case": pl.String,
    "startup_seconds": pl.Float64,
    "policy": pl.String,
    "row": pl.String,
    "seed": pl.Int64,
    "at_seconds": pl.Float64,
    "pool": pl.Int64,
    "target": pl.Int64,
    "ready": pl.Int64,
    "starting": pl.Int64,
    "draining": pl.Int64,
}
ROW_KEY = ("case", "startup_seconds", "policy", "row", "parameters")
_OBSERVED = ("attainment_ratio", "ttft_p50_seconds", "ttft_p95_seconds", "ttft_p99_seconds",
             "tpot_p50_seconds", "tpot_p95_seconds", "tpot_p99_seconds")  # fmt: skip
_SAME = ("case", "startup_seconds", "seed")
# What was measured of the replayed window, and the same fleet simulated: no policy.
WINDOW_ROWS = ("recorded", "resimulated")
# Order of the rows of a table; curves have a picture of their own.
ROWS = ("clairvoyant", "static-peak", "default", "tuned", "hindsight", "curve")
LEAST_SEEDS = 2
NO_DIFFERENCE = pl.DataFrame(
    schema={
        "at_seconds": pl.Float64,
        "a_target": pl.Int64,
        "b_target": pl.Int64,
        "difference": pl.Int64,
    }
)


def outcomes(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """One row a replay, in `OUTCOME_SCHEMA`; what a row lacks is null."""
    made = [{name: row.get(name) for name in OUTCOME_SCHEMA} for row in rows]
    return pl.DataFrame(made, schema=dict(OUTCOME_SCHEMA))


def lanes(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Courses of replicas, in `LANE_SCHEMA`."""
    names = ("case", "startup_seconds", "policy", "row", "seed")
    made = [
        (*(row[name] for name in names), *lane)
        for row in rows
        for lane in row.get("lanes") or ()
        if row["row"] != "curve"
    ]
    return pl.DataFrame(made, schema=dict(LANE_SCHEMA), orient="row")


def summary(frame: pl.DataFrame, goal: float, *, by_cost: bool = False) -> pl.DataFrame:
    """One row a policy and way: medians, `_low` and `_high` over seeds, regret, the goal.

    Args:
        frame: of `outcomes`.
        goal: attainment.
        by_cost: whether money is compared, not GPU-hours: cards of several types.

    Returns:
        The columns of `ROW_KEY`, title, seeds (done), failed, reason, is_met (null: unknown), of
        each number its median, low and high, the same of the regrets in GPU-hours and in cost,
        is_on_front, advice; as JSON with medians over seeds `clips` (decisions that guards held or
        clipped, by pool and guard), `pool_gpu_hours` and `forecasts` (see `replay_parts`).
    """
    ways = frame.filter(pl.col("row").is_in(WINDOW_ROWS).not_())
    made = _with_regrets(ways).group_by(ROW_KEY, maintain_order=True).agg(
        pl.col("title").first(),
        seeds=(pl.col("state") == "done").sum(),
        failed=(pl.col("state") == "failed").sum(),
        reason=pl.col("reason").drop_nulls().first(),
        requests=pl.col("requests").max(),
        advice=pl.col("advice").explode().drop_nulls().unique(maintain_order=True),
        **{name: pl.col(name).drop_nulls() for name in replay_parts.NAMES},
        **_spread(),
    )  # fmt: skip
    is_enough = (pl.col("seeds") >= LEAST_SEEDS) & (pl.col("failed") == 0)
    numbers = [name for name in made.columns if name.removesuffix("_low").removesuffix("_high")
               in {*NUMBERS, *REGRETS, *COST_REGRETS}]  # fmt: skip
    hidden = made.with_columns(pl.when(is_enough).then(pl.col(name)) for name in numbers)
    met = replay_parts.medians(hidden.with_columns(is_met=pl.col("attainment_ratio") >= goal))
    order = pl.col("row").replace_strict({name: n for n, name in enumerate(ROWS)}, default=9)
    return _with_front(met, "cost" if by_cost else "gpu_hours").sort(
        "case", "startup_seconds", pl.col("row").is_in(ROWS[:2]), "policy", order,
        maintain_order=True,
    )  # fmt: skip


def _spread() -> dict[str, pl.Expr]:
    made: dict[str, pl.Expr] = {}
    for name in (*NUMBERS, *REGRETS, *COST_REGRETS):
        made[name] = pl.col(name).median()
        made[f"{name}_low"] = pl.col(name).min()
        made[f"{name}_high"] = pl.col(name).max()
    return made


def _with_regrets(frame: pl.DataFrame) -> pl.DataFrame:
    """GPU-hours and cost beyond the fixed fleet's and the clairvoyant's, as shares of them."""
    found = frame
    names = (*product(("gpu_hours", "cost"), ("static-peak", "clairvoyant")),)
    for name, (number, row) in zip((*REGRETS, *COST_REGRETS), names, strict=True):
        base = (
            frame.filter((pl.col("row") == row) & (pl.col("state") == "done"))
            .select(*_SAME, _base=number)
            .unique(subset=list(_SAME), keep="first", maintain_order=True)
        )
        regret = pl.when(pl.col("_base") > 0).then(pl.col(number) / pl.col("_base") - 1)
        joined = found.join(base, on=list(_SAME), how="left", maintain_order="left")
        found = joined.with_columns(regret.alias(name)).drop("_base")
    return found


def _with_front(frame: pl.DataFrame, number: str) -> pl.DataFrame:
    """Which rows no other beats in cost and attainment; what knows the future stands aside."""
    judged = frame.with_row_index("_n").filter(
        pl.col(number).is_not_null() & (pl.col("row") != "clairvoyant")
    )
    best = (
        judged.sort(number, pl.col("attainment_ratio") * -1, maintain_order=True)
        .with_columns(
            _before=pl.col("attainment_ratio").cum_max().shift(1).over("case", "startup_seconds")
        )
        .filter(pl.col("_before").is_null() | (pl.col("attainment_ratio") > pl.col("_before")))
    )
    return frame.with_columns(is_on_front=pl.int_range(pl.len()).is_in(best["_n"].to_list()))


def window(frame: pl.DataFrame) -> pl.DataFrame:
    """The replayed window as measured and as simulated: quantity, observed, simulated, error_ratio.

    Empty where its rows carry no latencies, or do not say who served whom.
    """
    sides = {row["row"]: row for row in frame.iter_rows(named=True) if row["row"] in WINDOW_ROWS}
    schema = {"quantity": pl.String, "observed": pl.Float64, "simulated": pl.Float64}
    rows = [
        (name, *(sides[row][name] for row in WINDOW_ROWS))
        for name in _OBSERVED
        if set(sides) == set(WINDOW_ROWS)
        and sides["recorded"]["state"] == "done"
        and any(sides[row][name] is not None for row in WINDOW_ROWS)
    ]
    made = pl.DataFrame(rows, schema=schema, orient="row")
    real = pl.col("observed")
    return made.with_columns(error_ratio=pl.when(real > 0).then(pl.col("simulated") / real - 1))


def verdict(found: pl.DataFrame, goal: float, *, by_cost: bool = False) -> list[str]:
    """Sentences: of each case and start-up time, who keeps the goal at the least, and advice.

    Args:
        found: of `summary`.
        goal: attainment.
        by_cost: whether money is compared.
    """
    said: list[str] = []
    for (case, startup), part in found.group_by("case", "startup_seconds", maintain_order=True):
        said += _verdict(f"{case}, start-up {startup:g} s", part, goal, by_cost=by_cost)
    return said


def _verdict(where: str, part: pl.DataFrame, goal: float, *, by_cost: bool) -> list[str]:
    number, unit = ("cost", "in cost") if by_cost else ("gpu_hours", "GPU-hours")
    regret = COST_REGRETS[0] if by_cost else REGRETS[0]
    ways = part.filter(pl.col("row").is_in(["default", "tuned"]))
    kept = ways.filter("is_met").sort(number, "policy")
    said = []
    if kept.is_empty() and not ways.is_empty():
        said.append(f"{where}: no policy keeps {goal:.2%} here.")
    elif not kept.is_empty():
        best = kept.row(0, named=True)
        said.append(
            f"{where}: {best['title']} ({best['row']}) keeps {goal:.2%} at the least,"
            f" {best[number]:.1f} {unit}{_against(best[regret])}."
        )
    advice = dict.fromkeys(text for texts in ways["advice"].to_list() for text in texts)
    return said + [f"{where}: {text}." for text in list(advice)[:2]]


def _against(regret: float | None) -> str:
    if regret is None:
        return ""
    return f", {abs(regret):.0%} {'more' if regret > 0 else 'less'} than a fixed fleet for the peak"


def totals(lanes: pl.DataFrame) -> pl.DataFrame:
    """Replicas of all pools together: at_seconds, target, ready.

    A pool that changes nothing has no row: what it had last goes on.

    Args:
        lanes: of one row of a comparison.
    """
    names = ("target", "ready")
    if lanes.is_empty() or lanes["pool"].n_unique() == 1:
        return lanes.select("at_seconds", *names).sort("at_seconds")
    times = lanes.select("at_seconds").unique().sort("at_seconds")
    parts = [
        times.join_asof(part.sort("at_seconds").select("at_seconds", *names), on="at_seconds")
        for part in lanes.partition_by("pool", maintain_order=True)
    ]
    summed = [pl.sum_horizontal(part[name].fill_null(0) for part in parts) for name in names]
    return times.with_columns(
        expression.alias(name) for name, expression in zip(names, summed, strict=True)
    )


def differences(a: pl.DataFrame, b: pl.DataFrame) -> pl.DataFrame:
    """When two courses asked for other numbers: at_seconds, a_target, b_target, difference.

    Args:
        a: lanes of one row.
        b: lanes of another.
    """
    sides = [
        totals(lanes).select("at_seconds", pl.col("target").alias(name))
        for lanes, name in ((a, "a_target"), (b, "b_target"))
    ]
    both = pl.concat([side.select("at_seconds") for side in sides]).unique().sort("at_seconds")
    for side in sides:
        both = both.join_asof(side, on="at_seconds", strategy="backward")
    gap = both.with_columns(difference=pl.col("b_target") - pl.col("a_target")).drop_nulls()
    is_news = pl.col("difference") != pl.col("difference").shift(1)
    return gap.filter(is_news.fill_null(value=True))
