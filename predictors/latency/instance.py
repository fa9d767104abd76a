"""The state of one engine as a router knows it: who waits, who runs, how far they are.

Fed with what happens (a request is sent, its first token comes, it ends, the engine is scraped),
it gives at any time the row that the latency predictors read. Training rows are made by the same
class (`replay`), so that what was learnt is what will be asked.

Times are seconds of one clock that does not go backwards; an event that lies before the last one
counts as if it came with it.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from predictors.distribution import Floats
from predictors.latency.features import GENERATED, LEFT, REPRESENTATIVES

ARRIVALS_SECONDS, FIRSTS_SECONDS = 10.0, 5.0
# A rate over less than this is noise.
_LEAST_SECONDS = 0.5
# After a longer silence of the scrapes the last pace says little; progress stands still.
_MOST_PACE_SECONDS = 2.0
_PACE_WEIGHT = 0.1
_SHARES = (np.arange(REPRESENTATIVES) + 0.5) / REPRESENTATIVES


@dataclass(frozen=True, slots=True)
class Scrape:
    """What an engine says of itself; None unknown.

    Attributes:
        running: requests in the batch.
        waiting: requests waiting.
        usage_ratio: of the cache.
        capacity_tokens: of the cache.
        running_max: slots.
        step_seconds: length of a step, or running requests over generated tokens a second.
        prompt_tokens_per_second: lately.
    """

    running: float | None = None
    waiting: float | None = None
    usage_ratio: float | None = None
    capacity_tokens: float | None = None
    running_max: float | None = None
    step_seconds: float | None = None
    prompt_tokens_per_second: float | None = None


@dataclass(slots=True)
class _Request:
    sent_at: float
    input_tokens: float
    cached_tokens: float
    limit: float
    started: float = math.nan
    first_at: float = math.nan


class InstanceState:
    """One engine. Not thread-safe: one owner.

    Args:
        labels: `gpu_type`, `engine`, `model`, `instance`, as far as known.
    """

    def __init__(self, labels: dict[str, str | None] | None = None) -> None:
        self._labels = dict(labels or {})
        self._now = self._since = math.nan
        self._waiting: OrderedDict[str, _Request] = OrderedDict()
        self._running: OrderedDict[str, _Request] = OrderedDict()
        self._waiting_tokens = self._running_tokens = 0.0
        self._arrivals: deque[float] = deque()
        self._firsts: deque[float] = deque()
        self._scrape, self._scraped_at = Scrape(), math.nan
        self._last_ttft = math.nan
        # Tokens that a request running all the time would have put out, up to `_paced_at`.
        self._progress, self._paced_at, self._pace = 0.0, math.nan, math.nan
        self._ages: tuple[Floats, Floats] | None = None

    def __len__(self) -> int:
        """Requests that have not ended."""
        return len(self._waiting) + len(self._running)

    def sent(
        self,
        request: str,
        at: float,
        input_tokens: float,
        max_tokens: float | None = None,
        cached_tokens: float = 0.0,
    ) -> None:
        """A request went to the engine."""
        self._moves_to(at)
        self.ended(request, at)
        limit = math.inf if max_tokens is None else float(max_tokens)
        cached = min(cached_tokens, input_tokens)
        self._waiting[request] = _Request(self._now, float(input_tokens), float(cached), limit)
        self._waiting_tokens += input_tokens - cached
        self._arrivals.append(self._now)

    def first_token(self, request: str, at: float) -> None:
        """Its first token came; a request that was never sent is left out."""
        self._moves_to(at)
        found = self._waiting.pop(request, None)
        if found is None:
            return
        self._waiting_tokens -= found.input_tokens - found.cached_tokens
        found.started, found.first_at = self._progress_at(self._now), self._now
        self._running[request] = found
        self._running_tokens += found.input_tokens
        self._last_ttft = self._now - found.sent_at
        self._firsts.append(self._now)
        self._ages = None

    def ended(self, request: str, at: float, output_tokens: float | None = None) -> None:
        """It ended, in whatever way; one that is not known is left out."""
        self._moves_to(at)
        waited = self._waiting.pop(request, None)
        if waited is not None:
            self._waiting_tokens -= waited.input_tokens - waited.cached_tokens
        ran = self._running.pop(request, None)
        if ran is not None:
            self._running_tokens -= ran.input_tokens
            self._ages = None
            self._learn_pace(ran, output_tokens)

    def scraped(self, at: float, scrape: Scrape) -> None:
        """The engine was asked for its gauges."""
        self._moves_to(at)
        step = scrape.step_seconds
        if step is not None and step > 0:
            # The pace that was measured is that of the time before the measurement.
            pace = 1 / max(step, 1e-4)
            self._advance(pace)
        self._scrape, self._scraped_at = scrape, self._now

    def row(
        self,
        at: float,
        input_tokens: float | None,
        max_tokens: float | None = None,
        cached_tokens: float = 0.0,
    ) -> dict[str, Any]:
        """What is known at `at` of a request that would be sent now."""
        self._moves_to(at)
        generated, left = self._representatives()
        count = len(self._running)
        scrape = self._scrape
        oldest = next(iter(self._waiting.values()), None)
        return {
            **self._labels,
            "input_tokens": input_tokens,
            "cached_tokens": cached_tokens,
            "max_tokens": max_tokens,
            "requests_running": float(count),
            "requests_waiting": float(len(self._waiting)),
            "tokens_waiting": self._waiting_tokens,
            "context_tokens": self._running_tokens + count * _mean(generated),
            "requests_running_max": scrape.running_max,
            "kv_cache_usage_ratio": scrape.usage_ratio,
            "kv_cache_capacity_tokens": scrape.capacity_tokens,
            "scraped_running": scrape.running,
            "scraped_waiting": scrape.waiting,
            "scraped_age_seconds": _known(self._now - self._scraped_at),
            "engine_step_seconds": scrape.step_seconds,
            "prompt_tokens_per_second": scrape.prompt_tokens_per_second,
            "oldest_wait_seconds": 0.0 if oldest is None else self._now - oldest.sent_at,
            "last_ttft_seconds": _known(self._last_ttft),
            "arrivals_per_second": self._rate(self._arrivals, ARRIVALS_SECONDS),
            "first_tokens_per_second": self._rate(self._firsts, FIRSTS_SECONDS),
            GENERATED: generated.tolist(),
            LEFT: [None if math.isinf(value) else value for value in left.tolist()],
        }

    def _moves_to(self, at: float) -> None:
        # A clock that jumps back must not make waits negative.
        self._now = at if math.isnan(self._now) else max(self._now, at)
        if math.isnan(self._since):
            self._since = self._paced_at = self._now

    def _representatives(self) -> tuple[Floats, Floats]:
        """Ages and tokens left of some running requests, ages rising."""
        if not self._running:
            return np.zeros(0), np.zeros(0)
        if self._ages is None:
            # Whoever got the first token last has put out least.
            newest = list(reversed(self._running.values()))
            places = (
                (_SHARES * len(newest)).astype(np.int64)
                if len(newest) > REPRESENTATIVES
                else range(len(newest))
            )
            chosen = [newest[place] for place in places]
            self._ages = (
                np.array([request.started for request in chosen]),
                np.array([request.limit for request in chosen]),
            )
        started, limits = self._ages
        generated = np.maximum(self._progress_at(self._now) - started, 0.0)
        return generated, np.maximum(limits - generated, 0.0)

    def _progress_at(self, at: float) -> float:
        if math.isnan(self._pace):
            return self._progress
        return self._progress + self._pace * min(at - self._paced_at, _MOST_PACE_SECONDS)

    def _advance(self, pace: float) -> None:
        passed = min(self._now - self._paced_at, _MOST_PACE_SECONDS)
        self._progress += pace * passed if self._running else 0.0
        self._pace, self._paced_at = pace, self._now

    def _learn_pace(self, request: _Request, output_tokens: float | None) -> None:
        """Where no scrape tells the pace, ended requests do."""
        took = self._now - request.first_at
        if output_tokens is None or output_tokens < 2 or took <= 0 or self._scrape.step_seconds:
            return
        seen = (output_tokens - 1) / took
        pace = seen if math.isnan(self._pace) else self._pace + _PACE_WEIGHT * (seen - self._pace)
        self._progress = self._progress_at(self._now)
        self._pace, self._paced_at = pace, self._now

    def _rate(self, times: deque[float], seconds: float) -> float:
        while times and times[0] <= self._now - seconds:
            times.popleft()
        return len(times) / min(seconds, max(self._now - self._since, _LEAST_SECONDS))


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else 0.0


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
