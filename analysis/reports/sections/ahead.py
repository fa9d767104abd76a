"""What the next period is likely to bring, and whether there is too little or too much for it."""

from __future__ import annotations

from typing import Any

from analysis.reports import parts
from analysis.reports.asking import Asking, ViewDocument
from analysis.reports.coverage import share
from analysis.reports.document import Column, Number, Point, Section
from analysis.slo_gate import is_met
from store.units import counted, percent_text

SHORTEST_SHARE = 0.5
"""Of less than half a period nothing is said about the next one."""
FULL_CACHE, EMPTY_CACHE = 0.9, 0.5
"""KV cache in use at its busiest: from 90 % on requests wait for it; below half of it is spare."""
_HORIZONS = (
    Column("quantity", "Quantity"),
    Column("horizon_seconds", "Ahead", "s"),
    Column("forecasts", "Forecasts", ""),
    Column("skill_ratio", "Better than naive by", "ratio"),
    Column("coverage_90_ratio", "Within its 90 % band", "ratio"),
    Column("wmape_ratio", "Mean error", "ratio"),
)


def forecast(asking: Asking) -> Section:
    """The next period by the seasonal-naive rule, and how good forecasts were in this one."""
    naive = _naive(asking)
    live = asking.view("predictors_forecast")
    told = () if parts.is_empty(live) else tuple(str(text) for text in live["sentences"][:1])
    if naive is None and not told:
        return Section("forecast", "", empty=_too_short(asking), path="predictors")
    sentences, shown = naive or ((), ())
    return Section(
        "forecast", "",
        verdict=(*sentences, *told),
        numbers=shown,
        tables=parts.table(live, "horizons", "How good forecasts were, by how far they look ahead",
                           _HORIZONS),
        notes=(
            "The next period is the seasonal-naive rule: as this one. The predictors look minutes"
            " to hours ahead, never a whole period.",
        ),
        path="predictors",
    )  # fmt: skip


def _naive(asking: Asking) -> tuple[tuple[str, ...], tuple[Number, ...]] | None:
    """As this period, with the error that the same rule made on this one."""
    arrivals = asking.view("workload_arrivals")
    count = parts.value(arrivals, "requests")
    if (
        parts.is_empty(arrivals)
        or count is None
        or share(asking.sources, asking.period) < SHORTEST_SHARE
    ):
        return None
    prior = asking.prior("workload_arrivals")
    before = None if prior is None else parts.value(prior, "requests")
    missed = None if not before else abs(count / before - 1)
    how = (
        "how far off that may be is not known, without a period before"
        if before is None or missed is None
        else f"the same rule was off by {percent_text(missed)} for this one"
    )
    first = f"If the next is like this one, {counted(count, 'request')} come; {how}."
    shown = Number(
        "requests", "Requests, next period", count, "requests",
        why="seasonal-naive: as this period", view=arrivals["view"],
    )  # fmt: skip
    return (first,), (shown,)


def _too_short(asking: Asking) -> str:
    covered = percent_text(share(asking.sources, asking.period))
    return f"The records cover {covered} of the period: too little to say anything about the next."


def capacity(asking: Asking) -> Section:
    """Too little or too much, from queues, caches and objectives."""
    fleet = asking.view("fleet")
    rows = parts.rows_of(fleet, "sparklines")
    cache = _most(rows, "kv_cache_usage_ratio")
    waiting = _most(rows, "requests_waiting")
    if cache is None and waiting is None:
        return Section("capacity", "", empty=_unknown(asking), advice=_replay(asking),
                       path="what-if")  # fmt: skip
    missed = [
        row
        for row in parts.rows_of(asking.view("slo_list", over="range"), "slos")
        if is_met(row) is False
    ]
    verdict, points = _judged(cache, waiting, [str(row["name"]) for row in missed])
    return Section(
        "capacity", "",
        verdict=(verdict,),
        numbers=_busiest(fleet, cache, waiting),
        charts=parts.over_time(
            fleet, "sparklines", "KV cache in use", {"kv_cache_usage_ratio": "in use"}, "ratio",
            f"At its busiest, {percent_text(cache)} of the KV cache was in use.",
        ),
        findings=points,
        advice=(*(Point(one.weight, _what_to_do(one.weight)) for one in points),
                *_replay(asking)),
        path="what-if",
    )  # fmt: skip


def _most(rows: list[dict[str, Any]], column: str) -> float | None:
    return max((row[column] for row in rows if row.get(column) is not None), default=None)


def _busiest(fleet: ViewDocument, cache: float | None, waiting: float | None) -> tuple[Number, ...]:
    found = (
        Number("kv_cache_usage_ratio", "KV cache at its busiest", cache, "ratio", view="fleet"),
        Number("requests_waiting", "Waiting at most", waiting, "requests", view="fleet"),
    )
    return tuple(one for one in found if parts.is_known(one))


def _judged(
    cache: float | None, waiting: float | None, missed: list[str]
) -> tuple[str, tuple[Point, ...]]:
    full = cache is not None and cache >= FULL_CACHE
    spare = cache is not None and cache < EMPTY_CACHE and not waiting
    if missed and full:
        text = (
            f"Too little at the peak: {missed[0]} was missed, and {percent_text(cache, 0)} of the"
            " KV cache was in use."
        )
        return text, (Point(70.0, text),)
    if not missed and spare:
        text = (
            f"There is room: objectives were met and at most {percent_text(cache, 0)} of the KV"
            " cache was in use."
        )
        return text, (Point(35.0, text),)
    queued = "" if not waiting else f"; at most {waiting:,.0f} requests waited"
    return f"Neither clearly too little nor too much{queued}.", ()


def _what_to_do(weight: float) -> str:
    if weight >= 50:
        return "Try more replicas at the peak in a replay before you add them: page What-if."
    return "Try fewer replicas in a replay before you take them away: page What-if."


def _unknown(asking: Asking) -> str:
    if asking.is_live:
        return "No engine told its queue or its cache, so nothing can be said about capacity."
    return "A trace tells no queue and no cache, so nothing can be said about capacity."


def _replay(asking: Asking) -> tuple[Point, ...]:
    traces = [str(source["name"]) for source in asking.sources if source["kind"] == "trace"]
    if not traces:
        return ()
    return (
        Point(
            30.0,
            f"To learn how many replicas this takes: `servescope replay {traces[0]}`.",
        ),
    )
