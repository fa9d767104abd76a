"""What a policy is told: the fleet as it was last seen, with how far that can be trusted.

Zero, missing, stale and partial are different things here: a `Reading` says which it is. A policy
gets nothing else: no clock, no socket, no store. So what it decided can be decided again from the
record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from controller.profile import Profile
from controller.startup import StartupTimes

Role = Literal["whole", "prefill", "decode"]

# Signals of a pool. Rates are over the last scrapes; latencies over requests that ended in them.
REQUESTS_PER_SECOND = "requests_per_second"
REFUSED_PER_SECOND = "refused_per_second"
INPUT_TOKENS_PER_SECOND = "input_tokens_per_second"
OUTPUT_TOKENS_PER_SECOND = "output_tokens_per_second"
REQUESTS_RUNNING = "requests_running"
REQUESTS_WAITING = "requests_waiting"
REQUESTS_HELD = "requests_held"
INPUT_TOKENS = "mean_input_tokens"
OUTPUT_TOKENS = "mean_output_tokens"
PREFIX_HIT_RATIO = "prefix_hit_ratio"
KV_CACHE_USAGE_RATIO = "kv_cache_usage_ratio"
BUSY_RATIO = "busy_ratio"
TTFT_P95_SECONDS = "ttft_p95_seconds"
TPOT_P95_SECONDS = "tpot_p95_seconds"
ATTAINMENT_RATIO = "attainment_ratio"
SIGNALS: Mapping[str, str] = {
    REQUESTS_PER_SECOND: "arrivals at the pool, refused ones too",
    REFUSED_PER_SECOND: "refused or given up",
    INPUT_TOKENS_PER_SECOND: "prompt tokens that arrive",
    OUTPUT_TOKENS_PER_SECOND: "tokens generated",
    REQUESTS_RUNNING: "in the batches of all replicas, summed",
    REQUESTS_WAITING: "in the queues of all replicas, summed",
    REQUESTS_HELD: "before the pool, for want of a ready replica",
    INPUT_TOKENS: "prompt tokens of a request",
    OUTPUT_TOKENS: "output tokens of a request that ended",
    PREFIX_HIT_RATIO: "share of prompt tokens found in prefix caches",
    KV_CACHE_USAGE_RATIO: "mean over replicas",
    BUSY_RATIO: "share of the time in steps, mean over replicas",
    TTFT_P95_SECONDS: "time to first token, 95 % quantile",
    TPOT_P95_SECONDS: "time per output token, 95 % quantile",
    ATTAINMENT_RATIO: "share of the requests that met the objective, refused ones missed it; of a"
    " prefill or decoding pool: that it did its own part of in time",
}


class Grade(StrEnum):
    """How far a reading can be trusted."""

    FRESH = "fresh"
    PARTIAL = "partial"
    STALE = "stale"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Reading:
    """One signal.

    Attributes:
        value: None where it is missing; never a stand-in.
        grade: how far it can be trusted.
        age_seconds: of the newest part; None when nothing was ever read.
        share: of the replicas it was read from, 0 to 1.
    """

    value: float | None
    grade: Grade = Grade.FRESH
    age_seconds: float | None = 0.0
    share: float = 1.0

    @classmethod
    def missing(cls) -> Reading:
        """Nothing was read."""
        return cls(None, Grade.MISSING, None, 0.0)

    @property
    def fresh(self) -> float | None:
        """The value if it is fresh, else None: what most policies go by."""
        return self.value if self.grade is Grade.FRESH else None


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """One replica as last scraped; None is unknown.

    Attributes:
        name: of the instance.
        state: "starting", "ready" or "draining".
        age_seconds: since it was asked for.
        scrape_age_seconds: None when it was never scraped.
        requests_running: in its batch.
        requests_waiting: in its queue.
        kv_cache_usage_ratio: 0 to 1.
        waiting_tokens: prompt tokens in its queue.
        context_tokens: in its cache.
    """

    name: str
    state: Literal["starting", "ready", "draining"]
    age_seconds: float
    scrape_age_seconds: float | None = None
    requests_running: float | None = None
    requests_waiting: float | None = None
    kv_cache_usage_ratio: float | None = None
    waiting_tokens: float | None = None
    context_tokens: float | None = None


@dataclass(frozen=True, slots=True)
class ForecastView:
    """What is expected of one signal at one horizon.

    Attributes:
        signal: as in `SIGNALS`.
        horizon_seconds: ahead of the observation.
        levels: rising, in (0, 1).
        values: rising with them.
        age_seconds: since it was made.
    """

    signal: str
    horizon_seconds: float
    levels: tuple[float, ...]
    values: tuple[float, ...]
    age_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Between what a pool may be scaled.

    Attributes:
        least: replicas.
        most: replicas.
    """

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class PoolView:
    """One pool.

    Attributes:
        name: of the pool.
        target: replicas that were last asked for.
        ready: replicas that serve.
        starting: replicas that were asked for and do not serve yet.
        draining: replicas that take no requests any more.
        limits: of its size.
        signals: by name; one that is not there is missing.
        replicas: each one.
        role: what its replicas do.
        profile: what one replica can do; None unknown.
        startup: how long a start takes; None unknown.
        forecasts: what is expected.
        history: requests a second of each scrape interval before this, oldest first; only told
            to a policy that remembers nothing yet.
    """

    name: str
    target: int
    ready: int
    starting: int
    draining: int
    limits: Limits
    signals: Mapping[str, Reading] = field(default_factory=dict)
    replicas: tuple[ReplicaView, ...] = ()
    role: Role = "whole"
    profile: Profile | None = None
    startup: StartupTimes | None = None
    forecasts: tuple[ForecastView, ...] = ()
    history: tuple[float, ...] = ()

    def reading(self, signal: str) -> Reading:
        """A signal, missing where nobody told it."""
        return self.signals.get(signal) or Reading.missing()

    @property
    def supply(self) -> int:
        """Replicas that serve or will."""
        return self.ready + self.starting


@dataclass(frozen=True, slots=True)
class Objective:
    """When a request counts as good, and how many should.

    Attributes:
        ttft_seconds: at most; None is no bound.
        tpot_seconds: at most; None is no bound.
        attainment_ratio: of the requests.
    """

    ttft_seconds: float | None = 2.0
    tpot_seconds: float | None = 0.1
    attainment_ratio: float = 0.99


@dataclass(frozen=True, slots=True)
class Observation:
    """All a policy knows.

    Attributes:
        at: unix seconds.
        pools: of one fleet.
        objective: of its requests.
        scrape_seconds: how often is scraped.
    """

    at: float
    pools: tuple[PoolView, ...]
    objective: Objective = field(default_factory=Objective)
    scrape_seconds: float = 15.0

    def pool(self, name: str) -> PoolView:
        """The pool of that name.

        Raises:
            KeyError: there is none.
        """
        return {pool.name: pool for pool in self.pools}[name]
