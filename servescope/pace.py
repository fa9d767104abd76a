"""How quick this process is: how long its views take, and how late its event loop comes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import polars as pl

from analysis.measure import Measure
from analysis.server_view import ELSEWHERE, PAGES_SCHEMA
from store.clock import Clock

KEPT_COMPUTATIONS = 256
LAG_EVERY_SECONDS = 0.5
KEPT_LAGS = 600  # five minutes


@dataclass(slots=True)
class _Times:
    """Of one view: answers given, computations, and how long the newest of these took."""

    asked: int = 0
    computed: int = 0
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_COMPUTATIONS))


class AnswerTimes:
    """Counts the answers of every view and times those that had to be computed.

    Safe to use from any thread. One that failed took its time, too.

    Args:
        clock: measures.

    Attributes:
        pages: the views of each page; set by whoever shows pages.
    """

    def __init__(self, clock: Clock) -> None:
        self.pages: Mapping[str, Collection[str]] = {}
        self._clock = clock
        self._lock = Lock()
        self._views: dict[str, _Times] = {}

    def asked(self, view: str) -> None:
        """Somebody wants it, computed or shared."""
        with self._lock:
            self._views.setdefault(view, _Times()).asked += 1

    @contextmanager
    def computing(self, view: str) -> Iterator[None]:
        """Around its computation."""
        began = self._clock.monotonic()
        try:
            yield
        finally:
            seconds = self._clock.monotonic() - began
            with self._lock:
                times = self._views.setdefault(view, _Times())
                times.computed += 1
                times.seconds.append(seconds)

    def shared(self) -> Measure:
        """The share of answers that were there already, or that somebody else waited for."""
        with self._lock:
            asked = sum(times.asked for times in self._views.values())
            computed = sum(times.computed for times in self._views.values())
        if not asked:
            return Measure(None, "ratio", why="nothing was asked yet")
        return Measure(max(0, asked - computed) / asked, "ratio", n=asked)

    def frame(self) -> pl.DataFrame:
        """One row a page that was asked for, the slowest first; see `PAGES_SCHEMA`."""
        with self._lock:
            known = {
                name: (times.asked, times.computed, list(times.seconds))
                for name, times in self._views.items()
            }
        placed = {view for views in self.pages.values() for view in views}
        pages: dict[str, Collection[str]] = {**self.pages, ELSEWHERE: known.keys() - placed}
        rows = [_row(page, {v: known[v] for v in views if v in known})
                for page, views in pages.items()]  # fmt: skip
        found = [row for row in rows if row["answers"]]
        found.sort(key=lambda row: -(row["p95_seconds"] or 0.0))
        return pl.DataFrame(found, schema=PAGES_SCHEMA)


def _row(page: str, views: Mapping[str, tuple[int, int, Sequence[float]]]) -> dict[str, Any]:
    every = [seconds for _, _, kept in views.values() for seconds in kept]
    slowest = max(views, key=lambda view: p95(views[view][2]) or 0.0, default=None)
    return {
        "page": page,
        "answers": sum(asked for asked, _, _ in views.values()),
        "computed": sum(computed for _, computed, _ in views.values()),
        "p95_seconds": p95(every),
        "longest_seconds": max(every, default=None),
        "slowest_view": slowest if every else None,
    }


class LoopLag:
    """How late the event loop comes to what is due: a short sleep that ends later than it should.

    Whoever blocks the loop delays every request; five minutes of it are kept.

    Args:
        clock: sleeps and measures.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seconds: deque[float] = deque(maxlen=KEPT_LAGS)

    async def watch(self) -> None:
        """Measure until cancelled."""
        while True:
            due = self._clock.monotonic() + LAG_EVERY_SECONDS
            await self._clock.sleep(LAG_EVERY_SECONDS)
            self._seconds.append(max(0.0, self._clock.monotonic() - due))

    def measures(self) -> dict[str, Measure]:
        """The 95th of a hundred and the longest, with how often it was looked."""
        kept = list(self._seconds)
        why = None if kept else "only a running server has an event loop"
        return {
            "loop_lag_p95_seconds": Measure(p95(kept), "s", n=len(kept) or None, why=why),
            "loop_lag_longest_seconds": Measure(
                max(kept, default=None), "s", n=len(kept) or None, why=why
            ),
        }


def p95(values: Sequence[float]) -> float | None:
    """The smallest value that at least 95 % of `values` do not exceed; None without values."""
    if not values:
        return None
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]
