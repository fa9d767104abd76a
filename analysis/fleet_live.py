"""The fleet as the scraped metrics of live targets tell it."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from analysis import series
from analysis.fleet_live_course import sparklines
from analysis.fleet_part import FAILURES, INSTANCES_SCHEMA, FleetPart, conform
from analysis.fleet_reach import joined, left_out
from analysis.fleet_scraped import RATES, Scraped, ended, interval, is_bad, is_of, standing
from analysis.histograms import Observed
from analysis.instances import outlier_scores
from analysis.intervals import wilson
from analysis.measure import Measure
from store.queries import target_scrapes
from store.queries.scope import Scope

_ABSENT = {
    "requests_finished_total": "a count of finished requests",
    "prompt_tokens_total": "a count of input tokens",
    "generation_tokens_total": "a count of output tokens",
    "ttft_seconds": "a TTFT histogram",
    "tpot_seconds": "a TPOT histogram",
}


def from_scrapes(scraped: Scraped, scope: Scope, width_seconds: int) -> FleetPart:
    """What the scrapes of a scope say.

    Args:
        scraped: what was scraped in it.
        scope: what is asked about.
        width_seconds: bin width of the sparklines; at least a scrape interval.
    """
    instances = _instances(scraped)
    return FleetPart(
        _measures(scraped, instances),
        sparklines(scraped, scope, width_seconds),
        instances,
        {"instances": target_scrapes.TARGETS.strip()},
    )


def _instances(scraped: Scraped) -> pl.DataFrame:
    stand = standing(scraped)
    scores = _outliers(scraped)
    told = pl.DataFrame([_told(scraped, number) for number in stand["target_id"]], schema=_TOLD)
    return conform(
        pl.concat([stand, told], how="horizontal").with_columns(
            outlier_score=pl.Series(
                [scores.get(number) for number in stand["target_id"]], dtype=pl.Float64
            ),
            last_seen_at=pl.col("last_success_at"),
        ),
        INSTANCES_SCHEMA,
    )


_TOLD = {name: kind for name, kind in INSTANCES_SCHEMA.items() if "_p95_" in name} | {
    "output_tokens_per_second": pl.Float64
}


def _told(scraped: Scraped, target_id: int) -> dict[str, float | None]:
    """Latencies and tokens of one instance over the range."""
    row: dict[str, float | None] = {}
    for name in ("ttft", "tpot"):
        mine = [item for item in scraped.histograms
                if item.signal == f"{name}_seconds" and item.target_id == target_id]  # fmt: skip
        low, high, _ = interval(mine)
        row |= {f"{name}_p95_seconds_low": low, f"{name}_p95_seconds_high": high}
    counted = scraped.counters.filter(
        (pl.col("signal") == "generation_tokens_total") & (pl.col("target_id") == target_id)
    )
    rate = series.rates(counted)
    row["output_tokens_per_second"] = None if rate.is_empty() else rate["rate_per_second"][0]
    return row


def _outliers(scraped: Scraped) -> dict[int, float | None]:
    """The worse of two scores per target, among targets of the same model: mean TPOT and queue."""
    scores: dict[int, float | None] = {}
    for (_,), peers in scraped.targets.group_by("model", maintain_order=True):
        ids = peers["target_id"].to_list()
        for signal in ("tpot_seconds", "queue_seconds"):
            means = [_mean(scraped.histograms, signal, number) for number in ids]
            for number, score in zip(ids, outlier_scores(means), strict=True):
                known = [s for s in (scores.get(number), score) if s is not None]
                scores[number] = max(known) if known else None
    return scores


def _mean(items: Sequence[Observed], signal: str, target_id: int) -> float | None:
    chosen = [
        item.histogram
        for item in items
        if item.signal == signal
        and item.target_id == target_id
        and item.histogram.total is not None
    ]
    count = sum(histogram.count for histogram in chosen)
    return sum(histogram.total or 0.0 for histogram in chosen) / count if count > 0 else None


def _measures(scraped: Scraped, instances: pl.DataFrame) -> dict[str, Measure]:
    measures = {name: _rate(scraped, signal, name) for name, signal in RATES.items()}
    measures |= _failures(scraped)
    for signal in ("ttft_seconds", "tpot_seconds"):
        name = signal.replace("_seconds", "_p95_seconds")
        measures[name] = _p95(scraped, signal)
    ready = int((instances["state"] == "ready").sum())
    for name in ("requests_waiting", "requests_running"):
        known = instances[name].drop_nulls()
        missing = instances.height - len(known)
        measures[name] = Measure(
            float(known.sum()) if len(known) else None,
            "requests",
            n=len(known),
            why=f"{missing} of {instances.height} instances unknown" if missing else None,
        )
    away = instances.height - ready
    measures["instances_ready"] = Measure(
        float(ready), "instances", n=instances.height, why=f"{away} not ready" if away else None
    )
    return measures


def _why_absent(scraped: Scraped, signal: str) -> str:
    engines = sorted({name for name in scraped.targets["engine"].to_list() if name})
    who = " and ".join(engines) if engines else "the engine"
    return f"{who} showed no {_ABSENT[signal].removeprefix('a ')} in this range"


def _rate(scraped: Scraped, signal: str, name: str) -> Measure:
    unit = "requests/s" if name == "requests_per_second" else "tokens/s"
    stepped = scraped.counters.filter(pl.col("signal") == signal)
    found = series.rates(stepped)
    if found.is_empty():
        why = "needs two scrapes" if stepped.height else _why_absent(scraped, signal)
        return Measure(None, unit, why=why)
    n = int(found["increase"][0]) if name == "requests_per_second" else None
    return Measure(
        float(found["rate_per_second"][0]), unit, n=n, why=_counters_left_out(scraped, signal)
    )


def _counters_left_out(scraped: Scraped, signal: str) -> str | None:
    """Which ready instances a number made of this counter does not speak for."""
    shown = scraped.counters.filter(pl.col("signal") == signal)
    counted = shown.filter(pl.col("increase").is_not_null())
    return left_out(scraped.targets, signal, set(counted["target_id"]), set(shown["target_id"]))


def _failures(scraped: Scraped) -> dict[str, Measure]:
    """The share of requests that came to nothing, and that of each way to fail."""
    names = ("error_ratio", *FAILURES)
    counted = ended(scraped)
    total = float(counted["increase"].sum())
    if counted.is_empty() or total <= 0:
        why = "no request finished in this range"
        if counted.is_empty():
            why = _why_absent(scraped, "requests_finished_total")
        return {name: Measure(None, "ratio", n=None if counted.is_empty() else 0, why=why)
                for name in names}  # fmt: skip
    reach = _counters_left_out(scraped, "requests_finished_total")
    return {
        name: _share(counted.filter(is_bad() if name == "error_ratio" else is_of(name)), total,
                     reach, is_told=name == "error_ratio")
        for name in names
    }  # fmt: skip


def _share(bad: pl.DataFrame, total: float, reach: str | None, *, is_told: bool) -> Measure:
    """A share of all requests; unknown where no engine has such a counter."""
    if bad.is_empty() and not is_told:
        return Measure(None, "ratio", why="no engine here counts these apart")
    count = float(bad["increase"].sum())
    low, high = wilson(min(count, total), total) or (None, None)
    return Measure(count / total, "ratio", low, high, round(total), reach)


def _p95(scraped: Scraped, signal: str) -> Measure:
    items = [item for item in scraped.histograms if item.signal == signal]
    if not items:
        return Measure(None, "s", why=_why_absent(scraped, signal))
    low, high, count = interval(items)
    if count == 0:
        return Measure(None, "s", n=0, why="no request finished in this range")
    told = {item.target_id for item in items}
    without = left_out(scraped.targets, signal, told, told)
    why = joined("from the engine's buckets: only bounds", without)
    return Measure(None, "s", low, high, round(count), why)
