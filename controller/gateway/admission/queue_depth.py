"""How many requests, or tokens, may wait."""

from __future__ import annotations

from controller.gateway.admission.base import Refusal, RuleSpec
from controller.gateway.admission.parts import in_range
from controller.gateway.admission.usage import expected_tokens
from controller.gateway.ask import Ask
from controller.gateway.fleet import Sight

SPEC = RuleSpec(
    "queue-depth",
    "Waiting requests and tokens",
    "vllm-project/vllm PR #49445: --max-num-queued-reqs, --max-num-queued-tokens",
    {"requests": 256, "tokens": None, "spares_free_seats": True},
)


class QueueDepth:
    """Out where the queue is long; what runs does not count.

    Args:
        requests: that may wait; None is no limit.
        tokens: prompt and expected output that may wait, about the bound of the first token times
            the tokens that are served a second; None is no limit.
        spares_free_seats: who would start at once never waits, so is never refused.
    """

    spec = SPEC

    def __init__(
        self,
        requests: float | None = 256,
        tokens: float | None = None,
        spares_free_seats: bool = True,
    ) -> None:
        in_range(SPEC.name, "requests", requests, 0, 1e9)
        in_range(SPEC.name, "tokens", tokens, 0, 1e15)
        self._requests, self._tokens, self._spares = requests, tokens, spares_free_seats

    def judge(self, ask: Ask, sight: Sight) -> Refusal | None:
        """Out where it would wait behind too many."""
        waiting = sight.waiting + sight.promised
        free = sum(one.free_seats for one in sight.instances) if self._spares else 0
        if waiting < free:
            return None
        limit = self._requests
        if limit is not None and waiting - free + 1 > limit:
            text = f"{waiting:,.0f} requests wait, and {limit:,.0f} may"
            return Refusal(
                "queue_requests", text, limit=limit, remaining=0.0,
                ahead=waiting - free + 1 - limit, counts_promised=True,
            )  # fmt: skip
        return self._by_tokens(ask, sight)

    def entered(self, ask: Ask, now: float) -> None:
        """The gate counts what waits."""

    def ended(self, ask: Ask, now: float) -> None:
        """The gate counts what waits."""

    def _by_tokens(self, ask: Ask, sight: Sight) -> Refusal | None:
        if self._tokens is None or not sight.waiting:
            # One that waits alone may be as large as it likes: it never would fit otherwise.
            return None
        each = max(sight.waiting_tokens / sight.waiting, 1.0)
        tokens = sight.waiting_tokens + sight.promised * each
        over = tokens + expected_tokens(ask) - self._tokens
        if over <= 0:
            return None
        text = f"requests of {tokens:,.0f} tokens wait, and {self._tokens:,.0f} may"
        return Refusal(
            "queue_tokens", text, limit=self._tokens, remaining=max(self._tokens - tokens, 0.0),
            unit="tokens", ahead=min(over / each, sight.waiting + sight.promised),
            counts_promised=True,
        )  # fmt: skip
