"""So many at once, and so many a minute: for each name a bucket that fills all the time."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from store.clock import Clock

MOST_NAMES = 10_000


@dataclass(slots=True)
class _Bucket:
    level: float
    at: float


class Throttle:
    """Buckets by name; of more than `MOST_NAMES` names the one unused for longest is forgotten.

    Args:
        clock: measures time.
        burst: that a full bucket holds; >= 1.
        per_minute: that flow in.
    """

    def __init__(self, clock: Clock, *, burst: float, per_minute: float) -> None:
        self._clock = clock
        self._burst = burst
        self._per_second = per_minute / 60
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def wait_seconds(self, name: str) -> float:
        """How long until one is left for a name; 0 when there is one now. Takes nothing."""
        bucket = self._filled(name)
        return max(0.0, (1.0 - bucket.level) / self._per_second)

    def take(self, name: str) -> float:
        """Take one; gives the seconds to wait when there is none, and then takes nothing."""
        wait = self.wait_seconds(name)
        if wait == 0:
            self._buckets[name].level -= 1.0
        return wait

    def give_back(self, name: str) -> None:
        """What was taken was not meant to count."""
        bucket = self._filled(name)
        bucket.level = min(self._burst, bucket.level + 1.0)

    def _filled(self, name: str) -> _Bucket:
        now = self._clock.monotonic()
        bucket = self._buckets.setdefault(name, _Bucket(self._burst, now))
        self._buckets.move_to_end(name)
        if len(self._buckets) > MOST_NAMES:
            self._buckets.popitem(last=False)
        bucket.level = min(self._burst, bucket.level + (now - bucket.at) * self._per_second)
        bucket.at = now
        return bucket
