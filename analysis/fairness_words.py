"""What fairness comes to in sentences, the verdict first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from analysis import fairness_measures as measures
from analysis.workload.words import number_text, time_text
from store.tenant_rollup import FLOW_SECONDS
from store.units import percent_text, seconds_text

if TYPE_CHECKING:
    from analysis.fairness import Looked
    from analysis.fairness_courses import Floats
    from store.queries.scope import Scope

# A fifth less than fair, next to a quarter more: smaller differences pass with single requests.
HELD_BACK, FAVOURED = 0.8, 1.25
FEWEST_WINDOWS = 2
CLEAR_ATTAINMENT_GAP = 0.05
FAIR_QUEUEING = "fair queueing (VTC)"
"""Whose bound it is where no gateway told one."""

Named = Callable[[str], str]


def sentences(looked: Looked, tenants: pl.DataFrame, scope: Scope, named: Named) -> tuple[str, ...]:
    """The verdict, and what else is to be known.

    Args:
        looked: what was found.
        tenants: the table of tenants, by the names that are shown.
        scope: what was asked about.
        named: what a tenant is called.
    """
    lines = [verdict(looked, named), *_bound(looked, named), *_refused(tenants),
             *_attainment(looked, named), *_nobody(looked), *_limits(looked, scope)]  # fmt: skip
    return tuple(line for line in lines if line)


def verdict(looked: Looked, named: Named) -> str:
    """Whether anybody was held back while another got more than its share."""
    count = looked.with_demand
    if count == 1:
        only = looked.tenants["tenant"].drop_nulls()[0]
        return f"Only one tenant is known, {named(only)}: there is nobody to share with."
    if looked.courses is None:
        return f"{count} tenants asked; no request tells its length, so nothing can be compared."
    if looked.gap is None or looked.ratios is None or looked.shares is None:
        return (
            f"{count} tenants asked; these records do not tell how long requests waited, so whether"
            " anybody was held back is not known."
        )
    if not looked.shares.is_contended.any():
        return f"No unfairness found among {count} tenants with demand: nobody had to wait."
    return _contended(looked, looked.ratios, named) or _even(looked, looked.ratios)


def _even(looked: Looked, ratios: Floats) -> str:
    """Nobody was held back beyond doubt; but two may have been farther apart than promised."""
    count, each = looked.with_demand, _range(ratios)
    found, bound = looked.gap, looked.bound
    if found is not None and bound is not None and (np.nan_to_num(found.tokens) > bound).any():
        return (
            f"Two tenants that waited came farther apart than the bound; beyond that none of"
            f" {count} with demand was clearly held back{each}."
        )
    return f"No unfairness found among {count} tenants with demand{each}."


def unfair_pair(looked: Looked) -> tuple[int, int] | None:
    """Places of who was favoured most and who was held back most, where that is beyond doubt."""
    ratios, shares = looked.ratios, looked.shares
    if ratios is None or shares is None or int(shares.is_contended.sum()) < FEWEST_WINDOWS:
        return None
    known = ~np.isnan(ratios)
    if known.sum() < 2:
        return None
    top, bottom = int(np.nanargmax(ratios)), int(np.nanargmin(ratios))
    return (top, bottom) if ratios[bottom] <= HELD_BACK and ratios[top] >= FAVOURED else None


def _contended(looked: Looked, ratios: Floats, named: Named) -> str | None:
    pair = unfair_pair(looked)
    if pair is None or looked.courses is None or looked.shares is None:
        return None
    ahead, behind = (named(looked.courses.tenants[place]) for place in pair)
    seconds = float(looked.shares.is_contended.sum()) * looked.courses.window_seconds
    more = int((ratios <= HELD_BACK).sum()) - 1
    also = f" ({more} more were held back)" if more > 0 else ""
    return (
        f"{ahead} got {number_text(ratios[pair[0]])}x its fair share while {behind} waited, which"
        f" got {number_text(ratios[pair[1]])}x{also}, in the {seconds_text(seconds)} in which"
        " anybody waited."
    )


def _range(ratios: Floats) -> str:
    known = ratios[~np.isnan(ratios)]
    if known.size < 2:
        return ""
    low, high = known.min(), known.max()
    return f": each got {number_text(low)}x to {number_text(high)}x its fair share"


def _bound(looked: Looked, named: Named) -> Iterator[str]:
    found = looked.gap
    if found is None or looked.courses is None or np.isnan(found.tokens).all():
        return
    place = int(np.nanargmax(found.tokens))
    ahead, behind = (
        named(looked.courses.tenants[int(side[place])]) for side in (found.ahead, found.behind)
    )
    value = float(found.tokens[place])
    said = f"Among tenants that wait, {ahead} got up to {value:,.0f} tokens ahead of {behind}"
    is_vtc = looked.bound_of == FAIR_QUEUEING
    never, allows = ("never exceeds", "allows") if is_vtc else ("promises", "promises")
    if looked.bound is None:
        yield f"{said}; the bound of fair queueing is not known ({looked.why_no_bound})."
    elif value > looked.bound:
        beyond = float((found.tokens > looked.bound).sum()) * looked.courses.width_seconds
        yield (
            f"{said}, beyond the {looked.bound:,.0f} that {looked.bound_of} {never}, for"
            f" {seconds_text(beyond)}."
        )
    else:
        yield f"{said}, within the {looked.bound:,.0f} that {looked.bound_of} {allows}."


def _refused(tenants: pl.DataFrame) -> Iterator[str]:
    refused, requests = int(tenants["refused"].sum()), int(tenants["requests"].sum())
    if not refused:
        return
    row = tenants.sort("refused", descending=True).row(0, named=True)
    yield (
        f"{refused:,} requests ({percent_text(refused / requests)}) were refused, most of"
        f" {row['tenant']} ({row['refused']:,} of {row['requests']:,}): what is refused is missing"
        " in the difference, so refusing looks fair."
    )


def _attainment(looked: Looked, named: Named) -> Iterator[str]:
    sure = looked.judged.filter(pl.col("judged") >= 30).sort("attainment_ratio")
    if looked.slo is None or sure.height < 2:
        return
    columns = ("attainment_ratio", "attainment_low", "attainment_high")
    worst, best = (sure.row(place, named=True) for place in (0, -1))
    low, _ = measures.difference_interval(
        *(tuple(row[name] for name in columns) for row in (best, worst))
    )
    if low >= CLEAR_ATTAINMENT_GAP:
        yield (
            f"{looked.slo.name}: met for {percent_text(best['attainment_ratio'])} of the requests"
            f" of {named(best['tenant'])}, for {percent_text(worst['attainment_ratio'])} of"
            f" {named(worst['tenant'])}."
        )


def _nobody(looked: Looked) -> Iterator[str]:
    unnamed = looked.tenants.filter(pl.col("tenant").is_null())["requests"].sum()
    if unnamed:
        yield f"{unnamed:,} requests name no tenant; they are load, and in nobody's share."


def _limits(looked: Looked, scope: Scope) -> Iterator[str]:
    courses = looked.courses
    # Any long range is cut to whole bins: that leaves out next to nothing.
    if looked.part.start - scope.start > timedelta(seconds=FLOW_SECONDS):
        yield (
            f"Courses over time and shares are those since {time_text(looked.part.start)}: there"
            " are too many requests for more."
        )
    if courses is None:
        return
    named = looked.tenants["tenant"].drop_nulls().len()
    if named > len(courses.tenants):
        yield (
            f"The {len(courses.tenants)} tenants with the largest demand are compared, of"
            f" {named:,}."
        )
    if abs(courses.window_seconds - looked.wish.window_seconds) > 0.5:
        yield f"Windows are of {seconds_text(courses.window_seconds)} in a range of this length."
