"""How far apart tenants that both wait may be, and how far they are.

While two tenants wait all the time, the service over weight that VTC gives them differs by at most

    2 max(w_p L, w_q M) / w

with L the longest prompt, M the tokens that all running requests may hold, w the smaller weight of
the two: counters of tenants that wait are never farther apart than half of it, and what happens in
between is the difference of two such distances. A line that lets a tenant pass that had a slack
more, or keep a credit of what it left unused, adds these to both. DLPM adds its quantum. No line
that keeps replicas busy and stops nothing that runs can promise less than w_q M. Where lengths are
predicted, tokens that are charged ahead and do not come count as held: M is then of predicted
lengths, if that is more.

Source: arXiv 2401.00588, theorems 4.4 and 4.8; arXiv 2501.14312 for U + Q (its constant is not
stated there: taken as 1).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from controller.gateway.fleet import Instance
from controller.gateway.queueing.base import INPUT_WEIGHT, OUTPUT_WEIGHT, Line


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the bound is made of.

    Attributes:
        longest_prompt_tokens: of a request.
        held_tokens: that all running requests may hold at once, of the whole fleet.
        smallest_weight: of the tenants.
    """

    longest_prompt_tokens: float
    held_tokens: float
    smallest_weight: float = 1.0

    @classmethod
    def of_fleet(
        cls,
        instances: Iterable[Instance],
        longest_prompt_tokens: float,
        longest_tokens: float,
        smallest_weight: float = 1.0,
        swelling: float = 1.0,
    ) -> Capacity:
        """Caches of all replicas; where one is unknown, what its seats may hold at most.

        Args:
            instances: that serve.
            longest_prompt_tokens: of a request.
            longest_tokens: prompt and output of a request.
            smallest_weight: of the tenants.
            swelling: tokens that a line counts, estimated or expected, for one that a cache holds.
        """
        held = 0.0
        for one in instances:
            by_seats, cache = one.seats * longest_tokens, one.cache_tokens
            held += by_seats if cache is None else min(by_seats, swelling * cache)
        return cls(longest_prompt_tokens, held, smallest_weight)


def bound(
    line: Line,
    capacity: Capacity,
    input_weight: float = INPUT_WEIGHT,
    output_weight: float = OUTPUT_WEIGHT,
) -> float | None:
    """Service over weight that two tenants which wait all the time are apart at most.

    None where the line promises nothing.
    """
    if not line.spec.is_bounded:
        return None
    knobs = line.spec.parameters
    prompt = float(knobs.get("input_weight", input_weight)) * capacity.longest_prompt_tokens
    held = float(knobs.get("output_weight", output_weight)) * capacity.held_tokens
    vtc = 2 * max(prompt, held) / capacity.smallest_weight
    loose = float(knobs.get("slack_service", 0.0)) + float(knobs.get("credit_service", 0.0))
    return vtc + float(knobs.get("quantum", 0.0)) + 2 * loose


def least_possible(capacity: Capacity, output_weight: float = OUTPUT_WEIGHT) -> float:
    """What no line can promise to stay below that keeps replicas busy and stops nothing."""
    return output_weight * capacity.held_tokens
