"""Are the objectives met? Attainment over attempted requests, error budget, burn, status.

A request is good when it succeeded and every limit was kept. Failed and refused requests are bad,
aborted ones too unless the SLO says `count_aborted = false`. A successful request whose quantity
was never recorded (TPOT of a one-token answer) is undetermined: left out, counted and shown. The
budget is always that of the SLO's own window where the scope ends, rolling or by calendar, never of
the visible range.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from analysis.burn import AlertRule, budget_left_ratio, burn_rate, exhausted_at, fires
from analysis.intervals import wilson
from analysis.slo_counting import HOUR_SECONDS, PROJECTION_SECONDS, applicable, count
from analysis.slo_counts import Counted, Tally
from analysis.slo_model import Slo, short_window
from analysis.slo_window import Window, window_of
from store.queries.scope import Scope
from store.reader import Reader

# Below this many requests a percentage says nothing, whatever it is.
FEWEST_EVENTS = 30
LOW_BUDGET_RATIO = 0.1
STATUS_ORDER = ("exhausted", "burning", "watch", "too few events", "healthy", "no data")
_TICKET = "a ticket burn alert fires"
QUANTITY_NAMES = {"ttft_seconds": "TTFT", "tpot_seconds": "TPOT", "e2e_seconds": "E2E latency"}


@dataclass(frozen=True, slots=True)
class SloStatus:
    """Where one SLO stands at the end of a scope. None is unknown.

    Attributes:
        slo: the definition.
        window: the stretch of time its budget is of.
        tally: counts of its window; of a calendar period, those so far.
        basis: "requests" or "buckets".
        attainment_ratio: good / attempted.
        attainment_low: lower end of its 95 % interval (and of the buckets').
        attainment_high: upper end.
        attainment_of_successful_ratio: the same over successful requests only, which looks better
            the more requests are refused; never the headline.
        budget_left_ratio: 1 untouched, negative overspent; of a calendar period the whole of it
            counts, the rest at the traffic so far.
        pace: the burn that the rest of the budget is thought to go at; None when not known.
        burn_1h: burn over the last hour; None when the window is shorter or nothing came.
        burn_6h: burn over the last six hours.
        exhausted_at: when the budget went (to the width of a bin), or will go at the pace of the
            last six hours; None when it will not, or not before it resets.
        status: healthy, watch, burning, exhausted, too few events, or no data.
        why: one line behind the status.
        met: whether the target is met (so far); None when that cannot be said.
    """

    slo: Slo
    window: Window
    tally: Tally
    basis: str
    attainment_ratio: float | None
    attainment_low: float | None
    attainment_high: float | None
    attainment_of_successful_ratio: float | None
    budget_left_ratio: float | None
    pace: float | None
    burn_1h: float | None
    burn_6h: float | None
    exhausted_at: datetime | None
    status: str
    why: str
    met: bool | None

    @property
    def expected(self) -> float | None:
        """Requests of the whole calendar period at the traffic so far; None where it rolls."""
        if self.window.resets_at is None:
            return None
        return self.tally.attempted / self.window.elapsed_ratio


def check(reader: Reader, slos: Sequence[Slo], scope: Scope) -> list[SloStatus]:
    """Where every SLO of these sources stands at `scope.end`, in the order given.

    SLOs that name other sources are left out. Labels of the scope narrow what is counted.
    """
    chosen = applicable(reader, slos, scope)
    counted = count(reader, chosen, scope)
    return [status_of(slo, found) for slo, found in zip(chosen, counted, strict=True)]


def status_of(slo: Slo, counted: Counted) -> SloStatus:
    """Where an SLO stands, from its counts."""
    window = window_of(slo, counted.end)
    tally = counted.own(slo.window_seconds)
    low, high = _attainment_interval(tally)
    left = _left(slo, window, tally.bad_low, tally.attempted)
    unmeasured = _why_no_data(slo, counted, tally)
    status, why = ("no data", unmeasured) if unmeasured else _judge(slo, counted, window, tally)
    known = unmeasured is None and tally.exact
    decided = status != "too few events"
    pace = burn_over(slo, counted, min(PROJECTION_SECONDS, slo.window_seconds))
    return SloStatus(
        slo=slo,
        window=window,
        tally=tally,
        basis=counted.basis,
        attainment_ratio=_ratio(tally.good_low, tally.attempted) if known else None,
        attainment_low=None if unmeasured else low,
        attainment_high=None if unmeasured else high,
        attainment_of_successful_ratio=_ratio(tally.good_low, tally.measured) if known else None,
        budget_left_ratio=left if known else None,
        pace=pace if known else None,
        burn_1h=burn_over(slo, counted, HOUR_SECONDS) if known else None,
        burn_6h=burn_over(slo, counted, PROJECTION_SECONDS) if known else None,
        exhausted_at=_gone_at(slo, counted, window, pace) if known and decided else None,
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


def _left(slo: Slo, window: Window, bad: float, attempted: float) -> float | None:
    return budget_left_ratio(bad, attempted, slo.target_ratio, window.elapsed_ratio)


def _gone_at(slo: Slo, counted: Counted, window: Window, pace: float | None) -> datetime | None:
    """When the budget went, or will go at this pace; None when it will not."""
    tally = counted.own(slo.window_seconds)
    left = _left(slo, window, tally.bad_low, tally.attempted)
    if left is None or left > 0:
        return exhausted_at(left, pace, window.length_seconds, counted.end, window.resets_at)
    allowed = (1 - slo.target_ratio) * tally.attempted / window.elapsed_ratio
    spent = (
        counted.own_bins(slo.window_seconds)
        .sort("bin", descending=True)
        .select("bin", bad=(pl.col("attempted") - pl.col("good_high")).cum_sum())
        .filter(pl.col("bad") >= allowed * (1 - 1e-9))
    )
    if spent.is_empty():
        return counted.end
    return counted.end - timedelta(seconds=int(spent["bin"][0]) * counted.width_seconds)


def _judge(slo: Slo, counted: Counted, window: Window, tally: Tally) -> tuple[str, str]:
    left = _left(slo, window, tally.bad_low, tally.attempted)
    worst = _left(slo, window, tally.bad_high, tally.attempted)
    if left is None or worst is None:
        return "no data", f"no request in {_span(slo)}"
    if tally.attempted < FEWEST_EVENTS:
        return "too few events", f"{tally.attempted:,.0f} requests in {_span(slo)}"
    # A calendar's budget may be whole enough while the target is missed so far.
    is_behind = (burn_rate(tally.bad_low, tally.attempted, slo.target_ratio) or 0.0) > 1 + 1e-9
    if (left <= 0 or is_behind) and tally.bad_low < slo.minimum_bad_events:
        few = f"{tally.bad_low:,.0f} bad requests, fewer than {slo.minimum_bad_events}"
        return "too few events", few
    budget, until = _budget_words(slo, window)
    if left <= 0:
        spent = f"{_share(1 - left)} {budget} is spent{until}"
        return "exhausted", spent.replace(f"% {budget}", f"% of {budget}")
    firing = [rule.severity for rule in slo.alerts if rule_state(slo, counted, rule)[2]]
    if firing:
        paging = "page" in firing
        return ("burning", "a paging burn alert fires") if paging else ("watch", _TICKET)
    if worst <= 0:
        return "watch", counted.note or "only bounds are known, and the worse one is over budget"
    rest = f"{_share(left)} of {budget} is left{until}"
    if is_behind:
        return "watch", f"it goes faster than its period allows; {rest}"
    return ("watch" if left < LOW_BUDGET_RATIO else "healthy"), rest


def _budget_words(slo: Slo, window: Window) -> tuple[str, str]:
    """What the budget is called, and how long it must last."""
    if slo.calendar is None:
        return "the budget", ""
    left = window.left_seconds
    until = f", {short_window(left)} before it is whole again" if left else " at its end"
    return f"the {slo.calendar.unit}'s budget", until


def _span(slo: Slo) -> str:
    return "the window" if slo.calendar is None else f"the {slo.calendar.unit} so far"


def _why_no_data(slo: Slo, counted: Counted, tally: Tally) -> str | None:
    if counted.blind:
        return "this format records no failures, so every request reads as a success"
    if tally.attempted == 0 and tally.undetermined == 0:
        return counted.note or f"no request in {_span(slo)}"
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
