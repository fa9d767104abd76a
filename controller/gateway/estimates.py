"""How long a replica would take: from its pace and from what it has to do already.

    first token = (prompt tokens ahead + own uncached ones) x prompt_token_seconds
                  + a step + request_seconds
    output      = L x step_seconds + sequence_seconds x (L + sum over the others of min(R, L))

L is the expected output, R what another has left: a sequence slows exactly the steps that it is
part of. Both are multiplied by 1 + degradation.

Source: the idea of Block (arXiv 2508.03611), which simulates each instance step by step; the sum
over steps has this closed form when nobody joins later.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from controller.gateway.ask import Ask
from controller.gateway.fleet import Instance, Pace

TYPICAL_PACE = Pace(prompt_token_seconds=1e-4, step_seconds=0.02, sequence_seconds=3e-4)
"""Where nobody knows any replica's: a mid-sized model on one card. Only ratios matter then."""
OVERDUE_RATIO = 0.2
"""One that has passed every expectation is thought to go on for this share of what it has."""


def tokens_left(one: Instance) -> float:
    """Prompt tokens that a replica has not begun, and output tokens that it is expected to add."""
    return one.prompt_tokens_ahead + sum(remaining(ask) for ask in one.running.values())


def remaining(ask: Ask) -> float:
    """Output tokens that a running request is expected to add, at least one.

    The mean first; past it, the 0.9 quantile; past that, a share of what there is, as lengths have
    heavy tails.
    """
    for expected in (ask.expected_output_tokens, ask.likely_output_tokens):
        if ask.output_tokens < expected:
            return max(expected - ask.output_tokens, 1.0)
    left = OVERDUE_RATIO * ask.output_tokens
    if ask.most_output_tokens is not None:
        left = min(left, ask.most_output_tokens - ask.output_tokens)
    return max(left, 1.0)


def pace_among(instances: Sequence[Instance]) -> Pace:
    """The mean pace of those whose pace is known, for those whose is not."""
    known = [one.pace for one in instances if one.pace is not None]
    if not known:
        return TYPICAL_PACE
    return Pace(
        sum(pace.prompt_token_seconds for pace in known) / len(known),
        sum(pace.step_seconds for pace in known) / len(known),
        sum(pace.sequence_seconds for pace in known) / len(known),
        sum(pace.request_seconds for pace in known) / len(known),
    )


def slowness(one: Instance) -> float:
    """1 for a healthy replica, 2 for one that takes twice as long as its pace says."""
    if one.pace is not None and one.is_pace_learnt:
        return 1.0
    return 1.0 + max(one.degradation_ratio or 0.0, 0.0)


def first_token_seconds(ask: Ask, one: Instance, cached_tokens: int, usual: Pace) -> float:
    """From being sent there to its first token."""
    pace = one.pace or usual
    ahead = one.prompt_tokens_ahead + ask.input_tokens - cached_tokens
    steps = pace.step_seconds + pace.sequence_seconds * (len(one.running) + 1)
    return slowness(one) * (ahead * pace.prompt_token_seconds + steps + pace.request_seconds)


def finish_seconds(ask: Ask, one: Instance, cached_tokens: int, usual: Pace) -> float:
    """From being sent there to its last token."""
    length = ask.expected_output_tokens
    shared = overlap((remaining(other) for other in one.running.values()), length)
    return _finish_seconds(ask, one, cached_tokens, usual, shared)


def rough_finish_seconds(ask: Ask, one: Instance, cached_tokens: int, usual: Pace) -> float:
    """The same where everybody has half of this request's length left; costs little."""
    shared = len(one.running) * ask.expected_output_tokens / 2
    return _finish_seconds(ask, one, cached_tokens, usual, shared)


def _finish_seconds(
    ask: Ask, one: Instance, cached_tokens: int, usual: Pace, shared_steps: float
) -> float:
    pace, length = one.pace or usual, ask.expected_output_tokens
    decoding = length * pace.step_seconds + (length + shared_steps) * pace.sequence_seconds
    return first_token_seconds(ask, one, cached_tokens, usual) + slowness(one) * decoding


def expectation(one: Instance, usual: Pace) -> tuple[float, float]:
    """Seconds to the first token and between tokens that the newest request of a replica may take.

    Ask when the request was just booked there. It is of a healthy replica with this one's work:
    what was measured, divided by it, is how slow the replica is.
    """
    pace = one.pace or usual
    step = pace.step_seconds + pace.sequence_seconds * len(one.running)
    prompts = one.prompt_tokens_ahead * pace.prompt_token_seconds
    return prompts + step + pace.request_seconds, step


def overlap(remaining_tokens: Iterable[float], length: float) -> float:
    """Steps that others take part in while one of this length runs."""
    return sum(min(left, length) for left in remaining_tokens)
