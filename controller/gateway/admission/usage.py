"""How many tokens a request is expected to take, and took."""

from __future__ import annotations

from controller.gateway.ask import Ask


def expected_tokens(ask: Ask) -> float:
    """Prompt and expected output, before it is known better."""
    return ask.input_tokens + ask.expected_output_tokens


def used_tokens(ask: Ask) -> float:
    """Prompt and output as they came; nothing where no replica ever had it."""
    if not ask.has_started:
        return 0.0
    told = ask.told_input_tokens
    return float((ask.input_tokens if told is None else told) + ask.output_tokens)


def remaining_tokens(ask: Ask) -> float:
    """Output that is still to come, as far as anybody can tell; > 0.

    Up to the expected length what is missing of it. Past that, half of what is missing to the 0.9
    quantile; and past that a quarter of what there is, as tails are long.
    """
    out = ask.output_tokens
    left = ask.expected_output_tokens - out
    if left < 1:
        left = max((ask.likely_output_tokens - out) / 2, out / 4, 1.0)
    if ask.most_output_tokens is not None:
        left = min(left, ask.most_output_tokens - out)
    return max(left, 1.0)
