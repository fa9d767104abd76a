"""Who suffers from whom: how others fared while one tenant had much, and how all did beside alone.

It tells what went together, not what caused what.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from analysis import fairness_loading
from analysis.fairness_alone import ALONE_SCHEMA, over_alone, taken
from analysis.fairness_courses import Courses, Floats
from analysis.fairness_options import wish
from analysis.measure import View
from analysis.sharing import Sharing, unshared
from store.queries.fairness import first_tokens
from store.queries.log_bins import middle_seconds
from store.queries.scope import Scope
from store.queries.workload import FrameReader, naive
from store.reader import Reader
from store.rollup import HOUR_SECONDS

_VIEW = "fairness_interference"
MOST_ROWS = 500
FEWEST_FOR_MEDIAN = 30
MOST_STRETCHES = 120
"""Stretches of time whose first tokens are counted one by one."""
SHARE_EDGES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
INTERFERENCE_SCHEMA: dict[str, Any] = {
    "tenant": pl.String,
    "share_low_ratio": pl.Float64,
    "share_high_ratio": pl.Float64,
    "others_ttft_p50_seconds": pl.Float64,
    "requests": pl.Int64,
    "windows": pl.Int64,
}


@dataclass(frozen=True, slots=True)
class Stretches:
    """Equal parts of a range, one behind the other.

    Attributes:
        scope: from the first to the end of the last.
        width_seconds: of each.
        given: service in each, tokens, (tenants, stretches).
        total: the same of everybody, (stretches,).
    """

    scope: Scope
    width_seconds: float
    given: Floats
    total: Floats


def fairness_interference(
    reader: Reader,
    scope: Scope,
    *,
    named: Callable[[str], str] = str,
    sharing: Sharing = unshared,
    **options: str,
) -> View:
    """How others fared while one tenant had much, and how long all took beside next to nobody.

    Frames: `interference` (columns of `INTERFERENCE_SCHEMA`), `alone` (of `ALONE_SCHEMA`).

    Args:
        reader: the store.
        scope: what is asked about.
        named: what a tenant is called in the answer.
        sharing: keeps the courses, which the view `fairness` needs as well.
        options: texts as of `fairness_options.wish`.

    Raises:
        InputError: an option makes no sense.
    """
    chosen = wish(**options)
    totals, _ = fairness_loading.sent(reader, scope, chosen, sharing)
    empty = fairness_loading.why_nobody(reader, scope, totals)
    if empty is not None:
        return View(_VIEW, scope, empty=empty)
    beside = pl.DataFrame(schema=INTERFERENCE_SCHEMA)
    alone = pl.DataFrame(schema=ALONE_SCHEMA)
    # Each leaves a processor idle in turns.
    with ThreadPoolExecutor(1) as other:
        part = fairness_loading.recent(scope, totals)
        known = other.submit(taken, reader, part)
        courses = fairness_loading.placed(reader, scope, chosen, totals, sharing).courses
        if courses is not None:
            finishing = other.submit(lambda: over_alone(reader, part, courses, known.result()))
            beside = interference(reader, courses, part, chosen.shown)
            alone = finishing.result()
    frames = {"interference": beside, "alone": alone.head(MOST_ROWS)}
    told = {name: fairness_loading.called(frame, named) for name, frame in frames.items()}
    return View(_VIEW, scope, frames=told, totals={"alone": alone.height})


def interference(reader: FrameReader, courses: Courses, scope: Scope, shown: int) -> pl.DataFrame:
    """Others' median first token by the share that each of the largest tenants had meanwhile.

    Medians of fewer than 30 requests are null.

    Returns:
        columns of `INTERFERENCE_SCHEMA`.
    """
    parts = stretches(courses, scope)
    counts, lowest = _counts(reader, parts, courses.tenants)
    served = np.flatnonzero(parts.total > 0)
    everybody = counts.sum(axis=0)
    rows = []
    for one in np.argsort(-parts.given.sum(axis=1), kind="stable")[:shown]:
        share = parts.given[one] / np.maximum(parts.total, 1e-9)
        beside = _beside(everybody - counts[one], lowest, share, served)
        rows += [(courses.tenants[one], *row) for row in beside]
    return pl.DataFrame(rows, schema=INTERFERENCE_SCHEMA, orient="row")


def stretches(courses: Courses, scope: Scope) -> Stretches:
    """The range in `MOST_STRETCHES` parts at most, each of whole windows.

    Where those last an hour or longer, parts are whole hours of the clock, as the roll-up has them:
    half as many more at most. What was given until the edge of an hour is read on the straight line
    between the two edges of bins beside it.
    """
    windows = max((courses.edges - 1) // courses.window_bins, 1)
    step = courses.window_bins * max(1, -(-windows // MOST_STRETCHES))
    edges = np.arange(0, courses.edges, step, dtype=np.float64)
    begin, width = 0.0, step * courses.width_seconds
    if width >= HOUR_SECONDS:
        begin = _until_hour(scope)
        ends = (courses.edges - 1) * courses.width_seconds
        hours = (ends - begin) // HOUR_SECONDS
        width = HOUR_SECONDS * max(1, round(hours / MOST_STRETCHES))
        edges = np.arange(begin, ends + 1e-6, width) / courses.width_seconds
    course = np.vstack([courses.service, courses.others])
    at = np.arange(courses.edges)
    given = np.diff([np.interp(edges, at, each) for each in course])
    start = scope.start + timedelta(seconds=begin)
    end = start + timedelta(seconds=width * given.shape[1])
    part = replace(scope, start=start, end=end)
    return Stretches(part, width, given[:-1], given.sum(axis=0))


def _until_hour(scope: Scope) -> float:
    """Seconds from the start of a range to the next full hour."""
    past = (naive(scope.start) - naive(scope.start).min) % timedelta(seconds=HOUR_SECONDS)
    return (timedelta(seconds=HOUR_SECONDS) - past).total_seconds() if past else 0.0


def _counts(reader: FrameReader, parts: Stretches, tenants: tuple[str, ...]) -> tuple[Floats, int]:
    """Requests as (tenants and all others, stretches, logarithmic bins), and the lowest bin."""
    found = first_tokens(reader, parts.scope, list(tenants), parts.width_seconds)
    # Where a width is no whole number of microseconds, a last one may lie behind the last edge.
    found = found.filter(pl.col("bin") < parts.total.size)
    if found.is_empty():
        return np.zeros((len(tenants) + 1, parts.total.size, 1)), 0
    log_bin = found["log_bin"].to_numpy().astype(np.int64)
    lowest = int(log_bin.min())
    shape = (len(tenants) + 1, parts.total.size, int(log_bin.max()) - lowest + 1)
    slot = found["slot"].fill_null(len(tenants)).to_numpy()
    place = (slot * shape[1] + found["bin"].to_numpy()) * shape[2] + log_bin - lowest
    made = np.bincount(place, found["requests"].to_numpy(), math.prod(shape))
    return made.astype(np.float64, copy=False).reshape(shape), lowest


def _beside(
    others: Floats, lowest: int, share: Floats, served: np.ndarray[Any, Any]
) -> Iterator[tuple[float, float, float | None, int, int]]:
    """share_low_ratio, share_high_ratio, others_ttft_p50_seconds, requests, windows.

    Args:
        others: requests of all others, (stretches, logarithmic bins).
        lowest: number of the first of those bins.
        share: of the service, by stretch.
        served: stretches in which anybody was.
    """
    level = np.clip(np.searchsorted(SHARE_EDGES, share, side="right") - 1, 0, len(SHARE_EDGES) - 2)
    for number, (low, high) in enumerate(pairwise(SHARE_EDGES)):
        windows = served[level[served] == number]
        reached = np.cumsum(others[windows].sum(axis=0))
        requests = int(reached[-1])
        if requests:
            middle = lowest + int(np.argmax(reached >= requests / 2 - 1e-9))
            median = middle_seconds(middle) if requests >= FEWEST_FOR_MEDIAN else None
            yield low, high, median, requests, len(windows)
