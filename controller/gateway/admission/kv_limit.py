"""What a replica holds, and the newcomer's prompt and reserve, stays below a share of its cache."""

from __future__ import annotations

from controller.gateway.admission.base import RuleSpec
from controller.gateway.admission.parts import in_range
from controller.gateway.ask import Ask
from controller.gateway.fleet import Instance
from store.errors import ControllerError

RESERVES = ("none", "expected", "likely", "most")
SPEC = RuleSpec(
    "kv-limit",
    "A share of the KV cache",
    "VTC artifact (max_total_token_num); TensorRT-LLM GUARANTEED_NO_EVICT (reserve: most)",
    {"ratio": 0.95, "reserve": "expected"},
)


class KvLimit:
    """Counts for everybody what is held now and what is still to come.

    Args:
        ratio: of the cache that may be spoken for.
        reserve: output kept free for each: "expected", "likely" (0.9 quantile), "most" (what the
            client allows; the likely length where it did not say) or "none".
    """

    spec = SPEC

    def __init__(self, ratio: float = 0.95, reserve: str = "expected") -> None:
        in_range(SPEC.name, "ratio", ratio, 0.01, 1.0)
        if reserve not in RESERVES:
            raise ControllerError(
                f"admission {SPEC.name}: there is no reserve '{reserve}'",
                hint=f"known: {', '.join(RESERVES)}",
            )
        self._ratio, self._reserve = ratio, reserve

    def has_room(self, ask: Ask, instance: Instance, now: float) -> bool:
        """Always where nothing runs: it would never fit otherwise."""
        if instance.cache_tokens is None or not instance.running:
            return True
        asks = [*instance.running.values(), ask]
        taken = sum(one.input_tokens + max(self._output(one), one.output_tokens) for one in asks)
        return taken <= self._ratio * instance.cache_tokens

    def entered(self, ask: Ask, now: float) -> None:
        """Nothing to book."""

    def ended(self, ask: Ask, now: float) -> None:
        """Nothing to learn."""

    def _output(self, ask: Ask) -> float:
        if self._reserve == "none":
            return 0.0
        if self._reserve == "most" and ask.most_output_tokens is not None:
            return float(ask.most_output_tokens)
        return ask.expected_output_tokens if self._reserve == "expected" \
            else ask.likely_output_tokens  # fmt: skip
