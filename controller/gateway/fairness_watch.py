"""Watches live how far apart tenants are that wait, and how far they may be by the line's bound.

The meter outlives every change of policy. Its limit follows the fleet, the line, tenants' weights
and the longest request that was seen. There is none where the line promises nothing, and none once
it had requests of several models or priorities: those pass each other, whoever had how much, and
counters of tenants that used both stay apart.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from controller.gateway.ask import Ask
from controller.gateway.gate import Gate, Policies
from controller.gateway.queueing.base import INPUT_WEIGHT, OUTPUT_WEIGHT, Line
from controller.gateway.queueing.bound import Capacity, bound
from controller.gateway.queueing.meter import FairnessMeter, Metered
from store.clock import Clock

log = logging.getLogger(__name__)

EVERY_SECONDS = 1.0
WARN_SECONDS = 60.0
"""A bound that stays broken is a line of the log so often."""
NO_REQUEST = "no request was seen yet"
SEVERAL = "it had requests of several models or priorities, and those pass each other"


class FairnessWatch:
    """See the head of this module. One event loop owns it.

    Args:
        clock: the time.
    """

    def __init__(self, clock: Clock) -> None:
        self.meter = FairnessMeter(renew=self._renew)
        self._clock = clock
        self._gate: Gate | None = None
        self._line: Line | None = None
        self._lane: tuple[str, int] | None = None
        self._has_several = False
        self._why: str | None = NO_REQUEST
        self._warned = (0, -math.inf)
        self.forget()

    def forget(self) -> None:
        """Weights may be others now: sizes and weights are those of who is here."""
        self._longest_prompt = self._longest = 0.0
        self._smallest_weight, self._swelling = math.inf, 1.0
        for ask in self._here():
            self._see(ask)
        self._renew()

    def over(self, policies: Policies) -> Policies:
        """The same policies with a line that is measured; they decide from now on."""
        self._line, self._lane, self._has_several = policies.line, None, False
        self.meter.begin()
        self.forget()
        return replace(policies, line=Metered(policies.line, self.meter, seen=self.saw))

    def attach(self, gate: Gate) -> None:
        """Take the fleet, and who is here, from this gate."""
        self._gate = gate

    def saw(self, ask: Ask) -> None:
        """A request came to wait, or is over: the limit follows where it grows by it."""
        if self._see(ask):
            self._renew()

    def tend(self) -> None:
        """Look, follow the fleet, and say so where the bound is broken."""
        self._renew()
        now = self._clock.monotonic()
        shown = self.meter.read(now)
        breaches, warned = self._warned
        if shown.breaches > breaches and now - warned >= WARN_SECONDS:
            self._warned = (shown.breaches, now)
            log.warning(
                "fairness_bound_broken",
                extra={"breaches": shown.breaches, "apart_service": shown.apart,
                       "bound_service": shown.limit, "between": shown.between},
            )  # fmt: skip

    async def run(self) -> None:
        """Tend until cancelled."""
        while True:
            await self._clock.sleep(EVERY_SECONDS)
            try:
                self.tend()
            except Exception:
                log.exception("fairness_watch_failed")

    def state(self) -> dict[str, Any]:
        """How it stands, as a document; no tenant's name is in it. Service is over weight."""
        shown = self.meter.read(self._clock.monotonic())
        spec = None if self._line is None else self._line.spec
        knobs = {} if spec is None else spec.parameters
        input_weight = float(knobs.get("input_weight", INPUT_WEIGHT))
        weight, broken_at = self._smallest_weight, shown.broken_at
        return {
            "line": None if spec is None else spec.name,
            "apart_service": _rounded(shown.apart),
            "greatest_gap_service": _rounded(shown.greatest),
            "bound_service": _rounded(shown.limit),
            "why_no_bound": self._why,
            "breaches": shown.breaches,
            "is_broken": shown.is_broken,
            "broken_seconds_ago": None if broken_at is None else _rounded(shown.at - broken_at),
            "tenants_waiting": len(shown.waiting_since),
            "tenants_not_compared": shown.not_compared,
            "input_weight": input_weight,
            "output_weight": float(knobs.get("output_weight", OUTPUT_WEIGHT)),
            # Lines with a quantum give what is cached for nothing.
            "cached_weight": 0.0 if "quantum" in knobs else input_weight,
            "smallest_weight": weight if math.isfinite(weight) else None,
        }

    def _here(self) -> Iterator[Ask]:
        """Whoever waits or runs."""
        if self._gate is not None:
            yield from self._gate.waiting.values()
            for one in self._gate.instances.values():
                yield from one.running.values()

    def _see(self, ask: Ask) -> bool:
        """Whether the limit may be another by it."""
        # What is charged ahead and does not come counts as held; a prompt is charged as estimated,
        # and in the end as it was.
        told = ask.told_input_tokens
        prompt = ask.input_tokens if told is None else max(ask.input_tokens, told)
        charged = ask.input_tokens + max(ask.expected_output_tokens, ask.output_tokens)
        size = max(charged, prompt + ask.output_tokens)
        swelling = 1.0 if told is None else charged / max(told + ask.output_tokens, 1)
        lane = self._lane
        is_other = lane is not None and (ask.model != lane[0] or ask.slo.priority != lane[1])
        if not (
            lane is None
            or (is_other and not self._has_several)
            or size > self._longest
            or prompt > self._longest_prompt
            or swelling > self._swelling
            or ask.weight < self._smallest_weight
        ):
            return False
        self._lane = lane or (ask.model, ask.slo.priority)
        self._has_several = self._has_several or is_other
        self._longest = max(self._longest, size)
        self._longest_prompt = max(self._longest_prompt, prompt)
        self._swelling = max(self._swelling, swelling)
        self._smallest_weight = min(self._smallest_weight, ask.weight)
        return True

    def _renew(self) -> None:
        """Promise what the line can promise by now."""
        self._why = self._no_bound()
        line, gate, lane = self._line, self._gate, self._lane
        if self._why is not None or line is None or gate is None or lane is None:
            self.meter.promise(None)
            return
        fleet = [one for one in gate.instances.values() if one.answers(lane[0])]
        running = (ask.held_tokens for one in fleet for ask in one.running.values())
        self._longest = max(self._longest, max(running, default=0))
        capacity = Capacity.of_fleet(
            fleet, self._longest_prompt, self._longest, self._smallest_weight, self._swelling
        )
        self.meter.promise(bound(line, capacity))

    def _no_bound(self) -> str | None:
        if self._line is None or self._lane is None or math.isinf(self._smallest_weight):
            return NO_REQUEST
        if not self._line.spec.is_bounded:
            return f"the line {self._line.spec.name} promises none"
        return SEVERAL if self._has_several else None


def _rounded(told: float | None) -> float | None:
    return None if told is None else round(told, 1)
