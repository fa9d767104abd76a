"""The verdict: which objective burns worst, since when, who its bad requests are, in which phase.

One sentence for the Fleet page, `servescope why` and reports: "chat-ttft burns at 6.2x since 13:40;
81 % of the bad requests are model llama-70b, which is 40 % of the traffic; 70 % of their excess
time is queueing". How each part is defined stands in docs/why.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from analysis import slo_frames, verdict_words
from analysis.slo import FEWEST_EVENTS, SloStatus, burn_over, status_of
from analysis.slo_buckets import spent_buckets
from analysis.slo_counting import count, good_rule
from analysis.slo_counts import Counted
from analysis.slo_model import Slo
from analysis.slo_views import stands_out, urgency
from analysis.slo_views import verdict as status_words
from store.queries import excess, slo_rolled
from store.queries.scope import Scope
from store.reader import Reader

TROUBLE = ("exhausted", "burning", "watch")
DAY_SECONDS = 86_400.0
"""How far back the beginning of a burn is looked for."""
MOST_CALM_BINS = 2
"""So many bins in a row at a burn of 1 or less end no stretch of burning: near 1 it wavers."""
FEWEST_COMPARED = 20
"""Bad requests, and good ones, of which a phase must be known to be told."""
SPENT_SCHEMA: dict[str, Any] = slo_frames.SPENT_BY_SCHEMA
PHASES_SCHEMA: dict[str, Any] = {**excess.EXCESS_SCHEMA, "excess_share_ratio": pl.Float64}
# Phases that can make a request miss each limit.
_PHASES = {
    "ttft_seconds": ("queue", "prefill", "first_token"),
    "tpot_seconds": ("decode",),
    "e2e_seconds": ("queue", "prefill", "first_token", "decode"),
}


@dataclass(frozen=True, slots=True)
class Burning:
    """How fast one objective burns now.

    Attributes:
        long_seconds: the window that the verdict goes by.
        short_seconds: one that shows whether it still goes on.
        long: burn over the long window; None when nothing came.
        short: burn over the short window.
        since: where the first bin of the stretch of long burns above 1 that goes on now begins
            (aware); up to `MOST_CALM_BINS` in a row do not end it. None when it does not burn.
        is_older: whether it is older than what was looked at, so that `since` is its limit.
    """

    long_seconds: float
    short_seconds: float
    long: float | None
    short: float | None
    since: datetime | None = None
    is_older: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """One objective: where it stands and how it burns."""

    status: SloStatus
    counted: Counted
    burning: Burning

    @property
    def is_trouble(self) -> bool:
        """Whether somebody should look."""
        return self.status.status in TROUBLE


@dataclass(frozen=True, slots=True)
class Causes:
    """Who the bad requests of the worst objective are, and what of them takes too long.

    Attributes:
        start: from when they were looked at (aware).
        spent: columns of `slo_frames.SPENT_BY_SCHEMA`.
        largest: the row of `spent` that is told; None where nobody stands out.
        excess: of those requests; None where no rows tell.
        phases: `excess.phases` of the phases that can break the objective, with
            excess_share_ratio, the largest first.
    """

    start: datetime
    spent: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SPENT_SCHEMA))
    largest: Mapping[str, object] | None = None
    excess: excess.Excess | None = None
    phases: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=PHASES_SCHEMA))


@dataclass(frozen=True, slots=True)
class Verdict:
    """All that is said of the objectives of a scope.

    Attributes:
        judged: every objective, in the order given.
        worst: the one that the verdict is about; None when none is in trouble.
        causes: of the worst; None without one.
    """

    judged: tuple[Judged, ...]
    worst: Judged | None = None
    causes: Causes | None = None

    def sentences(self, scope: Scope) -> list[str]:
        """The verdict, then where each objective in trouble stands; empty when none is."""
        if self.worst is None or self.causes is None:
            return []
        first = verdict_words.sentence(self.worst, self.causes, scope)
        troubled = sorted(
            (one.status for one in self.judged if one.is_trouble), key=urgency
        )  # fmt: skip
        return [first, *(status_words(status) for status in troubled)]


def judge(reader: Reader, scope: Scope, slos: Sequence[Slo], ids: Mapping[str, int]) -> Verdict:
    """Judge objectives at the end of a scope, and look for the causes of the worst.

    Worst is the one that burns fastest; among those that do not burn now, the most urgent.

    Args:
        reader: the store.
        scope: sources and labels; of its range only the end counts.
        slos: those that are about its sources.
        ids: source name -> source id.
    """
    counted = count(reader, slos, scope, ids=ids)
    judged = tuple(
        Judged(status_of(slo, found), found, burning(slo, found, scope))
        for slo, found in zip(slos, counted, strict=True)
    )
    worst = min((one for one in judged if one.is_trouble), key=_badness, default=None)
    if worst is None:
        return Verdict(judged)
    return Verdict(judged, worst, _causes(reader, scope, worst, ids))


def burning(slo: Slo, counted: Counted, scope: Scope) -> Burning:
    """How fast an objective burns at the end of a scope, and since when."""
    names = ("burn_1h", "burn_5m") if slo.window_seconds > 3600.0 else ("burn_5m", "burn_5m")
    long, short = (slo_frames.BURN_WINDOWS_SECONDS[name] for name in names)
    reach = min(slo.window_seconds, DAY_SECONDS)
    now = Burning(
        long, short, burn_over(slo, counted, long), burn_over(slo, counted, short)
    )  # fmt: skip
    chart = slo_frames.burn(
        slo, counted, Scope(scope.source_ids, scope.end - timedelta(seconds=reach), scope.end)
    )
    first = _began((chart[names[0]].fill_null(0.0) > 1.0).to_list())
    if first is None:
        return now
    if first == 0:
        return replace(now, since=scope.end - timedelta(seconds=reach), is_older=True)
    ends_at = chart["at"][first].replace(tzinfo=UTC)
    return replace(now, since=ends_at - timedelta(seconds=counted.width_seconds))


def _began(burns: Sequence[bool]) -> int | None:
    """Place of the first bin of the stretch that burns in the last one; None where that is calm."""
    if not burns or not burns[-1]:
        return None
    first = len(burns) - 1
    for place in reversed(range(first)):
        if burns[place]:
            first = place
        elif first - place > MOST_CALM_BINS:
            break
    return first


def _badness(judged: Judged) -> tuple[float, tuple[int, float, float]]:
    """Sort key: burns of now first, the fastest of them first."""
    is_burning = judged.burning.since is not None
    return -(judged.burning.long or 0.0) if is_burning else 0.0, urgency(judged.status)


def _causes(reader: Reader, scope: Scope, worst: Judged, ids: Mapping[str, int]) -> Causes:
    slo, burn = worst.status.slo, worst.burning
    start = scope.end - timedelta(seconds=min(slo.window_seconds, DAY_SECONDS))
    if burn.since is not None:
        # What made the burn rise came in the window that ended when it passed 1.
        start = max(start, burn.since - timedelta(seconds=burn.long_seconds))
    if worst.status.basis != "requests":
        width = worst.counted.width_seconds
        told = slo_frames.spent_by(spent_buckets(reader, slo, scope, start, width))
        return Causes(start, told, stands_out(told))
    rule = good_rule(slo, ids)
    found = slo_rolled.spent(reader, scope, [rule], start, scope.end)
    spent = slo_frames.spent_by(found)
    largest = stands_out(spent)
    who = None if largest is None else slo_frames.raw_value(largest["dimension"], largest["value"])
    # Only phases that can break the objective: none makes an availability worse.
    meant = {name for limit in slo.limits_seconds for name in _PHASES[limit]}
    made = excess.phase_excess(reader, scope, rule, start, scope.end, who, phases=meant)
    return Causes(start, spent, largest, made, _phases(made.phases))


def _phases(found: pl.DataFrame) -> pl.DataFrame:
    """The phases with their shares of the excess time, as far as enough requests know them."""
    known = found.filter((pl.col("good") >= FEWEST_COMPARED) & (pl.col("bad") >= FEWEST_COMPARED))
    total = known["excess_seconds"].sum()
    share = pl.col("excess_seconds") / total if total else pl.lit(None, pl.Float64)
    return (
        known.with_columns(excess_share_ratio=share)
        .sort("excess_seconds", descending=True, nulls_last=True)
        .select(list(PHASES_SCHEMA))
    )


def healthy_words(statuses: Sequence[SloStatus]) -> list[str]:
    """What is known to be well, and what cannot be judged; parts of one sentence."""
    if not statuses:
        return ["No SLO is defined, so nobody can say whether this is good enough"]
    healthy = [one for one in statuses if one.status == "healthy"]
    unknown = [one for one in statuses if one.status != "healthy"]
    if not healthy:
        return [f"None of the {len(statuses)} SLOs can be judged from this data{_why(unknown)}"]
    every = f"All {len(statuses)} SLOs are healthy"
    parts = [every if not unknown else f"{len(healthy)} of {len(statuses)} SLOs are healthy"]
    if unknown:
        parts.append(f"nothing can be said about {', '.join(s.slo.name for s in unknown)}")
        parts[-1] += _why(unknown)
    left = [(s.budget_left_ratio, s.slo.name) for s in healthy if s.budget_left_ratio is not None]
    if left:
        ratio, name = min(left)
        parts.append(f"the lowest budget left is {ratio * 100:.3g} % ({name})")
    return parts


def _why(unknown: Sequence[SloStatus]) -> str:
    """Why the few are too few: said where one reason is behind all."""
    reasons = {one.why for one in unknown}
    few = all(one.status == "too few events" for one in unknown)
    least = f"; from {FEWEST_EVENTS} requests on they are judged" if few else ""
    return f" ({reasons.pop()}{least})" if len(reasons) == 1 else ""
