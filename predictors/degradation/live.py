"""Rows from a running fleet: samples of engines, cards and hosts, and what they did to the pace.

The pace of an instance is the tokens it writes a second for each request that it decodes. P of a
minute is its pace ÷ the best pace that the same instance showed at about as many requests. That is
no isolated run: where an instance never had the machine to itself, its best is already shared.

The engine's output is the answer, so it is no input: what is sampled is load, queue, cache, cards,
and what the host does (`host_signals`). A signal that an instance's host
does not tell is absent from its rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from analysis.host_signals import ANSWERS, machine, samples
from predictors.base import AT, OUTCOME
from predictors.degradation.model import Degradation
from predictors.degradation.windows import METRICS, STEP, WINDOW, pack
from predictors.distribution import Floats
from store.queries import telemetry
from store.queries.scope import Scope
from store.reader import Reader

STEP_SECONDS, STEPS = 10.0, 6
EVERY_STEPS = 3
AHEAD_STEPS = 3
# Scopes are read from their end back to here: more bins would not fit into a query's time.
MOST_SECONDS = 6 * 3600.0
LEAST_IN_LOAD = 5
BEST_SHARE = 0.9


def rows(reader: Reader, scope: Scope) -> pl.DataFrame:
    """Windows of a minute with the P of the same minute, to learn from; every 30 s of a scope.

    Args:
        reader: the store.
        scope: its last six hours are read.

    Returns:
        the columns of the spec, `instance`, `at` and `outcome` (null where nothing ran).
    """
    return _windows(reader, scope.start, scope.end, ahead=0)


def rows_ahead(reader: Reader, scope: Scope) -> pl.DataFrame:
    """The same with the P of the 30 s after each window."""
    return _windows(reader, scope.start, scope.end, ahead=AHEAD_STEPS)


def questions(reader: Reader, now: datetime) -> pl.DataFrame:
    """The last minute of every instance that told something, without outcomes.

    Args:
        reader: the store.
        now: aware UTC.
    """
    start = now - timedelta(seconds=STEP_SECONDS * STEPS)
    found = _windows(reader, start, now, ahead=0)
    return found.group_by("instance", maintain_order=True).last().drop(OUTCOME)


def _windows(reader: Reader, start: datetime, end: datetime, ahead: int) -> pl.DataFrame:
    start = max(start, end - timedelta(seconds=MOST_SECONDS))
    watched = telemetry.targets(reader, end)
    told = samples(reader, start, end, STEP_SECONDS)
    bins = int((end - start).total_seconds() // STEP_SECONDS)
    parts = [_nothing()]
    for target in watched.iter_rows(named=True):
        own = told.filter(pl.col("target_id") == target["target_id"])
        if own.filter(pl.col("name") == "self.requests_running").is_empty():
            continue
        near = [
            t
            for t, url in watched.select("target_id", "url").iter_rows()
            if machine(url) == machine(target["url"])
        ]
        beside = told.filter(
            pl.col("target_id").is_in(near) & pl.col("name").str.starts_with("host.")
        )
        own = own.filter(~pl.col("name").str.starts_with("host."))
        table = _table(pl.concat([own, beside]), bins)
        parts.append(_of_one(target, table, end, bins, ahead))
    return pl.concat(parts)


def _table(told: pl.DataFrame, bins: int) -> Mapping[str, Floats]:
    """(b,) values of each name, oldest bin first; NaN where nothing was told."""
    made: dict[str, Floats] = {}
    for (name,), part in told.group_by("name"):
        values = np.full(bins, np.nan)
        mean = part.group_by("bin").agg(pl.col("value").mean()).filter(pl.col("bin") < bins)
        values[bins - 1 - mean["bin"].to_numpy()] = mean["value"].to_numpy()
        made[str(name)] = values
    return made


def _of_one(
    target: Mapping[str, object], table: Mapping[str, Floats], end: datetime, bins: int, ahead: int
) -> pl.DataFrame:
    names = sorted(name for name in table if name not in ANSWERS)
    values = np.column_stack([table[name] for name in names])
    ratio = _p(table)
    ends = range(bins - ahead, min(STEPS, bins) - 1, -EVERY_STEPS)
    outcomes = [_mean(ratio[i : i + ahead] if ahead else ratio[i - STEPS : i]) for i in ends]
    last = end.replace(tzinfo=None)
    times = [last - timedelta(seconds=STEP_SECONDS * (bins - i)) for i in ends]
    packed = pack(names, [values[max(i - STEPS, 0) : i] for i in ends], STEP_SECONDS)
    return (
        packed.with_columns(
            pl.lit(target["model"], pl.String).alias("application"),
            pl.lit(str(target["url"]), pl.String).alias("instance"),
            pl.Series(AT, times, pl.Datetime("us")),
            pl.Series(OUTCOME, outcomes, pl.Float64),
        )
        .select(_nothing().columns)
        .reverse()
    )


def _p(table: Mapping[str, Floats]) -> Floats:
    """(b,) pace ÷ the best pace at about as many running requests; NaN where nothing ran.

    Where the engine adds up the time that its requests decoded, that is the divisor: samples of a
    gauge hardly ever meet the short requests of an engine with little to do.
    """
    running = table["self.requests_running"]
    unknown = np.full(len(running), np.nan)
    written, decoding = (table.get(name, unknown) for name in ANSWERS)
    sampled = np.where(running >= 1, running, np.nan)
    spent = np.where(np.isfinite(decoding), decoding, sampled)
    busy = (spent > 0) & (written > 0)
    pace = np.where(busy, written / np.where(busy, spent, 1.0), np.nan)
    level = np.floor(np.log2(np.maximum(np.where(busy, spent, 1.0), 1.0)))
    made = np.full(len(pace), np.nan)
    for one in np.unique(level[busy]).tolist():
        here = busy & (level == one)
        if here.sum() >= LEAST_IN_LOAD:
            made[here] = np.clip(pace[here] / np.quantile(pace[here], BEST_SHARE), 0.0, 1.0)
    return made


def _mean(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _nothing() -> pl.DataFrame:
    columns: Sequence[tuple[str, pl.DataType]] = (
        (METRICS, pl.String()),
        (WINDOW, pl.List(pl.Float64)),
        (STEP, pl.Float64()),
        *((key, pl.String()) for key in (*Degradation.spec.keys, "instance")),
        (AT, pl.Datetime("us")),
        (OUTCOME, pl.Float64()),
    )
    return pl.DataFrame(schema=dict(columns))
