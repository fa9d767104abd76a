"""Does every tenant get its share?

Service of a request is input + 2 x output tokens (both weights can be chosen). A tenant counts only
where it asks for something: who is idle is not starved, and no traffic is neither fair nor unfair.
Definitions and sources stand in `analysis.fairness_measures` and docs/fairness_page.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from analysis import (
    fairness_frames,
    fairness_loading,
    fairness_numbers,
    fairness_tenants,
    fairness_words,
)
from analysis import fairness_measures as measures
from analysis.fairness_courses import Bools, Courses, Floats
from analysis.fairness_options import MOST_SHOWN, Wish, wish
from analysis.gateways import live_bound
from analysis.measure import View
from analysis.sharing import Sharing, unshared
from analysis.slo_model import Slo
from store.queries import fairness as queries
from store.queries import gateways as gateway_queries
from store.queries import slo as slo_queries
from store.queries.scope import Scope
from store.queries.workload import FrameReader
from store.reader import Reader

_VIEW = "fairness"


@dataclass(frozen=True, slots=True)
class Looked:
    """All that was found in a scope, for measures, frames and words.

    Attributes:
        wish: how it was looked at.
        part: the part of the scope whose course over time was computed.
        tenants: as `fairness_tenants.per_tenant` gives.
        courses: over time; None where no request has a size.
        weights: of the tenants of the courses.
        shares: by window; None without courses.
        gap: among tenants that wait; None where waits are not known.
        ratios: service over fair share of each tenant in the windows in which anybody waited.
        difference: windowed difference; None without courses.
        with_refused: the same with what was refused.
        bound: of fair queueing, tokens; None is unknown.
        bound_of: who promises it.
        why_no_bound: why it is unknown.
        judged: attainment by tenant.
        slo: objective that they are judged by.
    """

    wish: Wish
    part: Scope
    tenants: pl.DataFrame
    courses: Courses | None
    weights: Floats
    shares: measures.Shares | None
    gap: measures.Gap | None
    ratios: Floats | None
    difference: Floats | None
    with_refused: Floats | None
    bound: float | None
    bound_of: str
    why_no_bound: str | None
    judged: pl.DataFrame
    slo: Slo | None = None

    @property
    def with_demand(self) -> int:
        """Named tenants that asked for something."""
        asked = zip(self.tenants["tenant"], self.tenants["requests"], strict=True)
        return sum(tenant is not None and requests > 0 for tenant, requests in asked)


def fairness(
    reader: Reader,
    scope: Scope,
    *,
    slos: Sequence[Slo] = (),
    named: Callable[[str], str] = str,
    sharing: Sharing = unshared,
    slo: str = "",
    **options: str,
) -> View:
    """Who got which part of the service, who waited, and whether that was fair.

    Measures: tenants, jain_index, max_min_share, held_back, gap_max_tokens, gap_bound_tokens,
    windowed_difference_mean, _max and _variance, windowed_difference_with_refused_mean,
    attainment_gap_ratio, waiting_tenants_most, refused.
    Frames: `tenants` (columns of `fairness_tenants.TENANTS_SCHEMA`), `service`, `gap`, `windowed`,
    `jain` (columns in `analysis.fairness_frames`). Who suffers from whom is a view of its own,
    `analysis.fairness_interference`.

    Args:
        reader: the store.
        scope: what is asked about.
        slos: definitions; the first with a latency judges tenants unless `slo` names one.
        named: what a tenant is called in the answer.
        sharing: keeps the courses, which findings and interference need as well.
        slo: name of the objective.
        options: texts as of `fairness_options.wish`.

    Raises:
        InputError: an option makes no sense.
    """
    chosen = wish(**options)
    totals, text = fairness_loading.sent(reader, scope, chosen, sharing)
    empty = fairness_loading.why_nobody(reader, scope, totals)
    if empty is not None:
        return View(_VIEW, scope, empty=empty)
    ids = slo_queries.source_ids(reader)
    slo_chosen = fairness_tenants.chosen_slo(reader, scope, slos, slo, ids)
    # Each leaves a processor idle in turns.
    with ThreadPoolExecutor(1) as beside:
        judging = beside.submit(fairness_tenants.attainment, reader, scope, slo_chosen, ids)
        looked = _looked(reader, scope, chosen, totals, sharing)
        looked = replace(looked, wish=chosen, judged=judging.result(), slo=slo_chosen)
    frames = {
        name: fairness_loading.called(frame, named) for name, frame in _frames(looked).items()
    }
    sentences = fairness_words.sentences(looked, frames["tenants"], scope, named)
    sql = dict.fromkeys(("tenants",), text)
    there = {"tenants": looked.tenants["tenant"].drop_nulls().len()}
    numbers = fairness_numbers.numbers(looked)
    return View(_VIEW, scope, numbers, frames, sentences, sql=sql, totals=there)


def in_brief(reader: FrameReader, scope: Scope, sharing: Sharing = unshared) -> View | None:
    """Verdict and measures alone, for findings; None where fewer than two tenants are known.

    An objective is not asked about, and nothing is drawn: this is a part of the work of `fairness`,
    and shared with it.
    """
    chosen = wish()
    totals, _ = fairness_loading.sent(reader, scope, chosen, sharing)
    if totals["tenant"].drop_nulls().n_unique() < 2 or not totals["waits"].sum():
        return None
    looked = _looked(reader, scope, chosen, totals, sharing)
    measured = fairness_numbers.numbers(looked)
    return View(_VIEW, scope, measured, sentences=(fairness_words.verdict(looked, str),))


def _looked(
    reader: FrameReader, scope: Scope, chosen: Wish, totals: pl.DataFrame, sharing: Sharing
) -> Looked:
    """All but who is judged, and but for how many are drawn."""
    usual = replace(chosen, shown=MOST_SHOWN)
    return sharing(
        f"fairness of tenants, {usual}", lambda: _look(reader, scope, usual, totals, sharing)
    )


def _look(
    reader: FrameReader, scope: Scope, chosen: Wish, totals: pl.DataFrame, sharing: Sharing
) -> Looked:
    judged = pl.DataFrame(schema=fairness_tenants.ATTAINMENT_SCHEMA)
    placed = fairness_loading.placed(reader, scope, chosen, totals, sharing)
    courses, tenants = placed.courses, placed.tenants
    told = dict(zip(tenants["tenant"], tenants["told_weight"], strict=True))
    names = courses.tenants if courses is not None else ()
    weights = np.array([chosen.weights.get(name, told[name] or 1.0) for name in names])
    shares = gap = ratios = plain = refused = None
    if courses is not None:
        shares = measures.shares(courses, weights)
        plain = measures.windowed_difference(courses, weights)
        refused = measures.windowed_difference(courses, weights, with_refused=True)
        if totals["waits"].sum():
            gap = measures.gap(courses, weights)
            ratios = measures.fair_ratio(shares, _judged_windows(shares))
    bound, whose, why = _bound(reader, placed.part, chosen, totals, weights)
    tenants = fairness_tenants.timed(tenants, totals)
    return Looked(chosen, placed.part, tenants, courses, weights, shares, gap, ratios, plain,
                  refused, bound, whose, why, judged)  # fmt: skip


def _judged_windows(shares: measures.Shares) -> Bools:
    """Those in which anybody waited; all where nobody ever did."""
    contended = shares.is_contended
    return contended if contended.any() else np.ones_like(contended)


def _bound(
    reader: FrameReader, scope: Scope, chosen: Wish, totals: pl.DataFrame, weights: Floats
) -> tuple[float | None, str, str | None]:
    """The bound for this scope and who promises it, or why it is not known.

    It is that which gateways told, unless weights or batches are supposed that are not theirs.
    """
    if scope.is_live and not chosen.weights and chosen.batch_tokens is None:
        told = live_bound(gateway_queries.gateways(reader), scope, chosen.cost)
        if told is not None:
            return *told, None
    bound, why = _supposed_bound(reader, scope, chosen, totals, weights)
    return bound, fairness_words.FAIR_QUEUEING, why


def _supposed_bound(
    reader: FrameReader, scope: Scope, chosen: Wish, totals: pl.DataFrame, weights: Floats
) -> tuple[float | None, str | None]:
    """The bound that VTC would keep on this fleet, or why it is not known."""
    longest = totals["longest_input"].max()
    batch = chosen.batch_tokens
    if batch is None and scope.is_live:
        told = queries.cache_tokens(reader, scope)["cache_tokens"].drop_nulls()
        batch = float(told.sum()) if told.len() else None
    if batch is None:
        return None, "no engine tells how many tokens its cache holds; say it with batch_tokens"
    if not isinstance(longest, float) or not len(weights):
        return None, "no request tells its length"
    cost = chosen.cost
    bound = measures.bound_tokens(cost.input_weight, cost.output_weight, longest, batch)
    return bound / float(weights.min()), None


def _frames(looked: Looked) -> dict[str, pl.DataFrame]:
    made = {
        "service": pl.DataFrame(schema=fairness_frames.SERVICE_SCHEMA),
        "gap": pl.DataFrame(schema=fairness_frames.GAP_SCHEMA),
        "windowed": pl.DataFrame(schema=fairness_frames.DIFFERENCE_SCHEMA),
        "jain": pl.DataFrame(schema=fairness_frames.JAIN_SCHEMA),
    }
    if looked.courses is not None:
        made |= fairness_frames.over_time(looked.courses, looked)
    made["tenants"] = fairness_tenants.table(
        looked.tenants, looked.courses, looked.weights, looked.ratios, looked.judged
    )
    return made
