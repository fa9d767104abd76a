"""Is the fleet healthy now, and if not, where do I look?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import polars as pl

from analysis import plain_sql, slo_frames
from analysis.emptiness import why_empty
from analysis.fleet_live import from_scrapes
from analysis.fleet_part import FleetPart, join
from analysis.fleet_rows import from_rows
from analysis.measure import Measure, View
from analysis.slo import SloStatus, applicable, count, good_rule, status_of
from analysis.slo_counts import Counted
from analysis.slo_model import Slo, short_window
from analysis.slo_views import contributor, urgency, verdict
from analysis.workload.words import time_text
from store.queries import fleet as fleet_queries
from store.queries import slo as slo_queries
from store.queries import slo_rolled
from store.queries.scope import LIVE_SOURCE_ID, Scope
from store.reader import Reader
from store.rollup import BUCKET_SECONDS

# Scrapes are seconds apart: finer bins would be mostly holes.
SHORTEST_LIVE_BIN_SECONDS = 10
SPARKLINE_BINS = 100
OUTLIER_SCORE = 3.5
DAY_SECONDS = 86_400.0
EVENTS_SCHEMA: dict[str, Any] = {"at": pl.Datetime("us"), "kind": pl.String, "text": pl.String}


def fleet(reader: Reader, scope: Scope, *, slos: Sequence[Slo]) -> View:
    """The whole fleet of a scope in one view.

    Measures: requests_per_second, input_tokens_per_second, output_tokens_per_second, error_ratio,
    ttft_p95_seconds, tpot_p95_seconds, requests_waiting, requests_running,
    lowest_budget_left_ratio, instances_ready. From request rows where there are any, else from the
    engines' metrics; p95 from buckets is an interval without a value.

    Frames: `sparklines`, `models`, `instances`, `events`; columns in `analysis.fleet_part`.
    """
    ids = slo_queries.source_ids(reader)
    chosen = applicable(reader, slos, scope, ids)
    width = _sparkline_width_seconds(scope)
    if LIVE_SOURCE_ID in scope.source_ids:
        width = max(width, SHORTEST_LIVE_BIN_SECONDS)
    # The objectives are counted beside the rest: each leaves a processor idle in turns.
    with ThreadPoolExecutor(1) as beside:
        judging = beside.submit(_judge, reader, scope, chosen, ids)
        rows = from_rows(reader, scope, chosen, width, ids)
        live = from_scrapes(reader, scope, width)
        whole = join(rows or FleetPart(), live or FleetPart())
        judged = judging.result()
    statuses = [one.status for one in judged]
    measures = {**whole.measures, "lowest_budget_left_ratio": _lowest_budget(statuses)}
    events = fleet_queries.events(reader, scope)
    return View(
        "fleet",
        scope,
        measures,
        {
            "sparklines": whole.sparklines,
            "models": whole.models,
            "instances": whole.instances,
            "events": events if events.height else pl.DataFrame(schema=EVENTS_SCHEMA),
        },
        tuple(_sentences(judged, whole)),
        why_empty(reader, scope) if rows is None and live is None else None,
        _plain_sql(scope, width) if rows is not None else whole.sql,
    )


def _sparkline_width_seconds(scope: Scope) -> int:
    """About a hundred bins; from ten minutes on, whole buckets of the roll-up."""
    width = scope.bin_seconds(SPARKLINE_BINS)
    return width if width < BUCKET_SECONDS else -(-width // BUCKET_SECONDS) * BUCKET_SECONDS


def _plain_sql(scope: Scope, width_seconds: int) -> dict[str, str]:
    return {
        "sparklines": plain_sql.time_bins(scope, width_seconds),
        "models": plain_sql.workloads(scope),
    }


def _lowest_budget(statuses: Sequence[SloStatus]) -> Measure:
    known = [
        (s.budget_left_ratio, round(s.tally.attempted))
        for s in statuses
        if s.budget_left_ratio is not None
    ]
    if known:
        left, events = min(known)
        return Measure(left, "ratio", n=events)
    why = "no SLO is defined" if not statuses else "no SLO has data here"
    return Measure(None, "ratio", why=why)


@dataclass(frozen=True, slots=True)
class _Judged:
    """One objective: where it stands, and what to say when it is in trouble."""

    status: SloStatus
    trouble: str | None


def _judge(
    reader: Reader, scope: Scope, slos: Sequence[Slo], ids: Mapping[str, int]
) -> list[_Judged]:
    """The objectives in the order given; the most urgent trouble is told with its causes."""
    counted = count(reader, slos, scope, ids=ids)
    statuses = [status_of(slo, found) for slo, found in zip(slos, counted, strict=True)]
    troubled = [place for place, one in enumerate(statuses) if one.status in _TROUBLE]
    worst = min(troubled, key=lambda place: urgency(statuses[place]), default=None)
    told = {place: verdict(statuses[place]) for place in troubled}
    if worst is not None:
        told[worst] = _trouble(reader, scope, statuses[worst], counted[worst], ids)
    return [_Judged(status, told.get(place)) for place, status in enumerate(statuses)]


def _sentences(judged: Sequence[_Judged], whole: FleetPart) -> list[str]:
    """The verdict first: the worst SLO, else the worst instance, else what is known to be well."""
    urgent = sorted(judged, key=lambda one: urgency(one.status))
    sentences = [one.trouble for one in urgent if one.trouble is not None]
    sentences += _instance_sentences(whole.instances)
    return sentences or [_well([one.status for one in judged], whole)]


_TROUBLE = ("exhausted", "burning", "watch")


def _trouble(
    reader: Reader,
    scope: Scope,
    status: SloStatus,
    counted: Counted,
    ids: Mapping[str, int],
) -> str:
    slo = status.slo
    parts = [verdict(status).removesuffix(".")]
    since = _burning_since(slo, counted, scope)
    if since:
        parts.append(f"burning {since}")
    if status.basis == "requests":
        reach = min(slo.window_seconds, DAY_SECONDS)
        rule = good_rule(slo, ids)
        start = scope.end - timedelta(seconds=reach)
        spent = slo_frames.spent_by(slo_rolled.spent(reader, scope, [rule], start, scope.end))
        when = f" of the last {short_window(reach)}"
        parts += [text.removesuffix(".") for text in contributor(spent, when)]
    return "; ".join(parts) + "."


def _burning_since(slo: Slo, counted: Counted, scope: Scope) -> str | None:
    """Since when the burn over an hour (or five minutes) is above 1, if it is now."""
    reach = min(slo.window_seconds, DAY_SECONDS)
    last_day = Scope(scope.source_ids, scope.end - timedelta(seconds=reach), scope.end)
    chart = slo_frames.burn(slo, counted, last_day)
    name = (
        "burn_1h" if slo.window_seconds > slo_frames.BURN_WINDOWS_SECONDS["burn_1h"] else "burn_5m"
    )
    burning = (chart[name].fill_null(0.0) > 1.0).to_list()
    if not burning or not burning[-1]:
        return None
    calm = [place for place, now in enumerate(burning) if not now]
    if not calm:
        return f"for at least {short_window(reach)}"
    zone = " UTC" if scope.is_live else ""
    return f"since {time_text(chart['at'][calm[-1] + 1])}{zone}"


def _instance_sentences(instances: pl.DataFrame) -> list[str]:
    away = instances.filter(pl.col("state").is_in(["unreachable", "stale", "waiting"]))
    sentences = [
        f"{row['instance']} is {_STATE_WORDS[row['state']]}: {row['why']}."
        for row in away.iter_rows(named=True)
    ]
    odd = instances.filter(
        (pl.col("outlier_score") > OUTLIER_SCORE) & (pl.col("state") == "ready")
    ).sort("outlier_score", descending=True)
    return sentences + [
        f"{row['instance']} stands out among its peers ({row['outlier_score']:.1f} deviations)."
        for row in odd.iter_rows(named=True)
    ]


_STATE_WORDS = {"unreachable": "unreachable", "stale": "silent", "waiting": "not heard of yet"}


def _well(statuses: Sequence[SloStatus], whole: FleetPart) -> str:
    healthy = [s for s in statuses if s.status == "healthy"]
    parts = []
    if statuses and len(healthy) == len(statuses):
        parts.append(f"All {len(statuses)} SLOs are healthy")
    elif statuses:
        unknown = [s.slo.name for s in statuses if s.status != "healthy"]
        if healthy:
            parts.append(f"{len(healthy)} of {len(statuses)} SLOs are healthy")
            parts.append(f"nothing can be said about {', '.join(unknown)}")
        else:
            parts.append(f"None of the {len(statuses)} SLOs can be judged from this data")
    else:
        parts.append("No SLO is defined, so nobody can say whether this is good enough")
    ready, rate = whole.measures["instances_ready"], whole.measures["requests_per_second"]
    if ready.value is not None:
        parts.append(f"{ready.value:,.0f} of {ready.n:,} instances are ready")
    if rate.value is not None:
        # A rate that leaves instances out must not pass for that of the whole fleet.
        reach = f" among those that count them ({rate.why})" if rate.why else ""
        parts.append(f"{rate.value:.3g} requests/s{reach}")
    return "; ".join(parts) + "."
