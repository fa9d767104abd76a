"""What is worth knowing first: ranked sentences, each with the numbers behind it.

A finding is drawn from the workload views alone, so it can never say another number than the page
it points to. Its score says how far the thing lies from what a plan would assume, in doublings:
one more point is twice as far. Rules and their thresholds are in `analysis.workload.finding_rules`
and `analysis.workload.contrast_rules`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import polars as pl

from analysis.fairness import in_brief
from analysis.measure import View
from analysis.remembering import Remembering
from analysis.sharing import Sharing, unshared
from analysis.workload import contrast_rules, views
from analysis.workload import finding_rules as rules
from analysis.workload.arrival_view import arrivals_view
from analysis.workload.burst_view import burstiness_view
from analysis.workload.client_view import clients_view
from analysis.workload.failure_view import failures_view
from analysis.workload.finding_rules import Facts, Finding
from analysis.workload.length_view import lengths_view, load_lengths
from analysis.workload.loading import NotingReader, members, why_empty
from analysis.workload.streams import load_streams
from store.queries import workload as queries
from store.queries.scope import Scope

_VIEW = "workload_findings"
FINDINGS_SCHEMA = {
    "rank": pl.Int64,
    "score": pl.Float64,
    "subject": pl.String,
    "sentence": pl.String,
    "evidence": pl.String,
    "command": pl.String,
    "topics": pl.String,
}
FACTS = (
    "workload_arrivals",
    "workload_burstiness",
    "workload_lengths",
    "workload_clients",
    "workload_sessions",
    "workload_prefix",
    "workload_failures",
)
"""The views that findings are made of."""
RULES: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    contrast_rules.contrasts,
    rules.burstiness,
    rules.coarse_clocks,
    rules.gap_shapes,
    rules.holes,
    rules.lengths,
    rules.failures,
    rules.skew,
    rules.unfairness,
    rules.prefix_reuse,
    rules.daily_peaks,
    rules.growing_context,
)


def workload_findings(
    reader: queries.FrameReader, scope: Scope, *, sharing: Sharing = unshared
) -> View:
    """What is worth knowing about a workload first, best first."""
    return findings_view(reader, scope, gather(reader, scope, with_charts=False, sharing=sharing))


def gather(
    reader: queries.FrameReader,
    scope: Scope,
    *,
    with_charts: bool = True,
    sharing: Sharing = unshared,
) -> dict[str, View]:
    """Every workload view of a scope: all a finding may use.

    Each leaves a processor idle in turns, so they are made two at a time, the longest first.

    Args:
        reader: the store; asked from two threads at once.
        scope: what it is about.
        with_charts: False leaves out frames that no finding looks at.
        sharing: keeps what the view `fairness` needs as well.
    """
    reader = Remembering(reader)  # the views share their scan of the sums
    with ThreadPoolExecutor(2) as two:
        shared = two.submit(in_brief, reader, scope, sharing)
        parts = [
            two.submit(make, reader, scope, with_charts=with_charts)
            for make in (_arrivals, _sizes, _others)
        ]
        found = {view.name: view for part in parts for view in part.result()}
        between = shared.result()
    facts = {name: found[name] for name in FACTS}
    # Between one tenant there is nothing to be fair about.
    return facts if between is None else facts | {between.name: between}


def _others(reader: queries.FrameReader, scope: Scope, *, with_charts: bool) -> list[View]:
    return [
        clients_view(reader, scope, with_charts=with_charts),
        views.workload_sessions(reader, scope),
        views.workload_prefix(reader, scope),
    ]


def _sizes(reader: queries.FrameReader, scope: Scope, *, with_charts: bool) -> list[View]:
    noting = NotingReader(reader)
    sources = members(noting, scope)
    counted = load_lengths(noting, scope, sources)
    return [
        lengths_view(noting, scope, sources, counted, with_charts=with_charts),
        failures_view(reader, scope, with_times=with_charts),
    ]


def _arrivals(reader: queries.FrameReader, scope: Scope, *, with_charts: bool) -> list[View]:
    """Two views of one load."""
    noting = NotingReader(reader)
    sources = members(noting, scope)
    streams = load_streams(noting, scope, sources, with_charts=with_charts)
    # The last query so far is the one behind both: neither asks another while there are streams.
    return [
        arrivals_view(noting, scope, sources, streams, with_charts=with_charts),
        burstiness_view(noting, scope, sources, streams),
    ]


def findings_view(reader: queries.FrameReader, scope: Scope, facts: Facts) -> View:
    """The findings of views that are already there.

    Args:
        reader: the store; used only to say why there is nothing.
        scope: what the views are about.
        facts: as `gather` gives.
    """
    found = find(facts)
    rows = [
        {"rank": rank, **asdict(one), "topics": ", ".join(one.topics)}
        for rank, one in enumerate(found, start=1)
    ]
    frame = pl.DataFrame(rows, schema=FINDINGS_SCHEMA)
    empty = None
    if all(view.empty is not None for view in facts.values()):
        empty = why_empty(reader, scope, members(reader, scope))
    sentences = tuple(one.sentence for one in found)
    return View(_VIEW, scope, frames={"findings": frame}, sentences=sentences, empty=empty)


def find(facts: Facts) -> list[Finding]:
    """Apply every rule; the largest score first, ties by sentence."""
    found = [finding for rule in RULES for finding in rule(facts)]
    return sorted(found, key=lambda one: (-one.score, one.sentence))
