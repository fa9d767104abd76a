"""The replica with the longest cached beginning, unless the loads have drifted apart."""

from __future__ import annotations

from controller.gateway.ask import Ask
from controller.gateway.fleet import Instance
from controller.gateway.routing.base import Choice, WaySpec
from controller.gateway.routing.turns import least, outstanding
from store.errors import ControllerError

SPEC = WaySpec(
    "cache-aware",
    "Longest cached prefix, unless out of balance",
    "sglang-router cache_aware (there 0.3, 64 and 1.5: its replicas queue, ours have seats)",
    {"least_match_ratio": 0.3, "most_apart": 8, "most_apart_ratio": 1.5},
)


class CacheAware:
    """Follows the cache while loads are alike, and the load while they are not.

    Args:
        least_match_ratio: share of the prompt that must be cached to follow it, 0 to 1.
        most_apart: requests by which the busiest may be ahead of the idlest …
        most_apart_ratio: … and how many times; out of balance is beyond both.

    Raises:
        ControllerError: a value is out of range.
    """

    def __init__(
        self,
        least_match_ratio: float = 0.3,
        most_apart: int = 8,
        most_apart_ratio: float = 1.5,
    ) -> None:
        if not (0 <= least_match_ratio <= 1 and most_apart >= 0 and most_apart_ratio >= 1):
            raise ControllerError(
                "cache-aware: a parameter is out of range",
                hint="least_match_ratio 0 to 1, most_apart >= 0, most_apart_ratio >= 1",
            )
        told = {
            "least_match_ratio": least_match_ratio,
            "most_apart": most_apart,
            "most_apart_ratio": most_apart_ratio,
        }
        self.spec = WaySpec(SPEC.name, SPEC.title, SPEC.source, told)
        self._match, self._apart, self._ratio = least_match_ratio, most_apart, most_apart_ratio

    def choose(self, ask: Ask, choice: Choice) -> Instance | None:
        """The longest match, or the fewest requests."""
        if not ask.prefix or self._is_apart(choice):
            return least(choice.free, ask, outstanding)
        kept = {one.name: choice.kept(ask, one.name) for one in choice.free}
        best = max(kept.values(), default=0)
        if best < self._match * max(ask.input_tokens, 1):
            return least(choice.free, ask, outstanding)
        longest = [one for one in choice.free if kept[one.name] == best]
        return least(longest, ask, outstanding)

    def _is_apart(self, choice: Choice) -> bool:
        counts = [len(one.running) for one in choice.fleet if one.role != "decode"] or [0]
        high, low = max(counts), min(counts)
        return high - low > self._apart and high > self._ratio * low

    def sent(self, ask: Ask, instance: Instance, now: float) -> None:
        """Nothing to remember: the gate knows what each replica was sent."""

    def ended(self, ask: Ask, instance: Instance, now: float, *, is_failed: bool) -> None:
        """Nothing to learn."""

    def gone(self, name: str) -> None:
        """Nothing to forget."""
