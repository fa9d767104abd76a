"""Out at once, who would only be served too late."""

from __future__ import annotations

import math
from collections.abc import Sequence

from controller.gateway.admission.base import Refusal, RuleSpec
from controller.gateway.admission.pace import (
    mix,
    prompt_seconds,
    seconds_left,
    service_seconds,
    step_seconds,
)
from controller.gateway.admission.parts import in_range
from controller.gateway.ask import Ask
from controller.gateway.fleet import Instance, Sight
from store.errors import ControllerError

LOADS = ("predicted", "now", "none")
SPEC = RuleSpec(
    "early-rejection",
    "Early rejection by prediction",
    "Mooncake (FAST'25, arXiv 2407.00079), section 7: early rejection based on prediction",
    {"slack": 1.0, "decode_load": "predicted", "queue": True},
)


class EarlyRejection:
    """Estimates when the first token would come, and how full decoding will be by then.

        first token = wait for a seat + prompts ahead on the replica + own prompt + a step
        decode load = that run now, less those that will have ended, plus those whose prompts will
                      have been computed by the time at which this one's is

    Judging decoding by its load *now* lets prompts in that find it full, and refuses others
    although it will be empty: both loads swing. What nobody knows (pace, bounds) refuses nobody.

    Args:
        slack: bounds are multiplied by it; below 1 is stricter.
        decode_load: "predicted" for the end of the prompt, "now", or "none" (not looked at).
        queue: whether the wait for a seat counts.
    """

    spec = SPEC

    def __init__(
        self, slack: float = 1.0, decode_load: str = "predicted", queue: bool = True
    ) -> None:
        in_range(SPEC.name, "slack", slack, 0.01, 100.0)
        if decode_load not in LOADS:
            raise ControllerError(
                f"admission {SPEC.name}: there is no decode_load '{decode_load}'",
                hint=f"known: {', '.join(LOADS)}",
            )
        self._slack, self._load, self._queue = slack, decode_load, queue

    def judge(self, ask: Ask, sight: Sight) -> Refusal | None:
        """Out where no replica would keep both bounds."""
        ready = [one for one in sight.instances if one.state == "ready"]
        prefill = [one for one in ready if one.role != "decode" and one.pace is not None]
        if not prefill:
            return None
        wait = seat_wait_seconds(prefill, sight) if self._queue else 0.0
        first = wait + min(prefill_seconds(ask, one) for one in prefill)
        bound = ask.slo.ttft_seconds
        if bound is not None and first > bound * self._slack:
            per_second = fleet_per_second(prefill, sight)
            return _late(first, bound, self._slack, wait, per_second)
        return self._too_full(ask, ready, first)

    def entered(self, ask: Ask, now: float) -> None:
        """The gate counts."""

    def ended(self, ask: Ask, now: float) -> None:
        """The gate counts."""

    def _too_full(self, ask: Ask, ready: Sequence[Instance], first: float) -> Refusal | None:
        bound = ask.slo.tpot_seconds
        decode = [one for one in ready if one.role != "prefill" and one.pace is not None]
        if bound is None or self._load == "none" or not decode:
            return None
        coming = 0.0
        if self._load == "predicted":
            lasts = ask.expected_output_tokens * bound
            coming = coming_by(first, ready, lasts) / len(decode)
        slowest = min(self._tpot(one, first, coming) for one in decode)
        if slowest <= bound * self._slack:
            return None
        text = f"tokens would come every {slowest:.3g} s, later than the {bound:g} s promised"
        over = sum(len(one.running) for one in decode) * (1 - bound * self._slack / slowest)
        return Refusal("would_miss_tpot", text, "class", ahead=max(over, 1.0))

    def _tpot(self, one: Instance, first: float, coming: float) -> float:
        pace = one.pace
        assert pace is not None  # noqa: S101  chosen above
        running = float(len(one.running))
        if self._load == "predicted":
            sizes = mix([one]) or (0.0, 1.0)
            left = (seconds_left(each, one, sizes) or 0.0 for each in one.running.values())
            running = sum(seconds > first for seconds in left) + coming
        return step_seconds(pace, min(running + 1, max(one.seats, 1)))


def prefill_seconds(ask: Ask, one: Instance) -> float:
    """From the seat to the first token, behind the prompts that the replica has."""
    pace = one.pace
    if pace is None:
        return math.inf
    tokens = one.prompt_tokens_ahead + max(ask.input_tokens - ask.cached_tokens, 0)
    step = step_seconds(pace, len(one.running))
    return prompt_seconds(pace, tokens) + step + pace.request_seconds


def coming_by(seconds: float, ready: Sequence[Instance], decode_seconds: float) -> float:
    """Requests that will decode after so many seconds, of those whose prompts are computed now.

    Prompts of a replica are done one after another, so evenly until the last; who is done more than
    a decoding before has ended by then.
    """
    count = 0.0
    for one in ready:
        if one.role != "prefill" or one.pace is None:
            continue
        prompts = sum(not each.has_first for each in one.running.values())
        last = prompt_seconds(one.pace, one.prompt_tokens_ahead)
        if last <= 0:
            continue
        done = min(seconds, last) - max(seconds - decode_seconds, 0.0)
        count += prompts * min(max(done / last, 0.0), 1.0)
    return count


def seat_wait_seconds(instances: Sequence[Instance], sight: Sight) -> float:
    """Until one that comes now has a seat: the ends of what runs, then the pace of a full fleet."""
    ahead = sight.waiting + sight.promised
    free = sum(one.free_seats for one in instances)
    if ahead < free:
        return 0.0
    place = int(ahead - free)
    sizes = mix(instances) or (0.0, 1.0)
    ends = sorted(
        seconds_left(ask, one, sizes) or 0.0 for one in instances for ask in one.running.values()
    )
    if place < len(ends):
        return ends[place]
    rate = fleet_per_second(instances, sight)
    if not rate:
        return ends[-1] if ends else 0.0
    return place / rate


def fleet_per_second(instances: Sequence[Instance], sight: Sight) -> float | None:
    """Requests a second of a full fleet, as what runs and waits is sized; None is unknown."""
    sizes = mix(instances)
    if sizes is None:
        return sight.freed_per_second
    rates = (
        one.seats / service_seconds(one.pace, one.seats, *sizes)
        for one in instances
        if one.pace is not None and one.seats
    )
    return sum(rates) or sight.freed_per_second


def _late(
    first: float, bound: float, slack: float, wait: float, per_second: float | None
) -> Refusal:
    text = f"its first token would come after {first:.1f} s, later than the {bound:g} s promised"
    over = first - bound * slack
    if wait <= 0 or not per_second:
        # The prompts before it are too long, or how fast the queue is: the time is all we know.
        return Refusal("would_miss_ttft", text, "class", wait_seconds=over)
    ahead = max(over * per_second, 1.0)
    return Refusal("would_miss_ttft", text, "class", ahead=ahead, counts_promised=True)
