"""Are the objectives met? Attainment over attempted requests, error budget, burn, status.

A request is good when it succeeded and every limit was kept. Failed and refused requests are bad,
aborted ones too unless the SLO says `count_aborted = false`. A successful request whose quantity
was never recorded (TPOT of a one-token answer) is undetermined: left out, counted and shown. The
budget is always that of the SLO's own window ending where the scope ends, never of the visible
range.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from analysis.burn import AlertRule, budget_left_ratio, burn_rate, exhausted_at, fires
from analysis.intervals import wilson
from analysis.slo_buckets import count_buckets
from analysis.slo_counts import Counted, Tally
from analysis.slo_model import Slo
from store.queries import slo as slo_queries
from store.queries import slo_rolled
from store.queries.scope import LIVE_SOURCE_ID, Scope
from store.queries.slo import GoodRule
from store.reader import Reader

HOUR_SECONDS = 3600.0
PROJECTION_SECONDS = 6 * HOUR_SECONDS
# Below this many requests a percentage says nothing, whatever it is.
FEWEST_EVENTS = 30
LOW_BUDGET_RATIO = 0.1
MOST_BINS = 50_000
# Windows that are exact back in time: each costs a look at the rows of one bucket.
MOST_EDGES = 12
STATUS_ORDER = ("exhausted", "burning", "watch", "too few events", "healthy", "no data")
_TICKET = "a ticket burn alert fires"
QUANTITY_NAMES = {"ttft_seconds": "TTFT", "tpot_seconds": "TPOT", "e2e_seconds": "E2E latency"}


@dataclass(frozen=True, slots=True)
class SloStatus:
    """Where one SLO stands at the end of a scope. None is unknown.

    Attributes:
        slo: the definition.
        tally: counts of its window.
        basis: "requests" or "buckets".
        attainment_ratio: good / attempted.
        attainment_low: lower end of its 95 % interval (and of the buckets').
        attainment_high: upper end.
        attainment_of_successful_ratio: the same over successful requests only, which looks better
            the more requests are refused; never the headline.
        budget_left_ratio: 1 untouched, negative overspent.
        burn_1h: burn over the last hour; None when the window is shorter or nothing came.
        burn_6h: burn over the last six hours.
        exhausted_at: when the budget went (to the width of a bin), or will go at the pace of the
            last six hours; None when it will not.
        status: healthy, watch, burning, exhausted, too few events, or no data.
        why: one line behind the status.
        met: whether the target is met; None when that cannot be said.
    """

    slo: Slo
    tally: Tally
    basis: str
    attainment_ratio: float | None
    attainment_low: float | None
    attainment_high: float | None
    attainment_of_successful_ratio: float | None
    budget_left_ratio: float | None
    burn_1h: float | None
    burn_6h: float | None
    exhausted_at: datetime | None
    status: str
    why: str
    met: bool | None


def check(reader: Reader, slos: Sequence[Slo], scope: Scope) -> list[SloStatus]:
    """Where every SLO of these sources stands at `scope.end`, in the order given.

    SLOs that name other sources are left out. Labels of the scope narrow what is counted.
    """
    chosen = applicable(reader, slos, scope)
    counted = count(reader, chosen, scope)
    return [status_of(slo, found) for slo, found in zip(chosen, counted, strict=True)]


def applicable(
    reader: Reader, slos: Sequence[Slo], scope: Scope, ids: Mapping[str, int] | None = None
) -> list[Slo]:
    """The SLOs that are about at least one source of the scope; `ids` as of `good_rule`."""
    ids = slo_queries.source_ids(reader) if ids is None else ids
    return [
        slo
        for slo in slos
        if not slo.match.sources
        or any(ids.get(name) in scope.source_ids for name in slo.match.sources)
    ]


def good_rule(slo: Slo, ids: Mapping[str, int]) -> GoodRule:
    """The SLO as the store's queries take it.

    Args:
        slo: the definition.
        ids: source name -> source id.
    """
    labels = {
        "model": slo.match.models,
        "tenant": slo.match.tenants,
        "route": slo.match.routes,
        "slo_class": slo.match.classes,
    }
    return GoodRule(
        limits_seconds=slo.limits_seconds,
        labels={column: accepted for column, accepted in labels.items() if accepted},
        # An unknown name must not mean "all sources".
        source_ids=tuple(ids.get(name, 0) for name in slo.match.sources),
        count_aborted=slo.count_aborted,
    )


def count(
    reader: Reader,
    slos: Sequence[Slo],
    scope: Scope,
    *,
    reach_seconds: float = 0.0,
    exact_seconds: float = 0.0,
    ids: Mapping[str, int] | None = None,
) -> list[Counted]:
    """Counts of every SLO over its window (or `reach_seconds`, if longer) ending at `scope.end`.

    From request rows; for the live fleet where none match, from the engines' histograms. Every
    window that decides something is exact, whichever SLOs are counted together; all windows are in
    the last `exact_seconds` (six hours at least).
    """
    if not slos:
        return []
    reach = max(reach_seconds, *(slo.window_seconds for slo in slos))
    width = bin_width_seconds(slos, reach)
    ids = slo_queries.source_ids(reader) if ids is None else ids
    rules = [good_rule(slo, ids) for slo in slos]
    start = scope.end - timedelta(seconds=math.ceil(reach / width) * width)
    found = slo_rolled.counts(
        reader,
        scope,
        rules,
        start,
        scope.end,
        width,
        edges=_window_starts(slos, scope.end),
        raw_since=scope.end - timedelta(seconds=exact_seconds),
    )
    rows = [
        Counted(
            _as_intervals(found, index),
            width,
            scope.end,
            blind=blind_to_failures(reader, slo, scope, rule),
        )
        for index, (slo, rule) in enumerate(zip(slos, rules, strict=True))
    ]
    if scope.source_ids == (LIVE_SOURCE_ID,):
        return _with_buckets(reader, slos, scope, rows, start)
    return rows


def _with_buckets(
    reader: Reader, slos: Sequence[Slo], scope: Scope, rows: list[Counted], start: datetime
) -> list[Counted]:
    """The counts of the rows; of SLOs that no row of their window is about, the engines' own.

    Decided for each SLO by itself, so that it reads the same alone and among others.
    """
    silent = [
        place
        for place, (slo, found) in enumerate(zip(slos, rows, strict=True))
        if not (tally := found.window(slo.window_seconds)).attempted and not tally.undetermined
    ]
    if not silent:
        return rows
    asked = [slos[place] for place in silent]
    edges = _window_starts(asked, scope.end, short=True)
    bucketed = count_buckets(reader, asked, scope, start, rows[0].width_seconds, edges)
    heard = slo_queries.has_requests(reader, LIVE_SOURCE_ID)
    chosen = list(rows)
    for place, slo, found in zip(silent, asked, bucketed, strict=True):
        if not heard or found.window(slo.window_seconds).attempted:
            chosen[place] = found
    return chosen


def blind_to_failures(reader: Reader, slo: Slo, scope: Scope, rule: GoodRule) -> bool:
    """Whether availability cannot be told here: 100 % of a record without failures is no news."""
    sources = [n for n in scope.source_ids if not rule.source_ids or n in rule.source_ids]
    return slo.kind == "availability" and slo_queries.without_failures(reader, sources)


def bin_width_seconds(slos: Sequence[Slo], reach_seconds: float) -> int:
    """A bin width that divides every window in use, unless that would make too many bins."""
    windows = [300.0, HOUR_SECONDS]
    for slo in slos:
        windows.append(slo.window_seconds)
        for rule in slo.alerts:
            windows += [rule.long_seconds, rule.short_seconds]
    common = math.gcd(*(max(1, round(window)) for window in windows))
    least = reach_seconds / MOST_BINS
    # Five minutes, the shortest window of the burn chart, stay whole bins as long as possible.
    parts = [part for part in range(common, 301, common) if 300 % part == 0 and part >= least]
    return parts[0] if parts else 300 * math.ceil(least / 300)


def _window_starts(slos: Sequence[Slo], end: datetime, *, short: bool = False) -> list[datetime]:
    """Where the windows of the SLOs and of their alerts begin, the SLOs' own first.

    Short windows, and that of the projection, are asked for where the last hours are not exact
    anyway.
    """
    windows = dict.fromkeys(slo.window_seconds for slo in slos)
    windows |= dict.fromkeys(rule.long_seconds for slo in slos for rule in slo.alerts)
    if short:
        shorts = (rule.short_seconds for slo in slos for rule in slo.alerts)
        windows |= dict.fromkeys((PROJECTION_SECONDS, *shorts))
    return [end - timedelta(seconds=window) for window in list(windows)[:MOST_EDGES]]


def status_of(slo: Slo, counted: Counted) -> SloStatus:
    """Where an SLO stands, from its counts."""
    tally = counted.window(slo.window_seconds)
    low, high = _attainment_interval(tally)
    burn_6h = burn_over(slo, counted, PROJECTION_SECONDS)
    left = budget_left_ratio(tally.bad_low, tally.attempted, slo.target_ratio)
    unmeasured = _why_no_data(slo, counted, tally)
    status, why = ("no data", unmeasured) if unmeasured else _judge(slo, counted, tally)
    known = unmeasured is None and tally.exact
    decided = status != "too few events"
    pace = burn_over(slo, counted, min(PROJECTION_SECONDS, slo.window_seconds))
    return SloStatus(
        slo=slo,
        tally=tally,
        basis=counted.basis,
        attainment_ratio=_ratio(tally.good_low, tally.attempted) if known else None,
        attainment_low=None if unmeasured else low,
        attainment_high=None if unmeasured else high,
        attainment_of_successful_ratio=_ratio(tally.good_low, tally.measured) if known else None,
        budget_left_ratio=left if known else None,
        burn_1h=burn_over(slo, counted, HOUR_SECONDS) if known else None,
        burn_6h=burn_6h if known else None,
        exhausted_at=_gone_at(slo, counted, tally, pace) if known and decided else None,
        status=status,
        why=why,
        met=_met(slo, tally, status),
    )


def burn_over(slo: Slo, counted: Counted, seconds: float, ago_seconds: float = 0.0) -> float | None:
    """The burn of a window; None when nothing came, or the window is longer than the SLO's.

    Where only buckets are known it is the burn that is certain.
    """
    if seconds > slo.window_seconds or counted.blind:
        return None
    tally = counted.window(seconds, ago_seconds)
    return burn_rate(tally.bad_low, tally.attempted, slo.target_ratio)


def rule_state(
    slo: Slo, counted: Counted, rule: AlertRule
) -> tuple[float | None, float | None, bool]:
    """Burn over the long and the short window of a rule, and whether it fires.

    It never fires on fewer than `slo.minimum_bad_events` bad requests in the long window.
    """
    long = burn_over(slo, counted, rule.long_seconds)
    short = burn_over(slo, counted, rule.short_seconds)
    enough = counted.window(rule.long_seconds).bad_low >= slo.minimum_bad_events
    return long, short, enough and fires(rule, long, short)


def _gone_at(slo: Slo, counted: Counted, tally: Tally, pace: float | None) -> datetime | None:
    """When the budget went, or will go at this pace; None when it will not."""
    left = budget_left_ratio(tally.bad_low, tally.attempted, slo.target_ratio)
    if left is None or left > 0:
        return exhausted_at(left, pace, slo.window_seconds, counted.end)
    last = round(slo.window_seconds / counted.width_seconds)
    spent = (
        counted.bins.filter((pl.col("bin") >= 0) & (pl.col("bin") < last))
        .sort("bin", descending=True)
        .select("bin", bad=(pl.col("attempted") - pl.col("good_high")).cum_sum())
        .filter(pl.col("bad") >= (1 - slo.target_ratio) * tally.attempted * (1 - 1e-9))
    )
    if spent.is_empty():
        return counted.end
    return counted.end - timedelta(seconds=int(spent["bin"][0]) * counted.width_seconds)


def _judge(slo: Slo, counted: Counted, tally: Tally) -> tuple[str, str]:
    left = budget_left_ratio(tally.bad_low, tally.attempted, slo.target_ratio)
    worst = budget_left_ratio(tally.bad_high, tally.attempted, slo.target_ratio)
    if left is None or worst is None:
        return "no data", "no request in the window"
    if tally.attempted < FEWEST_EVENTS:
        return "too few events", f"{tally.attempted:,.0f} requests in the window"
    if left <= 0 and tally.bad_low < slo.minimum_bad_events:
        few = f"{tally.bad_low:,.0f} bad requests, fewer than {slo.minimum_bad_events}"
        return "too few events", few
    if left <= 0:
        return "exhausted", f"{_share(1 - left)} the budget is spent".replace("% the", "% of the")
    firing = [rule.severity for rule in slo.alerts if rule_state(slo, counted, rule)[2]]
    if firing:
        paging = "page" in firing
        return ("burning", "a paging burn alert fires") if paging else ("watch", _TICKET)
    if worst <= 0:
        return "watch", counted.note or "only bounds are known, and the worse one is over budget"
    if left < LOW_BUDGET_RATIO:
        return "watch", f"{_share(left)} of the budget is left"
    return "healthy", f"{_share(left)} of the budget is left"


def _why_no_data(slo: Slo, counted: Counted, tally: Tally) -> str | None:
    if counted.blind:
        return "this format records no failures, so every request reads as a success"
    if tally.attempted == 0 and tally.undetermined == 0:
        return counted.note or "no request in the window"
    if slo.limits_seconds and tally.measured == 0 and tally.undetermined > 0:
        needs = " and ".join(QUANTITY_NAMES[column] for column in slo.limits_seconds)
        return f"needs {needs}; none of these {tally.undetermined:,.0f} requests carries it"
    return None


def _met(slo: Slo, tally: Tally, status: str) -> bool | None:
    if status in ("no data", "too few events"):
        return None
    allowed = (1 - slo.target_ratio) * tally.attempted * (1 + 1e-9)
    if tally.bad_high <= allowed:
        return True
    return False if tally.bad_low > allowed else None


def _attainment_interval(tally: Tally) -> tuple[float | None, float | None]:
    least = wilson(tally.good_low, tally.attempted)
    most = wilson(tally.good_high, tally.attempted)
    return (least[0] if least else None), (most[1] if most else None)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def _share(ratio: float) -> str:
    return f"{ratio * 100:.3g} %" if ratio < 10 else f"{ratio:.3g} times"


def _as_intervals(found: pl.DataFrame, index: int) -> pl.DataFrame:
    """Counts of one rule with good as an interval of no width."""
    return found.filter(pl.col("rule") == index).select(
        "bin",
        pl.col("good").cast(pl.Float64).alias("good_low"),
        pl.col("good").cast(pl.Float64).alias("good_high"),
        (pl.col("good") + pl.col("bad")).cast(pl.Float64).alias("attempted"),
        pl.col("undetermined").cast(pl.Float64),
        pl.col("measured").cast(pl.Float64),
    )
