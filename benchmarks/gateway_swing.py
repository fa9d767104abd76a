"""Prefill and decoding replicas apart: does early rejection make their loads swing?

    python benchmarks/gateway_admission.py swing

A plain model of its own, as the trial's replicas do both: prompts one after another, decoding in
batches whose steps grow with them, ticks of 50 ms. A request whose prompt is computed and that then
finds every decoding replica full is lost, and its prompt was computed for nothing.

Source of the effect: Mooncake (arXiv 2407.00079), section 7.3.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from controller.gateway.admission.registry import make_rule
from controller.gateway.ask import Ask, SloClass
from controller.gateway.fleet import Instance, Pace, Sight

TICK, SECONDS, WARM = 0.05, 300.0, 60.0
SLO = SloClass("online", ttft_seconds=20.0, tpot_seconds=0.1)
PREFILL, DECODE = Pace(2.5e-4, 0.01, 0.0), Pace(0.0, 0.02, 0.002)
REPLICAS, MOST, BALANCED_RATE = 4, 40, 9.5
RULES = {
    "none": None, "first token alone": "none", "decoding as it is now": "now",
    "decoding when the prompt is done": "predicted",
}  # fmt: skip


@dataclass
class Fleet:
    """Four replicas each; `MOST` sequences keep the bound between tokens."""

    load: str | None
    dice: np.random.Generator
    prefill: list[Instance] = field(default_factory=list)
    decode: list[Instance] = field(default_factory=list)
    queues: dict[str, deque[Ask]] = field(default_factory=dict)
    left: dict[str, float] = field(default_factory=dict)
    output: dict[int, int] = field(default_factory=dict)
    part: dict[int, float] = field(default_factory=dict)
    count: int = 0
    good: int = 0
    refused: int = 0
    wasted: int = 0

    def __post_init__(self) -> None:
        for number in range(REPLICAS):
            name = f"p{number}"
            self.prefill.append(Instance(name, "", role="prefill", seats=10**6, pace=PREFILL))
            self.queues[name], self.left[name] = deque(), 0.0
            self.decode.append(Instance(f"d{number}", "", role="decode", seats=10**6, pace=DECODE))
        self.rule = None
        if self.load is not None:
            self.rule = make_rule("early-rejection", decode_load=self.load)

    def arrives(self, now: float) -> None:
        dice = self.dice
        prompt = int(np.clip(dice.lognormal(7.3, 0.5), 200, 30_000))
        output = int(np.clip(dice.lognormal(4.95, 0.5), 20, 3_000))
        expected = output * dice.uniform(0.5, 1.5)
        self.count += 1
        ask = Ask(self.count, now, "a", "m", prompt, expected, 1.5 * expected, slo=SLO)
        sight = Sight(now, [*self.prefill, *self.decode])
        if self.rule is not None and self.rule.judge(ask, sight) is not None:
            self.refused += 1
            return
        one = min(self.prefill, key=lambda one: one.prompt_tokens_ahead)
        ask.started = now
        one.begins(ask)
        self.output[ask.number] = output
        self.queues[one.name].append(ask)
        if len(self.queues[one.name]) == 1:
            self.left[one.name] = prompt * PREFILL.prompt_token_seconds

    def goes_on(self, now: float) -> None:
        for one in self.prefill:
            self._computes(one, now)
        for one in self.decode:
            self._decodes(one, now)

    def loads(self) -> tuple[float, float]:
        """(prefill, decode): share of the first token's bound that is ahead, and of places."""
        ahead = max(one.prompt_tokens_ahead for one in self.prefill)
        seconds = ahead * PREFILL.prompt_token_seconds
        running = sum(len(one.running) for one in self.decode)
        return min(seconds / (SLO.ttft_seconds or 1.0), 1.0), running / (MOST * REPLICAS)

    def _computes(self, one: Instance, now: float) -> None:
        queue, budget = self.queues[one.name], TICK
        while queue and budget > 0:
            if self.left[one.name] > budget:
                self.left[one.name] -= budget
                return
            budget -= self.left[one.name]
            ask = queue.popleft()
            one.produced(ask, 1, now)
            one.is_over(ask)
            if queue:
                self.left[one.name] = queue[0].input_tokens * PREFILL.prompt_token_seconds
            self._hands_on(ask)

    def _hands_on(self, ask: Ask) -> None:
        one = min(self.decode, key=lambda one: len(one.running))
        if len(one.running) >= MOST:
            self.wasted += 1
            return
        ask.cached_tokens = ask.input_tokens
        one.begins(ask)
        self.part[ask.number] = 0.0

    def _decodes(self, one: Instance, now: float) -> None:
        step = DECODE.step_seconds + DECODE.sequence_seconds * len(one.running)
        for ask in list(one.running.values()):
            whole = self.part[ask.number] + TICK / step
            self.part[ask.number] = whole - int(whole)
            one.produced(ask, int(whole), now)
            if ask.output_tokens >= self.output[ask.number]:
                one.is_over(ask)
                self.good += ask.first - ask.arrived <= (SLO.ttft_seconds or 0.0)


def run(load: str | None, factor: float, seed: int) -> dict[str, float]:
    """One load for five minutes."""
    dice = np.random.default_rng(seed)
    fleet, now, rate = Fleet(load, dice), 0.0, factor * BALANCED_RATE
    comes, seen = dice.exponential(1 / rate), []
    while now < SECONDS:
        now += TICK
        while comes <= now:
            fleet.arrives(now)
            comes += dice.exponential(1 / rate)
        fleet.goes_on(now)
        if now > WARM:
            seen.append(fleet.loads())
    prefill, decode = np.array(seen).T
    moves = prefill.std() > 1e-6 and decode.std() > 1e-6
    return {
        "goodput": fleet.good / SECONDS,
        "refused": fleet.refused / fleet.count,
        "wasted": fleet.wasted / fleet.count,
        "decode": float(decode.mean()),
        "full": float((decode > 0.99).mean()),
        "together": float(np.corrcoef(prefill, decode)[0, 1]) if moves else 0.0,
    }


def table(seeds: Sequence[int]) -> str:
    """As Markdown."""
    lines = [
        "| load | refuses by | goodput | refused at once | prompts computed for nothing |"
        " decoding: mean load | full | correlation of both loads |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for factor in (2.0, 3.0):
        for name, load in RULES.items():
            rows = [run(load, factor, seed) for seed in seeds]
            row = {key: float(np.mean([one[key] for one in rows])) for key in rows[0]}
            lines.append(
                f"| {factor:g} times | {name} | {row['goodput']:.1f}/s |"
                f" {100 * row['refused']:.1f} % | {100 * row['wasted']:.1f} % |"
                f" {100 * row['decode']:.0f} % | {100 * row['full']:.0f} % of the time |"
                f" {row['together']:+.2f} |"
            )
    return "\n".join(lines)
