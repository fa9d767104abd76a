"""Replicas that answer badly are left out for a while: outlier ejection, pure.

It is told how requests went and what probes said, and tells whom to leave out and whom to probe.
What counts as failed is the caller's to say: the replica's fault only, never a client that left or
a request that was wrong.

Slow is judged against peers of the same group in the same window, by time to first token and time
between tokens. Both are best told as multiples of what its group takes for the same work
(`PaceBook.measured`): else a busy replica, or one with little in its cache, looks slow, gets less,
has even less in its cache, and looks slower still.

    ratio = own median / median of the peers' medians
    score = (own median - median of the peers' medians) / spread
    spread = max(1.4826 x median absolute deviation of the peers' medians, 0.1 x their median)

Source: Envoy outlier detection (consecutive failures, share at most, times that grow); the robust
score is Iglewicz and Hoaglin's, with a floor where peers are all alike.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

MOST_SAMPLES = 256
_MAD_TO_DEVIATION = 1.4826
_LEAST_SPREAD_RATIO = 0.1
_CHANCE_SCORE = 2.0

Cause = Literal["failures", "slow"]


@dataclass(frozen=True, slots=True)
class EjectionLimits:
    """When a replica is left out, and for how long.

    Attributes:
        failures_in_a_row: of its requests.
        window_seconds: that latencies are compared over.
        least_requests: of a replica in the window, before it is compared.
        least_peers: others in its group that have as many.
        most_score: spreads by which its median may lie above its peers' …
        most_slower_ratio: … and part by which, 0.5 is half as long again; ejected is beyond both.
        most_share: of a group that may be out at once; one may, where there are two or more.
        first_seconds: out for so long at first, and for twice the last time at each repetition …
        most_seconds: … at most.
        probes: good ones in a row that bring it back.
        forgiven_seconds: in without a fault, after which the next time counts as one fewer.
    """

    failures_in_a_row: int = 5
    window_seconds: float = 60.0
    least_requests: int = 20
    least_peers: int = 2
    most_score: float = 5.0
    most_slower_ratio: float = 0.5
    most_share: float = 0.34
    first_seconds: float = 30.0
    most_seconds: float = 600.0
    probes: int = 2
    forgiven_seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class Ejected:
    """Leave a replica out.

    Attributes:
        name: of the replica.
        cause: what it did.
        text: one sentence for people.
        until: probe it from then on, seconds of the gateway's clock.
    """

    name: str
    cause: Cause
    text: str
    until: float


@dataclass(slots=True)
class _Seen:
    """What is remembered of one replica."""

    failures: int = 0
    samples: deque[tuple[float, float | None, float | None]] = field(
        default_factory=lambda: deque(maxlen=MOST_SAMPLES)
    )
    is_multiple: bool = False
    until: float | None = None
    times: int = 0
    since: float = 0.0
    good_probes: int = 0
    degradation_ratio: float | None = None
    score: float | None = None


class Ejector:
    """See the head of this module. Not thread-safe: one loop owns it."""

    def __init__(self, limits: EjectionLimits | None = None) -> None:
        self.limits = limits or EjectionLimits()
        self._seen: dict[str, _Seen] = {}
        self.spared = 0
        """Times that one was kept in because too many were out."""

    def saw(
        self,
        name: str,
        now: float,
        *,
        is_failed: bool,
        first: float | None = None,
        gap: float | None = None,
        is_multiple: bool = False,
    ) -> None:
        """How a request went.

        Args:
            name: of the replica that had it.
            now: seconds of the gateway's clock.
            is_failed: by the replica's fault.
            first: from being sent there to the first token, in seconds or as a multiple of what was
                expected; None is unknown.
            gap: between tokens, likewise.
            is_multiple: whether both are multiples. Where that changes, what was seen before counts
                no more, and nobody is compared with peers of the other kind.
        """
        seen = self._seen.setdefault(name, _Seen(since=now))
        if not is_failed and seen.is_multiple != is_multiple:
            seen.is_multiple = is_multiple
            seen.samples.clear()
        seen.failures = seen.failures + 1 if is_failed else 0
        if not is_failed:
            seen.samples.append((now, first, gap))

    def judge(self, now: float, groups: Mapping[str, str]) -> list[Ejected]:
        """Whom to leave out now.

        Args:
            now: seconds of the gateway's clock.
            groups: replica -> what it is compared with (its model, its kind of card). Those that
                are out belong to it, those that are down do not.
        """
        self._compare(now, groups)
        found = []
        for name in groups:
            seen = self._seen.get(name)
            if seen is None or seen.until is not None:
                continue
            fault = self._fault(seen)
            if fault is None:
                self._forgive(seen, now)
            elif self._may_go(name, groups):
                found.append(self._eject(name, seen, fault, now))
            else:
                self.spared += 1
        return found

    def due(self, now: float) -> list[str]:
        """Those that are out and have to be probed; ask again after each probe."""
        return [
            name
            for name, seen in self._seen.items()
            if seen.until is not None and now >= seen.until
        ]

    def probed(self, name: str, now: float, *, is_good: bool) -> bool:
        """What a probe of one that is out said; tells whether it is back.

        A bad one starts its time again.
        """
        seen = self._seen.get(name)
        if seen is None or seen.until is None:
            return False
        seen.good_probes = seen.good_probes + 1 if is_good else 0
        if not is_good:
            seen.until = now + self._seconds(seen.times)
            return False
        if seen.good_probes < self.limits.probes:
            return False
        # What it was like before says nothing any more.
        self._seen[name] = _Seen(times=seen.times, since=now)
        return True

    def returned(self, name: str) -> bool:
        """It could not be reached and can be again, as after a restart; tells whether it is in.

        What broke with it is not held against what is there now, unless it was out before: who
        dies again and again waits.
        """
        seen = self._seen.get(name)
        if seen is None:
            return True
        seen.failures = 0
        if seen.until is not None and seen.times == 1:
            seen.until = None
        return seen.until is None

    def is_out(self, name: str) -> bool:
        """Whether it is left out."""
        seen = self._seen.get(name)
        return seen is not None and seen.until is not None

    def degradation_ratio(self, name: str) -> float | None:
        """How much slower than its peers it was in the window, 0 within what chance does.

        As of the last `judge`; None is unknown. For `Instance.degradation_ratio`.
        """
        seen = self._seen.get(name)
        return None if seen is None else seen.degradation_ratio

    def gone(self, name: str) -> None:
        """The replica left."""
        self._seen.pop(name, None)

    # -- inside

    def _compare(self, now: float, groups: Mapping[str, str]) -> None:
        medians: dict[str, tuple[float | None, float | None]] = {}
        for name in groups:
            seen = self._seen.get(name)
            if seen is not None and seen.until is None:
                medians[name] = self._medians(seen, now)
        for name, own in medians.items():
            peers = [
                medians[other]
                for other in medians
                if other != name
                and groups[other] == groups[name]
                and self._seen[other].is_multiple == self._seen[name].is_multiple
            ]
            seen = self._seen[name]
            seen.degradation_ratio, seen.score = self._degraded(own, peers)

    def _medians(self, seen: _Seen, now: float) -> tuple[float | None, float | None]:
        while seen.samples and now - seen.samples[0][0] > self.limits.window_seconds:
            seen.samples.popleft()
        firsts = [first for _, first, _ in seen.samples if first is not None]
        gaps = [gap for _, _, gap in seen.samples if gap is not None]
        least = self.limits.least_requests
        return (
            median(firsts) if len(firsts) >= least else None,
            median(gaps) if len(gaps) >= least else None,
        )

    def _degraded(
        self,
        own: tuple[float | None, float | None],
        peers: Sequence[tuple[float | None, float | None]],
    ) -> tuple[float | None, float | None]:
        """Ratio above the peers, and score, of the signal that is worse."""
        found = []
        for signal, value in enumerate(own):
            others = [told for peer in peers if (told := peer[signal]) is not None]
            if value is None or len(others) < self.limits.least_peers:
                continue
            middle = median(others)
            if middle <= 0:
                continue
            deviation = _MAD_TO_DEVIATION * median(abs(other - middle) for other in others)
            spread = max(deviation, _LEAST_SPREAD_RATIO * middle)
            score = (value - middle) / spread
            found.append((value / middle - 1 if score > _CHANCE_SCORE else 0.0, score))
        return max(found, default=(None, None))

    def _fault(self, seen: _Seen) -> tuple[Cause, str] | None:
        limits = self.limits
        if seen.failures >= limits.failures_in_a_row:
            return "failures", f"{seen.failures} requests in a row failed"
        ratio, score = seen.degradation_ratio, seen.score
        if ratio is None or score is None:
            return None
        if ratio <= limits.most_slower_ratio or score <= limits.most_score:
            return None
        return "slow", f"takes {1 + ratio:.1f} times as long as its peers ({score:.1f} spreads)"

    def _may_go(self, name: str, groups: Mapping[str, str]) -> bool:
        """One of two may, half of two may not be more than one; the last one never."""
        group = [one for one in groups if groups[one] == groups[name]]
        out = sum(self.is_out(one) for one in group)
        most = max(int(self.limits.most_share * len(group)), 1)
        return out < min(most, len(group) - 1)

    def _eject(self, name: str, seen: _Seen, fault: tuple[Cause, str], now: float) -> Ejected:
        seen.times += 1
        seen.good_probes = seen.failures = 0
        seen.until = now + self._seconds(seen.times)
        seen.degradation_ratio = seen.score = None
        seen.samples.clear()
        cause, why = fault
        text = f"{name} {why}: left out for {seen.until - now:.0f} s"
        return Ejected(name, cause, text, seen.until)

    def _seconds(self, times: int) -> float:
        """Twice as long each time."""
        # A float of 2^1024 does not exist.
        return min(self.limits.first_seconds * 2.0 ** min(times - 1, 60), self.limits.most_seconds)

    def _forgive(self, seen: _Seen, now: float) -> None:
        if seen.times and now - seen.since >= self.limits.forgiven_seconds:
            seen.times -= 1
            seen.since = now
