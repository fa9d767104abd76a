"""Fairness in single numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from analysis import fairness_measures as measures
from analysis import fairness_words
from analysis.fairness_tenants import FEWEST_EVENTS
from analysis.measure import Measure

if TYPE_CHECKING:
    from analysis.fairness import Looked

_NO_WAIT = "these records do not tell how long requests waited"
_ONE = "needs two tenants with demand"


def numbers(looked: Looked) -> dict[str, Measure]:
    """The measures of the view; what is not known says why."""
    count = looked.with_demand
    no_wait = _NO_WAIT if looked.gap is None else None
    one = _ONE if count < 2 else None
    ratios = looked.ratios if looked.ratios is not None else np.empty(0)
    known = int((~np.isnan(ratios)).sum())
    found = {
        "tenants": Measure(count, "", n=int(looked.tenants["requests"].sum())),
        "jain_index": _measure(measures.jain(ratios), "", known, one or no_wait or _ONE),
        "max_min_share": _measure(measures.max_min(ratios), "", known, one or no_wait or _ONE),
        "held_back": _held_back(looked, one or no_wait),
        "gap_max_tokens": _gap_measure(looked, one or no_wait),
        "gap_bound_tokens": Measure(looked.bound, "tokens", why=looked.why_no_bound),
        "attainment_gap_ratio": _attainment_gap(looked),
        "refused": Measure(float(looked.tenants["refused"].sum()), "requests"),
    }
    return found | _difference_measures(looked, one)


def _measure(value: float | None, unit: str, n: int | None, why: str) -> Measure:
    return Measure(value, unit, n=n if value is not None else None,
                   why=why if value is None else None)  # fmt: skip


def _held_back(looked: Looked, why: str | None) -> Measure:
    """Tenants that got clearly less than their share while another got clearly more."""
    if why is not None or looked.ratios is None:
        return Measure(None, "", why=why or _ONE)
    pair = fairness_words.unfair_pair(looked)
    count = int((looked.ratios <= fairness_words.HELD_BACK).sum()) if pair else 0
    return Measure(float(count), "")


def _gap_measure(looked: Looked, why: str | None) -> Measure:
    if why is not None or looked.gap is None or np.isnan(looked.gap.tokens).all():
        return Measure(None, "tokens", why=why or "no two tenants waited at the same time")
    return Measure(float(np.nanmax(looked.gap.tokens)), "tokens")


def _difference_measures(looked: Looked, one: str | None) -> dict[str, Measure]:
    made = {}
    names = (
        ("mean", np.nanmean), ("max", np.nanmax), ("variance", np.nanvar),
    )  # fmt: skip
    plain, refused = looked.difference, looked.with_refused
    for name, how in names:
        is_known = one is None and plain is not None and bool((~np.isnan(plain)).any())
        value = float(how(plain)) if is_known and plain is not None else None
        unit = "" if name == "variance" else "tokens/s"
        made[f"windowed_difference_{name}"] = Measure(
            value, unit, why=None if is_known else one or "no request tells its length"
        )
    value = made["windowed_difference_mean"].value
    if value is not None and refused is not None:
        value = float(np.nanmean(refused))
    made["windowed_difference_with_refused_mean"] = replace(
        made["windowed_difference_mean"], value=value
    )
    return made


def _attainment_gap(looked: Looked) -> Measure:
    """Best less worst attainment, of tenants with events enough."""
    if looked.slo is None:
        return Measure(None, "ratio", why="no SLO is about these sources")
    sure = looked.judged.filter(pl.col("judged") >= FEWEST_EVENTS)
    if sure.height < 2:
        least = FEWEST_EVENTS
        return Measure(None, "ratio", why=f"fewer than two tenants have {least} requests")
    ends = sure.sort("attainment_ratio").select(
        "attainment_ratio", "attainment_low", "attainment_high"
    )
    best, worst = ends.row(-1), ends.row(0)
    low, high = measures.difference_interval(best, worst)
    fewest = sure["judged"].min()
    return Measure(best[0] - worst[0], "ratio", low, high,
                   int(fewest) if isinstance(fewest, int) else None)  # fmt: skip
