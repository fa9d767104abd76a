"""The most memory that what runs will ever need together, by how long outputs were lately."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Iterable

from controller.gateway.admission.base import RuleSpec
from controller.gateway.admission.parts import in_range
from controller.gateway.admission.usage import remaining_tokens
from controller.gateway.ask import Ask
from controller.gateway.fleet import Instance

RECENT = 1_000
LEAST_KNOWN = 50
SPEC = RuleSpec(
    "past-future",
    "Peak memory by recent lengths",
    "LightLLM Past-Future scheduler (arXiv 2507.10150, ASPLOS'25)",
    {"ratio": 0.97, "quantile": 0.7},
)


class PastFuture:
    """Engines reserve for the longest output, or evict; the peak is between the two.

    Sorted by what is still to come, longest first, when the k-th ends the k - 1 before it have all
    grown by its rest, and those after it are gone:

        peak = max over k of (held by the first k + k rest_k)

    Args:
        ratio: of the cache that the peak may reach.
        quantile: of recent outputs longer than what there is already, taken as the length.
    """

    spec = SPEC

    def __init__(self, ratio: float = 0.97, quantile: float = 0.7) -> None:
        in_range(SPEC.name, "ratio", ratio, 0.01, 1.0)
        in_range(SPEC.name, "quantile", quantile, 0.0, 1.0)
        self._ratio, self._quantile = ratio, quantile
        self._recent: deque[int] = deque()
        self._sorted: list[int] = []

    def has_room(self, ask: Ask, instance: Instance, now: float) -> bool:
        """Always where nothing runs: it would never fit otherwise."""
        if instance.cache_tokens is None or not instance.running:
            return True
        needs = ((one.held_tokens, self._rest(one)) for one in instance.running.values())
        peak = peak_tokens([*needs, (ask.input_tokens, self._rest(ask))])
        return peak <= self._ratio * instance.cache_tokens

    def entered(self, ask: Ask, now: float) -> None:
        """Nothing to book."""

    def ended(self, ask: Ask, now: float) -> None:
        """One more length."""
        if not ask.output_tokens:
            return
        if len(self._recent) >= RECENT:
            del self._sorted[bisect_right(self._sorted, self._recent.popleft()) - 1]
        self._recent.append(ask.output_tokens)
        insort(self._sorted, ask.output_tokens)

    def _rest(self, ask: Ask) -> float:
        """Output still to come, of those that got as far as this one."""
        longer = bisect_right(self._sorted, ask.output_tokens)
        count = len(self._sorted) - longer
        if len(self._sorted) < LEAST_KNOWN or not count:
            return remaining_tokens(ask)
        at = longer + min(int(self._quantile * count), count - 1)
        rest = self._sorted[at] - ask.output_tokens
        most = ask.most_output_tokens
        return max(rest if most is None else min(rest, most - ask.output_tokens), 0.0)


def peak_tokens(needs: Iterable[tuple[float, float]]) -> float:
    """The peak of (held, still to come)."""
    held, peak = 0.0, 0.0
    for k, (now, rest) in enumerate(sorted(needs, key=lambda need: -need[1]), start=1):
        held += now
        peak = max(peak, held + k * rest)
    return peak
