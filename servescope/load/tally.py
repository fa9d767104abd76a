"""Counts and quantiles of a run, while it goes and at its end."""

from __future__ import annotations

from array import array
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from servescope.load.records import Sent

LATE_SECONDS = 0.010
"""A sender whose p99 lag is above this measures itself."""
_RECENT = 1000
_MOST_TENANTS = 500
OTHERS = "(others)"
_TIMES = (
    "ttft_seconds", "ttft_from_send_seconds", "tpot_seconds", "e2e_seconds",
    "e2e_from_send_seconds",
)  # fmt: skip


def quantile(values: Sequence[float], share: float) -> float | None:
    """The value that a share of them does not pass; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


@dataclass(slots=True)
class _Tenant:
    """Of one tenant; counts are of requests, by how they ended."""

    ends: Counter[str] = field(default_factory=Counter)
    output_tokens: int = 0
    ttft: array[float] = field(default_factory=lambda: array("d"))


class Tally:
    """What became of requests.

    Every request ends as ok, refused, failed, aborted or not_sent, by its last attempt.
    """

    def __init__(self) -> None:
        self.ends: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.attempts = 0
        self.input_tokens = self.asked_input_tokens = self.output_tokens = 0
        self._times: dict[str, array[float]] = {name: array("d") for name in _TIMES}
        self._since_first = array("d")
        self._lag, self._held = array("d"), array("d")
        self._tenants: dict[str, _Tenant] = {}
        self._recent_ttft: deque[float] = deque(maxlen=_RECENT)
        self._recent_lag: deque[float] = deque(maxlen=_RECENT)

    def add(self, sent: Sent) -> None:
        """An attempt is over."""
        is_sent = sent.lag_seconds is not None
        self.attempts += is_sent
        if sent.lag_seconds is not None:
            self._lag.append(sent.lag_seconds)
            self._held.append(sent.held_seconds)
            self._recent_lag.append(sent.lag_seconds)
        if sent.reason:
            self.reasons[sent.reason] += 1
        if sent.status == "ok":
            self._served(sent)
        if sent.is_last:
            end = "not_sent" if sent.reason == "not_sent" else sent.status
            self.ends[end] += 1
            self._tenant(sent).ends[end] += 1

    def _served(self, sent: Sent) -> None:
        for name, values in self._times.items():
            value = getattr(sent, name)
            if value is not None:
                values.append(value)
        if sent.since_first_seconds is not None:
            self._since_first.append(sent.since_first_seconds)
        tenant = self._tenant(sent)
        first = sent.ttft_seconds
        if first is not None:
            self._recent_ttft.append(first)
            tenant.ttft.append(first)
        tokens = sent.output_tokens or 0
        self.output_tokens += tokens
        tenant.output_tokens += tokens
        if sent.input_tokens is not None:
            self.input_tokens += sent.input_tokens
            self.asked_input_tokens += sent.planned.input_tokens

    def _tenant(self, sent: Sent) -> _Tenant:
        name = sent.planned.tenant
        if name not in self._tenants and len(self._tenants) >= _MOST_TENANTS:
            name = OTHERS
        return self._tenants.setdefault(name, _Tenant())

    @property
    def done(self) -> int:
        """Requests that are over."""
        return self.ends.total()

    def line(self, seconds: float) -> str:
        """How it goes, for the progress line.

        Args:
            seconds: since the start.
        """
        firsts, lags = self._recent_ttft, self._recent_lag
        return (
            f"  {self.done / max(seconds, 1e-9):,.1f} requests/s"
            f"  TTFT p50 {_words(quantile(firsts, 0.5))} p95 {_words(quantile(firsts, 0.95))}"
            f"  refused {self.ends['refused']:,}"
            f"  failed {self.ends['failed'] + self.ends['not_sent']:,}"
            f"  sender late p99 {_words(quantile(lags, 0.99))}"
        )

    def summary(self, seconds: float) -> dict[str, Any]:
        """Everything, as plain values; unknown is None.

        Args:
            seconds: from the first request's time to the last answer.
        """
        found: dict[str, Any] = {
            "seconds": seconds,
            "requests": self.done,
            **{end: self.ends[end] for end in ("ok", "refused", "failed", "aborted", "not_sent")},
            "attempts": self.attempts,
            "ok_per_second": self.ends["ok"] / seconds if seconds > 0 else None,
            "output_tokens_per_second": self.output_tokens / seconds if seconds > 0 else None,
            "input_tokens_to_asked_ratio": self.input_tokens / self.asked_input_tokens
            if self.asked_input_tokens
            else None,
            "reasons": dict(self.reasons.most_common(20)),
        }
        for name, values in (
            *self._times.items(),
            ("first_or_end_since_first_attempt_seconds", self._since_first),
            ("sender_lag_seconds", self._lag),
            ("held_seconds", self._held),
        ):
            found[name] = {
                "p50": quantile(values, 0.5), "p95": quantile(values, 0.95),
                "p99": quantile(values, 0.99), "max": max(values, default=None),
                "n": len(values),
            }  # fmt: skip
        found["tenants"] = [self._row(name) for name in sorted(self._tenants)]
        return found

    def _row(self, name: str) -> Mapping[str, Any]:
        one = self._tenants[name]
        return {
            "tenant": name or None, "requests": one.ends.total(), "ok": one.ends["ok"],
            "refused": one.ends["refused"],
            "failed": one.ends["failed"] + one.ends["not_sent"] + one.ends["aborted"],
            "output_tokens": one.output_tokens, "ttft_p50_seconds": quantile(one.ttft, 0.5),
            "ttft_p99_seconds": quantile(one.ttft, 0.99),
        }  # fmt: skip


def _words(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1e3 * seconds:.0f} ms"
