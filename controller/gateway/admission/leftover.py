"""Best effort fills only what the online class leaves, and leaves room for what comes of it."""

from __future__ import annotations

import math

from controller.gateway.admission.base import RuleSpec
from controller.gateway.admission.pace import mix, most_sequences, prompt_seconds, step_seconds
from controller.gateway.admission.parts import in_range
from controller.gateway.admission.usage import remaining_tokens
from controller.gateway.ask import Ask, SloClass
from controller.gateway.fleet import Instance
from controller.gateway.rates import FadingRate

FAST_SECONDS, SLOW_SECONDS = 5.0, 60.0
REMEMBER_SECONDS = 30.0
SPEC = RuleSpec(
    "leftover",
    "Best effort fills what is left",
    "HyGen (arXiv 2501.14808): SLO-aware co-location of online and offline requests",
    {"ahead_seconds": 1.5, "sureness": 2.0, "pace_slack": 0.9, "prompt_share": 0.3},
)


class Leftover:
    """A best-effort request starts where all of this holds.

    - no request with a promise waits;
    - seats stay free for those that a fading forecast expects, and for chance: n + z sqrt(n);
    - one more sequence keeps the tightest promised time between tokens;
    - its prompt holds up nobody who decodes there by more than is left of that one's time;
    - the prompts ahead keep within a share of the tightest promised time to the first token.

    Args:
        ahead_seconds: for which seats are kept free.
        sureness: standard deviations of a Poisson number kept free besides.
        pace_slack: of the bound between tokens that best effort may use up.
        prompt_share: of the bound of the first token that prompts before it may take.
    """

    spec = SPEC

    def __init__(
        self,
        ahead_seconds: float = 1.5,
        sureness: float = 2.0,
        pace_slack: float = 0.9,
        prompt_share: float = 0.3,
    ) -> None:
        in_range(SPEC.name, "ahead_seconds", ahead_seconds, 0.0, 600.0)
        in_range(SPEC.name, "sureness", sureness, 0.0, 10.0)
        in_range(SPEC.name, "pace_slack", pace_slack, 0.01, 10.0)
        in_range(SPEC.name, "prompt_share", prompt_share, 0.01, 10.0)
        self._ahead, self._sureness = ahead_seconds, sureness
        self._pace_slack, self._prompt_share = pace_slack, prompt_share
        self._rates = (FadingRate(FAST_SECONDS), FadingRate(SLOW_SECONDS))
        self._waiting: dict[int, Ask] = {}
        self._promises: dict[str, tuple[SloClass, float]] = {}
        self._seen: dict[str, float] = {}

    def entered(self, ask: Ask, now: float) -> None:
        """Learn how often promises come, and which."""
        if ask.slo.is_best_effort:
            return
        for rate in self._rates:
            rate.add(1, now)
        self._waiting[ask.number] = ask
        self._promises[ask.slo.name] = (ask.slo, now)

    def ended(self, ask: Ask, now: float) -> None:
        """It waits no more."""
        self._waiting.pop(ask.number, None)

    def has_room(self, ask: Ask, instance: Instance, now: float) -> bool:
        """Always for those with a promise."""
        self._seen[instance.name] = now
        if not ask.slo.is_best_effort:
            return True
        if self._someone_waits(ask.model):
            return False
        if instance.free_seats - 1 < self.kept_seats(now):
            return False
        return (
            self._keeps_pace(instance, now)
            and self._keeps_first(ask, instance, now)
            and self._spares(ask, instance, now)
        )

    def kept_seats(self, now: float) -> float:
        """Seats of each replica that best effort leaves free."""
        known = [rate.per_second(now) for rate in self._rates]
        rate = max((one for one in known if one is not None), default=0.0)
        expected = rate * self._ahead
        kept = expected + self._sureness * math.sqrt(expected)
        self._forget(now)
        return min(math.ceil(kept / max(len(self._seen), 1)), 1_000_000)

    def _someone_waits(self, model: str) -> bool:
        for number in [number for number, one in self._waiting.items() if one.has_started]:
            del self._waiting[number]
        return any(one.model == model for one in self._waiting.values())

    def _bounds(self, now: float) -> list[SloClass]:
        return [slo for slo, at in self._promises.values() if now - at <= 10 * REMEMBER_SECONDS]

    def _keeps_pace(self, instance: Instance, now: float) -> bool:
        bounds = [one.tpot_seconds for one in self._bounds(now) if one.tpot_seconds is not None]
        if not bounds or instance.pace is None:
            return True
        sizes = mix([instance]) or (0.0, 1.0)
        most = most_sequences(instance.pace, min(bounds) * self._pace_slack, sizes)
        return len(instance.running) + 1 <= most

    def _keeps_first(self, ask: Ask, instance: Instance, now: float) -> bool:
        bounds = [one.ttft_seconds for one in self._bounds(now) if one.ttft_seconds is not None]
        if not bounds or instance.pace is None:
            return True
        if not instance.prompt_tokens_ahead:
            # A prompt that is longer than the share would never start; it starts alone.
            return True
        tokens = instance.prompt_tokens_ahead + ask.input_tokens
        return prompt_seconds(instance.pace, tokens) <= self._prompt_share * min(bounds)

    def _spares(self, ask: Ask, instance: Instance, now: float) -> bool:
        """Whether its prompt leaves everybody who decodes there the promised time between tokens.

        Who would miss it anyway is not waited for. Of a prompt that takes longer than its share of
        the first token's bound no more is asked than of that: it would wait for ever.
        """
        pace = instance.pace
        if pace is None:
            return True
        step = step_seconds(pace, len(instance.running) + 1)
        ahead = prompt_seconds(pace, instance.prompt_tokens_ahead)
        firsts = [one.ttft_seconds for one in self._bounds(now) if one.ttft_seconds is not None]
        share = self._prompt_share * min(firsts, default=math.inf)
        stall = min(prompt_seconds(pace, ask.input_tokens), share)
        spare = (
            self._spare_seconds(each, bound, step, ahead, now)
            for each in instance.running.values()
            if (bound := each.slo.tpot_seconds) is not None and not each.slo.is_best_effort
        )
        return not any(0 <= seconds < stall for seconds in spare)

    def _spare_seconds(
        self, ask: Ask, bound: float, step: float, ahead: float, now: float
    ) -> float:
        """That it may still be held up: what all its tokens may take, less what they will.

        spare = slack bound (tokens - 1) - since the first - left step - prompts ahead
        """
        left = remaining_tokens(ask)
        may = self._pace_slack * bound * (ask.output_tokens + left - 1)
        # The prompts before its first token do not count; those that are left then, hardly.
        took = now - ask.first + ahead if ask.has_first else 0.0
        return may - took - left * step

    def _forget(self, now: float) -> None:
        for name in [n for n, at in self._seen.items() if now - at > REMEMBER_SECONDS]:
            del self._seen[name]
