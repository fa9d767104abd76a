"""Out only when every replica is busy by its cache or by the prompts ahead."""

from __future__ import annotations

from controller.gateway.admission.base import Refusal, RuleSpec
from controller.gateway.admission.parts import in_range
from controller.gateway.ask import Ask
from controller.gateway.fleet import Instance, Sight

SPEC = RuleSpec(
    "busy-threshold",
    "All replicas busy",
    "ai-dynamo/dynamo, active_decode_blocks_threshold 0.85, active_prefill_tokens_threshold 10000",
    {"cache_ratio": 0.85, "prompt_tokens": 10_000},
)


class BusyThreshold:
    """Meant for engines that queue by themselves; with seats held back, `queue-depth` is sharper.

    Args:
        cache_ratio: a replica is busy where more of its cache is held; None does not look.
        prompt_tokens: and where more prompt tokens are ahead in it; None does not look.
    """

    spec = SPEC

    def __init__(
        self, cache_ratio: float | None = 0.85, prompt_tokens: float | None = 10_000
    ) -> None:
        in_range(SPEC.name, "cache_ratio", cache_ratio, 0.01, 1.0)
        in_range(SPEC.name, "prompt_tokens", prompt_tokens, 1, 1e12)
        self._ratio, self._prompt_tokens = cache_ratio, prompt_tokens

    def judge(self, ask: Ask, sight: Sight) -> Refusal | None:
        """Out where no ready replica is below both."""
        ready = [one for one in sight.instances if one.state == "ready"]
        if not ready or any(self._ahead(one) <= 0 for one in ready):
            return None
        ahead = min(self._ahead(one) for one in ready) + sight.waiting + sight.promised
        text = f"all {len(ready)} replicas are busy"
        return Refusal("all_busy", text, ahead=ahead, counts_promised=True)

    def entered(self, ask: Ask, now: float) -> None:
        """The gate counts."""

    def ended(self, ask: Ask, now: float) -> None:
        """The gate counts."""

    def _ahead(self, one: Instance) -> float:
        """Requests that must end before it is not busy any more."""
        running = max(len(one.running), 1)
        over = 0.0
        if self._ratio is not None and one.cache_tokens is not None:
            over = (one.held_tokens - self._ratio * one.cache_tokens) / one.held_tokens \
                if one.held_tokens else 0.0  # fmt: skip
        if self._prompt_tokens is not None and one.prompt_tokens_ahead > self._prompt_tokens:
            over = max(over, 1 - self._prompt_tokens / one.prompt_tokens_ahead)
        return over * running
