"""The pictures of fairness over time as tables: service, gap, difference and Jain's index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis import fairness_measures as measures
from analysis.fairness_courses import Courses, Floats
from analysis.fairness_measures import Gap, Shares
from store.queries.scope import Scope
from store.queries.workload import naive

if TYPE_CHECKING:
    from analysis.fairness import Looked

Times = npt.NDArray[np.datetime64]

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


def over_time(courses: Courses, looked: Looked) -> dict[str, pl.DataFrame]:
    """What of service, gap, Jain's index and difference is known."""
    part, shares, found = looked.part, looked.shares, looked.gap
    shown, waits_known = looked.wish.shown, found is not None
    frames = {"service": service(courses, part, shown, waits_known=waits_known)}
    if found is not None and shares is not None:
        frames["gap"] = gap(courses, part, found, looked.bound)
        frames["jain"] = jain(courses, part, shares)
    if looked.difference is not None and looked.with_refused is not None:
        frames["windowed"] = difference(courses, part, looked.difference, looked.with_refused)
    return frames


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
    if not parts:
        return pl.DataFrame(schema=SERVICE_SCHEMA)
    names, got, wanted, line = zip(*parts, strict=True)
    everybody, unknown = np.tile(total, len(parts)), np.full(len(at), np.nan)
    rates = np.concatenate(got)
    columns = {
        "at": np.tile(at, len(parts)),
        "tenant": np.repeat(names, len(at)),
        "service_tokens_per_second": rates,
        "service_share_ratio": np.divide(
            rates, everybody, out=np.full(rates.size, np.nan), where=everybody > 0
        ),
        "asked_tokens_per_second": np.concatenate(
            [unknown if each is None else each for each in wanted]
        ),
        "requests_waiting": np.concatenate(line).astype(np.int64) if waits_known else None,
    }
    return pl.DataFrame(columns, schema=SERVICE_SCHEMA, nan_to_null=True)


def gap(courses: Courses, scope: Scope, found: Gap, bound: float | None) -> pl.DataFrame:
    """The largest gap in each part of the picture, with who was ahead of whom."""
    step = stride(courses)
    tops = _largest(found.tokens, step)
    # Where nobody waits together with another, there is no gap: not 0.
    known = tops >= 0
    values = np.where(known, found.tokens[tops], np.nan)
    unknown = [None] * len(tops)
    breaches = (
        unknown
        if bound is None
        else [
            value > bound if told else None
            for value, told in zip(values.tolist(), known.tolist(), strict=True)
        ]
    )
    names = np.array([*courses.tenants, None], dtype=object)
    ahead, behind = (
        names[np.where(known, side[tops], -1).astype(np.int64)].tolist()
        for side in (found.ahead, found.behind)
    )
    columns = {
        "at": _times(courses, scope, step),
        "gap_tokens": values,
        "bound_tokens": [bound] * len(tops),
        "is_breach": breaches,
        "ahead": ahead,
        "behind": behind,
        "tenants_waiting": _stretches(found.waiting, step, 0.0).max(axis=1).astype(np.int64),
    }
    return pl.DataFrame(columns, schema=GAP_SCHEMA, nan_to_null=True)


def difference(courses: Courses, scope: Scope, plain: Floats, with_refused: Floats) -> pl.DataFrame:
    """The windowed difference at the middle of each window."""
    step = stride(courses)
    middles = np.arange(0, plain.size, step) + courses.window_bins / 2
    return pl.DataFrame(
        {
            "at": _at(scope, middles * courses.width_seconds),
            "difference_tokens_per_second": plain[::step],
            "with_refused_tokens_per_second": with_refused[::step],
        },
        schema=DIFFERENCE_SCHEMA,
        nan_to_null=True,
    )


def jain(courses: Courses, scope: Scope, found: Shares) -> pl.DataFrame:
    """Jain's index by window, at its beginning, with how many tenants it is about."""
    values = measures.jain_by_window(found)
    step = max(1, -(-len(values) // MOST_POINTS))
    return pl.DataFrame(
        {
            "at": _at(scope, np.arange(0, len(values), step) * courses.window_seconds),
            "jain_index": values[::step],
            "tenants_with_demand": found.has_demand.sum(axis=0)[::step],
            "is_contended": found.is_contended[::step],
        },
        schema=JAIN_SCHEMA,
    )


def _largest(values: Floats, step: int) -> npt.NDArray[np.int64]:
    """Place of the largest known value in each stretch of so many; -1 where none is known."""
    parts = _stretches(np.where(np.isnan(values), -np.inf, values), step, -np.inf)
    inside, numbers = parts.argmax(axis=1), np.arange(len(parts))
    return np.where(parts[numbers, inside] > -np.inf, numbers * step + inside, -1)


def _stretches(values: Floats, step: int, beyond: float) -> Floats:
    """One row for each stretch of so many values; the last is filled up with `beyond`."""
    filled: Floats = np.pad(values, (0, -len(values) % step), constant_values=beyond)
    return filled.reshape(-1, step)


def _steps(course: Floats, step: int) -> Floats:
    points = course[:, ::step]
    found: Floats = points[:, 1:] - points[:, :-1]
    return found


def _times(courses: Courses, scope: Scope, step: int) -> Times:
    return _at(scope, np.arange(0, courses.edges, step) * courses.width_seconds)


def _at(scope: Scope, seconds: npt.NDArray[np.floating[Any]]) -> Times:
    past = np.rint(seconds * 1e6).astype("timedelta64[us]")
    found: Times = np.datetime64(naive(scope.start), "us") + past
    return found
