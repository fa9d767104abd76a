"""TokenScale: token arrival rates over token velocities.

Source: arXiv 2512.03416. Convertible decoders are left out: a replica here has one role.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from controller import observation as seen
from controller.capacity import requests_per_second
from controller.observation import Observation, PoolView
from controller.policies.windows import added, within
from controller.policy import Memory, PolicySpec, Proposal, Reason

WINDOW_SECONDS, DOWN_SECONDS = 15.0, 60.0


@dataclass(frozen=True, slots=True)
class TokenScale:
    """Replicas = tokens that arrive a second / tokens a replica takes a second.

    Args:
        share: of the velocity that is planned for.
    """

    share: float = 1.0
    spec: PolicySpec = field(
        default=PolicySpec(
            "tokenscale",
            "TokenScale",
            15.0,
            "arXiv 2512.03416; without convertible decoders",
            parameters={"share": 1.0},
            knob="share",
            knob_values=(0.4, 0.6, 0.8, 1.0, 1.2),
        ),
        init=False,
    )

    def decide(self, observation: Observation, memory: Memory) -> tuple[Proposal, Memory]:
        """Every 15 s."""
        targets, reasons, kept = {}, [], {}
        for pool in observation.pools:
            target, reason, mine = self._pool(observation, pool, memory.get(pool.name, {}))
            targets[pool.name] = target
            reasons.append(reason)
            kept[pool.name] = mine
        return Proposal(targets, tuple(reasons)), kept

    def _pool(
        self, observation: Observation, pool: PoolView, memory: Memory
    ) -> tuple[int, Reason, Memory]:
        at, tokens = observation.at, pool.reading(seen.INPUT_TOKENS_PER_SECOND).value
        sizes = (pool.reading(seen.INPUT_TOKENS).value, pool.reading(seen.OUTPUT_TOKENS).value)
        if tokens is None or pool.profile is None or sizes[0] is None or not math.isfinite(tokens):
            return pool.target, Reason(pool.name, "no_data", "no token rate: held"), dict(memory)
        requests = requests_per_second(
            pool.profile, observation.objective, sizes[0], sizes[1] or 256.0, pool.role
        )
        velocity = max(requests * sizes[0] * self.share, 1e-9)
        history = added(memory.get("needs", []), at, tokens / velocity, DOWN_SECONDS)
        need = max(within(history, at, DOWN_SECONDS))
        target = min(max(math.ceil(need - 1e-9), pool.limits.least), pool.limits.most)
        text = f"{tokens:.0f} prompt tokens/s arrive, a replica takes {velocity:.0f}"
        numbers = {"tokens_per_second": tokens, "velocity": velocity}
        return target, Reason(pool.name, "velocity", text, numbers), {"needs": history}
