"""What a pace comes to: seconds of steps, prompts and requests."""

from __future__ import annotations

from collections.abc import Iterable

from controller.gateway.admission.usage import remaining_tokens
from controller.gateway.ask import Ask
from controller.gateway.fleet import Instance, Pace

MOST_BUSY = 0.95
"""Of a replica's time that prompts take; above it decoding would stand still."""


def step_seconds(pace: Pace, sequences: float, busy: float = 0.0) -> float:
    """Between two tokens of a request where so many decode and prompts take a share of the time."""
    step = pace.step_seconds + pace.sequence_seconds * sequences
    return step / (1 - min(max(busy, 0.0), MOST_BUSY))


def prompt_seconds(pace: Pace, tokens: float) -> float:
    """To compute so many prompt tokens."""
    return pace.prompt_token_seconds * tokens


def mix(instances: Iterable[Instance]) -> tuple[float, float] | None:
    """(prompt tokens to compute, output tokens) of a typical request; None where nothing runs.

    What runs is longer than what comes, as each is seen for as long as it lasts; so it is weighted
    by one over its length.
    """
    weights = prompts = count = 0.0
    for one in instances:
        for ask in one.running.values():
            output = max(ask.expected_output_tokens, float(ask.output_tokens), 1.0)
            weights += 1 / output
            prompts += (ask.input_tokens - ask.cached_tokens) / output
            count += 1
    return (prompts / weights, count / weights) if weights else None


def token_seconds(instance: Instance, sizes: tuple[float, float]) -> float | None:
    """For each output token of a request, prompts of those that come meanwhile included.

    Each of n seats brings a new prompt whenever its request ends:

        seconds = step + n sequence + n prompt / output
    """
    pace, running = instance.pace, len(instance.running)
    if pace is None:
        return None
    prompt, output = sizes
    return step_seconds(pace, running) + running * prompt_seconds(pace, prompt) / output


def seconds_left(ask: Ask, instance: Instance, sizes: tuple[float, float]) -> float | None:
    """Until a running request is over, likely; None where the pace is unknown."""
    pace = instance.pace
    if pace is None:
        return None
    ahead = prompt_seconds(pace, instance.prompt_tokens_ahead)
    if instance.role == "prefill":
        return ahead
    left = remaining_tokens(ask) * (token_seconds(instance, sizes) or 0.0)
    return left if ask.is_computed else left + ahead


def service_seconds(pace: Pace, seats: int, input_tokens: float, output_tokens: float) -> float:
    """How long a request keeps its seat on a full replica.

    Each of n seats computes one prompt in that time, so prompts of all n are in its way:

        seconds = output (step + n sequence) + n prompt
    """
    prompts = seats * prompt_seconds(pace, input_tokens)
    return max(output_tokens, 1.0) * step_seconds(pace, seats) + prompts


def most_sequences(pace: Pace, tpot_seconds: float, sizes: tuple[float, float]) -> int:
    """That may decode together inside a bound, with the prompts they bring; 0: not even one."""
    prompt, output = sizes
    room = tpot_seconds - pace.step_seconds
    each = pace.sequence_seconds + prompt_seconds(pace, prompt) / max(output, 1.0)
    if room < 0:
        return 0
    return int(room / each + 1e-9) if each > 0 else 1_000_000
