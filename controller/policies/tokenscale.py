"""TokenScale: token arrival rates over token velocities.

Source: arXiv 2512.03416. Convertible decoders are left out: a replica here has one role. How long
the highest need counts before it shrinks is ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from controller import observation as seen
from controller.capacity import requests_per_second
from controller.observation import Observation, PoolView
from controller.policies.pairing import shared
from controller.policies.parts import bounded, each_pool, in_range, sizes, told, up
from controller.policies.windows import added, within
from controller.policy import Memory, PolicySpec, Proposal, Reason

DOWN_SECONDS = 60.0
SPEC = PolicySpec(
    "tokenscale",
    "TokenScale",
    15.0,
    "arXiv 2512.03416; without convertible decoders",
    parameters={"share": 1.0, "down_seconds": DOWN_SECONDS},
    knob="share",
    knob_values=(0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2),
)


@dataclass(frozen=True, slots=True)
class TokenScale:
    """Replicas = tokens that arrive a second / tokens a replica takes a second.

    Args:
        share: of the velocity that is planned for.
        down_seconds: the highest need of so long counts.
    """

    share: float = 1.0
    down_seconds: float = DOWN_SECONDS
    spec: PolicySpec = field(default=SPEC, init=False)

    def __post_init__(self) -> None:
        """Refuse what is no velocity."""
        in_range(SPEC.name, "share", self.share, 0.01, 100)
        in_range(SPEC.name, "down_seconds", self.down_seconds, 0, 3600)

    def decide(self, observation: Observation, memory: Memory) -> tuple[Proposal, Memory]:
        """Every 15 s."""
        return each_pool(shared(observation), memory, self._pool)

    def _pool(
        self, observation: Observation, pool: PoolView, memory: Memory
    ) -> tuple[int, Reason, Memory]:
        at, rate = observation.at, told(pool, seen.REQUESTS_PER_SECOND)
        if rate is None or pool.profile is None or told(pool, seen.INPUT_TOKENS) is None:
            return pool.target, Reason(pool.name, "no_data", "no token rate: held"), dict(memory)
        prompt, output = sizes(pool)
        requests = requests_per_second(
            pool.profile, observation.objective, prompt, output, pool.role
        )
        a_request = {"prefill": prompt, "decode": output}.get(pool.role, prompt + output)
        velocity = requests * a_request
        if pool.role == "prefill" and pool.profile.transfer_token_seconds > 0:
            velocity = min(velocity, 1 / pool.profile.transfer_token_seconds)
        velocity *= self.share
        tokens = rate * a_request
        if velocity <= 0 or not math.isfinite(velocity):
            text = "no replica takes such requests inside the objective: held"
            return pool.target, Reason(pool.name, "no_capacity", text), dict(memory)
        history = added(memory.get("needs", []), at, tokens / velocity, self.down_seconds)
        target = bounded(pool, up(max(within(history, at, self.down_seconds))))
        text = f"{tokens:.0f} tokens/s arrive, a replica takes {velocity:.0f}"
        numbers = {"tokens_per_second": tokens, "velocity": velocity}
        return target, Reason(pool.name, "velocity", text, numbers), {"needs": history}
