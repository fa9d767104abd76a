"""How full the pool is; requests of lower priority are held back before it is quite full."""

from __future__ import annotations

from collections.abc import Sequence

from controller.gateway.admission.base import Refusal, RuleSpec
from controller.gateway.admission.dice import share_of
from controller.gateway.admission.parts import in_range
from controller.gateway.ask import Ask
from controller.gateway.fleet import Instance, Sight
from store.errors import ControllerError

SPEC = RuleSpec(
    "saturation",
    "Saturation with priority holdback",
    "llm-d-inference-scheduler: saturation detector (queue 5, KV 0.8), priority holdback,"
    " probabilistic shedding",
    {
        "queue_requests": 5.0, "cache_ratio": 0.8, "priorities": (0, -1), "holdback": "linear",
        "sheds_negative": True,
    },
)  # fmt: skip
HOLDBACKS = ("none", "linear")


class Saturation:
    """saturation = mean over the pool of max(queue / 5, KV in use / 0.8); in below the ceiling.

    The queue of the pool is here, not in the replicas, so it is counted as if spread evenly.

        ceiling of band i of N = 1 - i saturation / (N - 1)      ("linear"; band 0 has 1)
        shed, where priority < 0: with chance min(300 saturation^5, 1)

    Args:
        queue_requests: waiting for each replica at which it is full.
        cache_ratio: of its cache at which it is full.
        priorities: highest first: the bands.
        holdback: "linear", or "none" (one ceiling for all).
        sheds_negative: whether priorities below 0 are shed by chance, too; the dice are the
            request's number.
    """

    spec = SPEC

    def __init__(
        self,
        queue_requests: float = 5.0,
        cache_ratio: float = 0.8,
        priorities: Sequence[int] = (0, -1),
        holdback: str = "linear",
        sheds_negative: bool = True,
    ) -> None:
        in_range(SPEC.name, "queue_requests", queue_requests, 1e-3, 1e9)
        in_range(SPEC.name, "cache_ratio", cache_ratio, 0.01, 1.0)
        if holdback not in HOLDBACKS:
            raise ControllerError(
                f"admission {SPEC.name}: there is no holdback '{holdback}'",
                hint=f"known: {', '.join(HOLDBACKS)}",
            )
        self._queue, self._ratio = queue_requests, cache_ratio
        self._bands = sorted(priorities, reverse=True)
        self._holdback, self._sheds = holdback, sheds_negative

    def judge(self, ask: Ask, sight: Sight) -> Refusal | None:
        """Out at the ceiling of its band."""
        full = self.saturation(sight)
        if full is None:
            return None
        ceiling = self._ceiling(ask.slo.priority, full)
        is_shed = self._sheds and ask.slo.priority < 0
        if is_shed and share_of(ask.number) < min(300 * full**5, 1.0):
            ceiling = min(ceiling, full)
        if full < ceiling:
            return None
        text = f"the pool is {full:.0%} full, and requests of this kind come in below {ceiling:.0%}"
        each = self._queue * self._ready(sight)
        return Refusal(
            "saturated", text, "class" if ceiling < 1 else "fleet",
            ahead=max((full - ceiling) * each, 1.0), counts_promised=self._is_of_queue(sight),
        )  # fmt: skip

    def entered(self, ask: Ask, now: float) -> None:
        """The gate counts."""

    def ended(self, ask: Ask, now: float) -> None:
        """The gate counts."""

    def saturation(self, sight: Sight) -> float | None:
        """0 is idle, 1 full; None without replicas."""
        ready = [one for one in sight.instances if one.state == "ready"]
        if not ready:
            return None
        queue = self._of_queue(sight, len(ready))
        return sum(max(queue, self._of_cache(one)) for one in ready) / len(ready)

    def _of_queue(self, sight: Sight, ready: int) -> float:
        return (sight.waiting + sight.promised) / ready / self._queue

    def _of_cache(self, one: Instance) -> float:
        known = one.cache_tokens
        return one.held_tokens / known / self._ratio if known else 0.0

    def _is_of_queue(self, sight: Sight) -> bool:
        """Whether no replica is as full as it is for its cache: no place in a queue helps that."""
        ready = [one for one in sight.instances if one.state == "ready"]
        queue = self._of_queue(sight, max(len(ready), 1))
        return all(self._of_cache(one) <= queue for one in ready)

    def _ceiling(self, priority: int, full: float) -> float:
        if self._holdback == "none" or len(self._bands) < 2:
            return 1.0
        band = sum(priority < one for one in self._bands)
        band = min(band, len(self._bands) - 1)
        return max(1 - band * full / (len(self._bands) - 1), 0.0)

    def _ready(self, sight: Sight) -> int:
        return sum(one.state == "ready" for one in sight.instances)
