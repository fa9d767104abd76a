"""The replica that has the fewest tokens left to compute."""

from __future__ import annotations

from controller.gateway.ask import Ask
from controller.gateway.estimates import tokens_left
from controller.gateway.fleet import Instance
from controller.gateway.routing.base import Choice, WaySpec
from controller.gateway.routing.turns import least, shortlist

SPEC = WaySpec(
    "least-tokens",
    "Least outstanding tokens",
    "llm-d-router and AIBrix count tokens in flight; here prompts not begun and expected output",
)


class LeastTokens:
    """Prompt tokens not yet computed plus output tokens still expected; equals take turns."""

    spec = SPEC

    def choose(self, ask: Ask, choice: Choice) -> Instance | None:
        """The one with the fewest tokens ahead, this prompt's own uncached ones counted."""
        kept = {one.name: choice.kept(ask, one.name) for one in choice.free}

        def roughly(one: Instance) -> float:
            others = len(one.running) * ask.expected_output_tokens / 2
            return one.prompt_tokens_ahead + others - kept[one.name]

        def load(one: Instance) -> float:
            return tokens_left(one) + ask.input_tokens - kept[one.name]

        return least(shortlist(choice.free, ask, roughly), ask, load)

    def sent(self, ask: Ask, instance: Instance, now: float) -> None:
        """Nothing to remember: the gate counts."""

    def ended(self, ask: Ask, instance: Instance, now: float, *, is_failed: bool) -> None:
        """Nothing to learn."""

    def gone(self, name: str) -> None:
        """Nothing to forget."""
