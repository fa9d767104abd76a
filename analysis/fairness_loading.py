"""What every view of fairness begins with: what tenants sent, and their courses over time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

import polars as pl

from analysis import fairness_courses
from analysis.emptiness import why_empty
from analysis.fairness_courses import Courses
from analysis.fairness_frames import OTHERS
from analysis.fairness_options import Wish
from analysis.fairness_tenants import ranked
from analysis.measure import Empty
from analysis.sharing import Sharing
from analysis.workload.loading import NotingReader
from store.queries import fairness as queries
from store.queries.scope import Scope
from store.queries.tenant_rows import ROLLED_FROM_SECONDS, first_on_grid
from store.queries.workload import FrameReader
from store.reader import Reader

MOST_TOLD_APART = 64
"""Tenants that are compared over time, those with the largest demand."""
MOST_IN_TIME = 3_000_000
"""Requests whose course over time is computed; of more, the newest part of the range."""
NO_TENANT = (
    "No request names its tenant. Name it by an API key of the gateway, by the header"
    " x-llm-d-inference-fairness-id, or by the field `user` of the request; traces by their column"
    " (servescope import --map tenant=COLUMN)."
)


@dataclass(frozen=True, slots=True)
class Placed:
    """Tenants, and those of them that are told apart in time.

    Attributes:
        part: the part of the scope whose course over time was computed.
        tenants: as `fairness_tenants.ranked` gives.
        courses: over time; None where no request has a size.
    """

    part: Scope
    tenants: pl.DataFrame
    courses: Courses | None


def sent(
    reader: FrameReader, scope: Scope, chosen: Wish, sharing: Sharing
) -> tuple[pl.DataFrame, str]:
    """What each tenant sent, as `store.queries.fairness.tenants` gives, and the query's text."""

    def make() -> tuple[pl.DataFrame, str]:
        noting = NotingReader(reader)
        return queries.tenants(noting, scope, chosen.cost), noting.last_text

    return sharing(f"what tenants sent, {chosen.cost}", make)


def why_nobody(reader: Reader, scope: Scope, totals: pl.DataFrame) -> Empty | None:
    """Why no tenant is known; None where one is."""
    if totals["tenant"].null_count() < totals.height:
        return None
    return why_empty(reader, scope) or Empty("metric_absent", NO_TENANT)


def placed(
    reader: FrameReader, scope: Scope, chosen: Wish, totals: pl.DataFrame, sharing: Sharing
) -> Placed:
    """The courses of those with the largest demand, once for all views that need them.

    Args:
        reader: the store.
        scope: what is asked about.
        chosen: service of a token, and the windows.
        totals: as `sent` gives.
        sharing: keeps them.
    """
    cost, window_seconds = chosen.cost, chosen.window_seconds

    def make() -> Placed:
        part, tenants = recent(scope, totals), ranked(totals)
        sized = tenants.filter(pl.col("tenant").is_not_null() & (pl.col("sized") > 0))
        names = sized["tenant"].head(MOST_TOLD_APART).to_list()
        if not names:
            return Placed(part, tenants, None)
        courses = fairness_courses.load(reader, part, cost, names, window_seconds)
        return Placed(part, tenants, courses)

    return sharing(f"courses of tenants, {cost}, {window_seconds}", make)


def recent(scope: Scope, totals: pl.DataFrame) -> Scope:
    """The newest part of a scope with about as many requests as can be placed in time.

    A long one begins where a bin of the roll-up does, whichever of its numbers come from there.
    """
    requests = int(totals["requests"].sum())
    part = scope
    if requests > MOST_IN_TIME:
        seconds = scope.seconds * MOST_IN_TIME / requests
        part = replace(scope, start=scope.end - timedelta(seconds=seconds))
    return first_on_grid(part) if part.seconds >= ROLLED_FROM_SECONDS else part


def called(frame: pl.DataFrame, named: Callable[[str], str]) -> pl.DataFrame:
    """The frame with tenants as they are to be called."""
    if named is str:
        return frame
    columns = [name for name in ("tenant", "ahead", "behind") if name in frame.columns]
    return frame.with_columns(
        pl.col(name).map_elements(
            lambda value: value if value == OTHERS else named(value), pl.String
        )
        for name in columns
    )
