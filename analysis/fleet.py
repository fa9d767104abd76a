"""Is the fleet healthy now, and if not, where do I look?"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import polars as pl

from analysis import plain_sql
from analysis.emptiness import why_empty
from analysis.fleet_courses import READY_SCHEMA, budget_line, ready_line
from analysis.fleet_live import from_scrapes
from analysis.fleet_part import FleetPart, join, sparkline_width_seconds
from analysis.fleet_replicas import replicas
from analysis.fleet_rows import from_rows
from analysis.fleet_scraped import Scraped, scraped_in
from analysis.instances import OUTLIER_SCORE
from analysis.measure import Measure, View
from analysis.sharing import Sharing, unshared
from analysis.slo import SloStatus
from analysis.slo_counting import applicable
from analysis.slo_model import Slo
from analysis.timeline import timeline
from analysis.verdict import Causes, Verdict, healthy_words, judge
from store.queries import slo as slo_queries
from store.queries.scope import Scope
from store.reader import Reader


def fleet(
    reader: Reader, scope: Scope, *, slos: Sequence[Slo], sharing: Sharing = unshared
) -> View:
    """The whole fleet of a scope in one view.

    Measures: requests_per_second, input_tokens_per_second, output_tokens_per_second, error_ratio
    and its parts failed_ratio (5xx), refused_ratio (429), aborted_ratio (by the client),
    ttft_p95_seconds, tpot_p95_seconds, requests_waiting, requests_running,
    lowest_budget_left_ratio, objectives_in_trouble (to be looked at), instances_ready,
    replicas_starting, replicas_target (asked for by the controller). From request
    rows where there are any, else from the engines' metrics; p95 from buckets is an interval
    without a value.

    Frames: `sparklines`, `instances`; columns in `analysis.fleet_part`; `budget_line`,
    `ready_line` (courses of two tiles; columns in `analysis.fleet_courses`); `events` (at, kind,
    text; the newest first). Its models are a view of their own (`fleet_models`).
    `contributors` and `phases`, what the verdict stands on: columns in `analysis.verdict`; no rows
    while nothing is in trouble.
    """
    seen = look(reader, scope, slos, sharing)
    whole = seen.whole
    statuses = [one.status for one in seen.verdict.judged]
    measures = {
        **whole.measures,
        "lowest_budget_left_ratio": lowest_budget(statuses),
        "objectives_in_trouble": in_trouble(seen.verdict),
    }
    causes = seen.verdict.causes or Causes(scope.start)
    return View(
        "fleet",
        scope,
        measures,
        {
            "sparklines": whole.sparklines,
            "instances": whole.instances,
            "budget_line": budget_line(seen.verdict.judged),
            "ready_line": seen.ready_line,
            "events": timeline(reader, scope, sharing).reverse(),
            "contributors": causes.spent,
            "phases": causes.phases,
        },
        seen.sentences,
        why_empty(reader, scope) if seen.is_silent else None,
        _plain_sql(scope) if seen.has_rows else whole.sql,
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """The fleet of a scope as the Fleet page and `servescope why` see it.

    Attributes:
        verdict: of the objectives.
        whole: numbers and tables.
        sentences: the verdict first.
        scraped: what its engines told; None where none is connected.
        ready_line: columns of `fleet_courses.READY_SCHEMA`.
        has_rows: whether request rows tell of it.
    """

    verdict: Verdict
    whole: FleetPart
    sentences: tuple[str, ...]
    scraped: Scraped | None
    ready_line: pl.DataFrame
    has_rows: bool

    @property
    def is_silent(self) -> bool:
        """Whether nothing tells of it."""
        return self.scraped is None and not self.has_rows


def look(reader: Reader, scope: Scope, slos: Sequence[Slo], sharing: Sharing = unshared) -> Seen:
    """Everything that the verdict on a fleet goes by."""
    ids = slo_queries.source_ids(reader)
    chosen = applicable(reader, slos, scope, ids)
    width = sparkline_width_seconds(scope)
    # The objectives are counted beside the rest: each leaves a processor idle in turns.
    with ThreadPoolExecutor(1) as beside:
        judging = beside.submit(judge, reader, scope, chosen, ids)
        rows = from_rows(reader, scope, width)
        scraped = scraped_in(reader, scope, width, sharing)
        live, ready = FleetPart(), pl.DataFrame(schema=READY_SCHEMA)
        if scraped is not None:
            live = from_scrapes(scraped, scope, width)
            ready = ready_line(reader, scope, width)
        whole = join(rows or FleetPart(), live)
        wanted = replicas(reader, scope, whole.instances)
        whole = replace(whole, measures={**whole.measures, **wanted})
        found = judging.result()
    told = tuple(_sentences(found, whole, scope))
    return Seen(found, whole, told, scraped, ready, rows is not None)


def _plain_sql(scope: Scope) -> dict[str, str]:
    return {"sparklines": plain_sql.time_bins(scope, sparkline_width_seconds(scope))}


def lowest_budget(statuses: Sequence[SloStatus]) -> Measure:
    """The least of what is left of any objective's budget."""
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


def in_trouble(found: Verdict) -> Measure:
    """How many objectives somebody should look at."""
    if not found.judged:
        return Measure(None, "objectives", why="no SLO is defined")
    troubled = sum(one.is_trouble for one in found.judged)
    return Measure(float(troubled), "objectives", n=len(found.judged))


def _sentences(found: Verdict, whole: FleetPart, scope: Scope) -> list[str]:
    """The verdict first: the worst SLO, else the worst instance, else what is known to be well."""
    sentences = found.sentences(scope) + _instance_sentences(whole.instances)
    return sentences or [_well(found, whole)]


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


def _well(found: Verdict, whole: FleetPart) -> str:
    parts = healthy_words([one.status for one in found.judged])
    ready, rate = whole.measures["instances_ready"], whole.measures["requests_per_second"]
    if ready.value is not None:
        parts.append(f"{ready.value:,.0f} of {ready.n:,} instances are ready")
    if rate.value is not None:
        # A rate that leaves instances out must not pass for that of the whole fleet.
        reach = f" among those that count them ({rate.why})" if rate.why else ""
        parts.append(f"{rate.value:.3g} requests/s{reach}")
    return "; ".join(parts) + "."
