"""The verdict in one sentence."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import polars as pl

from analysis.anatomy_phases import NAMES
from analysis.slo_model import short_window
from analysis.slo_views import called
from analysis.workload.words import time_text
from store.queries.scope import Scope

if TYPE_CHECKING:
    from analysis.verdict import Causes, Judged

# Below this share of the bad requests their ends do not explain the rest.
_MOSTLY = 0.5


def sentence(worst: Judged, causes: Causes, scope: Scope) -> str:
    """What is worst, since when, who its bad requests are, and what takes too long in them."""
    parts = [_burns(worst, scope), who(worst, causes), what(causes)]
    return "; ".join(part for part in parts if part) + "."


def _burns(worst: Judged, scope: Scope) -> str:
    name, burn = worst.status.slo.name, worst.burning
    if burn.since is not None and burn.long is not None:
        since = f"since {moment(burn.since, scope)}"
        if burn.is_older:
            since = f"for at least {short_window((scope.end - burn.since).total_seconds())}"
        return f"{name} burns at {burn.long:.3g}x {since}"
    window = short_window(burn.long_seconds)
    now = "nothing came" if burn.long is None else f"it burned at {burn.long:.3g}x"
    return f"{name} {_STANDING[worst.status.status]}, {now} in the last {window}"


_STANDING = {
    "exhausted": "has spent its budget",
    "burning": "raises a burn alert",
    "watch": "is to be watched",
}


def who(worst: Judged, causes: Causes) -> str:
    """Who stands out among the bad requests; empty where nobody does."""
    if causes.largest is None:
        if worst.status.basis != "requests":
            return "no model and no instance stands out; tenants and phases need request rows"
        return ""
    row = causes.largest
    return (
        f"{row['bad_share_ratio'] * 100:.0f} % of the bad requests are"  # type: ignore[operator]
        f" {called(str(row['dimension']), str(row['value']))},"
        f" which is {row['traffic_share_ratio'] * 100:.0f} % of the traffic"  # type: ignore[operator]
    )


def what(causes: Causes) -> str:
    """How those requests went bad: how they ended, or the phase that took too long."""
    made = causes.excess
    if made is None or not made.bad:
        return ""
    whose = "them" if causes.largest is not None else "the bad requests"
    for number, word in ((made.refused, "were refused"), (made.failed, "failed")):
        if number >= _MOSTLY * made.bad:
            return f"{number / made.bad * 100:.0f} % of {whose} {word}"
    shares = causes.phases.filter(pl.col("excess_share_ratio").is_not_null())
    if shares.height < 2:
        return ""
    phase, share = shares.row(0, named=True)["phase"], shares["excess_share_ratio"][0]
    whose = "their" if causes.largest is not None else "the bad requests'"
    return f"{share * 100:.0f} % of {whose} excess time is {NAMES[phase]}"


def moment(at: datetime, scope: Scope) -> str:
    """A time of a scope: only its hour on the day of the end, with its zone where it has one."""
    zone = " UTC" if scope.is_live else ""
    if at.date() == scope.end.date() and at.year >= 1990:
        return f"{at:%H:%M}{zone}"
    return f"{time_text(at)}{zone}"
