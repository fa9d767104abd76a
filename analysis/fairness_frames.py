"""The pictures of fairness over time as tables: service, gap, difference and Jain's index."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl

from analysis import fairness_measures as measures
from analysis.fairness_courses import Courses, Floats
from analysis.fairness_measures import Gap, Shares
from store.queries.scope import Scope
from store.queries.workload import naive

MOST_POINTS = 300
OTHERS = "others"
SERVICE_SCHEMA: dict[str, Any] = {
    "at": pl.Datetime("us"),
    "tenant": pl.String,
    "service_tokens_per_second": pl.Float64,
    "service_share_ratio": pl.Float64,
    "asked_tokens_per_second": pl.Float64,
    "requests_waiting": pl.Int64,
}
GAP_SCHEMA: dict[str, Any] = {
    "at": pl.Datetime("us"),
    "gap_tokens": pl.Float64,
    "bound_tokens": pl.Float64,
    "is_breach": pl.Boolean,
    "ahead": pl.String,
    "behind": pl.String,
    "tenants_waiting": pl.Int64,
}
DIFFERENCE_SCHEMA: dict[str, Any] = {
    "at": pl.Datetime("us"),
    "difference_tokens_per_second": pl.Float64,
    "with_refused_tokens_per_second": pl.Float64,
}
JAIN_SCHEMA: dict[str, Any] = {
    "at": pl.Datetime("us"),
    "jain_index": pl.Float64,
    "tenants_with_demand": pl.Int64,
    "is_contended": pl.Boolean,
}


def stride(courses: Courses) -> int:
    """Bins a point of a picture stands for."""
    return max(1, -(-(courses.edges - 1) // MOST_POINTS))


def service(courses: Courses, scope: Scope, shown: int, *, waits_known: bool) -> pl.DataFrame:
    """Service, demand and waiting requests by time: the largest tenants, and all others as one.

    Args:
        courses: of the tenants.
        scope: for the times.
        shown: tenants with rows of their own.
        waits_known: whether it is known who waited.
    """
    step = stride(courses)
    at = _times(courses, scope, step)[:-1]
    seconds = step * courses.width_seconds
    order = np.argsort(-courses.service[:, -1], kind="stable")
    given = _steps(courses.service, step) / seconds
    asked = _steps(courses.asked, step) / seconds
    waiting = courses.waiting[:, ::step][:, 1:]
    rest = order[shown:]
    parts = [(courses.tenants[one], given[one], asked[one], waiting[one]) for one in order[:shown]]
    beyond = _steps(courses.others[None, :], step)[0] / seconds
    if len(rest) or beyond.any():
        parts.append((OTHERS, given[rest].sum(axis=0) + beyond, None, waiting[rest].sum(axis=0)))
    total = given.sum(axis=0) + beyond
    frames = []
    for name, got, wanted, line in parts:
        share = np.divide(got, total, out=np.full(len(got), np.nan), where=total > 0)
        frames.append(
            pl.DataFrame(
                {
                    "at": at,
                    "tenant": [name] * len(at),
                    "service_tokens_per_second": got,
                    "service_share_ratio": share,
                    "asked_tokens_per_second": [None] * len(at) if wanted is None else wanted,
                    "requests_waiting": line.astype(np.int64) if waits_known else [None] * len(at),
                },
                schema=SERVICE_SCHEMA,
            )
        )
    found = pl.concat(frames) if frames else pl.DataFrame(schema=SERVICE_SCHEMA)
    return found.with_columns(pl.col("service_share_ratio").fill_nan(None))


def gap(courses: Courses, scope: Scope, found: Gap, bound: float | None) -> pl.DataFrame:
    """The largest gap in each part of the picture, with who was ahead of whom."""
    step = stride(courses)
    edges = np.arange(0, courses.edges, step)
    tops = [_largest(found.tokens[k : k + step], int(k)) for k in edges]
    at = _times(courses, scope, step)
    rows = []
    for place, top in enumerate(tops):
        # Where nobody waits together with another, there is no gap: not 0.
        value = None if top is None else float(found.tokens[top])
        names = [None, None] if top is None else [_name(courses, found.ahead[top]),
                                                  _name(courses, found.behind[top])]  # fmt: skip
        breach = None if value is None or bound is None else value > bound
        waiting = int(found.waiting[edges[place] : edges[place] + step].max())
        rows.append((at[place], value, bound, breach, *names, waiting))
    return pl.DataFrame(rows, schema=GAP_SCHEMA, orient="row")


def difference(courses: Courses, scope: Scope, plain: Floats, with_refused: Floats) -> pl.DataFrame:
    """The windowed difference at the middle of each window."""
    step = stride(courses)
    middle = courses.window_bins / 2
    at = [_at(scope, (k + middle) * courses.width_seconds) for k in range(0, plain.size, step)]
    return pl.DataFrame(
        {
            "at": at,
            "difference_tokens_per_second": plain[::step],
            "with_refused_tokens_per_second": with_refused[::step],
        },
        schema=DIFFERENCE_SCHEMA,
    ).with_columns(pl.col(pl.Float64).fill_nan(None))


def jain(courses: Courses, scope: Scope, found: Shares) -> pl.DataFrame:
    """Jain's index by window, at its beginning, with how many tenants it is about."""
    values = measures.jain_by_window(found)
    at = [_at(scope, k * courses.window_seconds) for k in range(len(values))]
    made = pl.DataFrame(
        {
            "at": at,
            "jain_index": values,
            "tenants_with_demand": found.has_demand.sum(axis=0),
            "is_contended": found.is_contended,
        },
        schema=JAIN_SCHEMA,
    )
    step = max(1, -(-made.height // MOST_POINTS))
    return made.gather_every(step)


def _largest(values: Floats, offset: int) -> int | None:
    if np.isnan(values).all():
        return None
    return offset + int(np.nanargmax(values))


def _name(courses: Courses, place: float) -> str | None:
    return None if place < 0 else courses.tenants[int(place)]


def _steps(course: Floats, step: int) -> Floats:
    points = course[:, ::step]
    found: Floats = points[:, 1:] - points[:, :-1]
    return found


def _times(courses: Courses, scope: Scope, step: int) -> list[Any]:
    return [_at(scope, k * courses.width_seconds) for k in range(0, courses.edges, step)]


def _at(scope: Scope, seconds: float) -> Any:
    return naive(scope.start) + timedelta(seconds=seconds)
