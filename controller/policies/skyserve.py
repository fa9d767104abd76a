"""SkyServe's request-rate autoscaler.

Source: skypilot-org/skypilot sky/serve/autoscalers.py. Left out: spot replicas and their on-demand
fallback.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from controller import observation as seen
from controller.observation import Observation, PoolView
from controller.policies.pairing import shared
from controller.policies.parts import bounded, each_pool, in_range, told, up
from controller.policies.windows import added, mean, within
from controller.policy import Memory, PolicySpec, Proposal, Reason

PERIOD_SECONDS = 20.0
UP_SECONDS, DOWN_SECONDS = 300.0, 1200.0
QPS_SECONDS = 60.0
SPEC = PolicySpec(
    "skyserve",
    "SkyServe",
    PERIOD_SECONDS,
    "skypilot-org/skypilot sky/serve/autoscalers.py",
    parameters={"target_qps": 1.0, "up_seconds": UP_SECONDS, "down_seconds": DOWN_SECONDS},
    knob="target_qps",
    knob_values=(0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0),
)


@dataclass(frozen=True, slots=True)
class SkyServe:
    """ceil(requests a second / target), counted in ticks: one contrary tick starts again.

    Args:
        target_qps: requests a second a replica should have; its source has no default.
        up_seconds: for so long more must be wanted.
        down_seconds: for so long less must be wanted.
    """

    target_qps: float = 1.0
    up_seconds: float = UP_SECONDS
    down_seconds: float = DOWN_SECONDS
    spec: PolicySpec = field(default=SPEC, init=False)

    def __post_init__(self) -> None:
        """Refuse what the service spec refuses."""
        in_range(SPEC.name, "target_qps", self.target_qps, 1e-6, 1e6)
        in_range(SPEC.name, "up_seconds", self.up_seconds, 0, 86_400)
        in_range(SPEC.name, "down_seconds", self.down_seconds, 0, 86_400)

    def decide(self, observation: Observation, memory: Memory) -> tuple[Proposal, Memory]:
        """Every 20 s."""
        return each_pool(shared(observation), memory, self._pool)

    def _pool(
        self, observation: Observation, pool: PoolView, memory: Memory
    ) -> tuple[int, Reason, Memory]:
        at, rate = observation.at, told(pool, seen.REQUESTS_PER_SECOND)
        history = memory.get("rate", [])
        if rate is not None:
            history = added(history, at, rate, QPS_SECONDS)
        qps = mean(within(history, at, QPS_SECONDS))
        counts = {"ups": int(memory.get("ups", 0)), "downs": int(memory.get("downs", 0))}
        if qps is None:
            text = "no request rate is known: nothing changes"
            kept = {"rate": history, **counts}
            return pool.target, Reason(pool.name, "no_data", text), kept
        wanted = bounded(pool, up(qps / self.target_qps))
        ups = counts["ups"] + 1 if wanted > pool.target else 0
        downs = counts["downs"] + 1 if wanted < pool.target else 0
        is_due = pool.target == 0 or self._is_due(ups, downs)
        kept = {"rate": history, "ups": 0 if is_due else ups, "downs": 0 if is_due else downs}
        text = f"{qps:.2f} requests/s, {self.target_qps:g} a replica: {wanted}"
        numbers = {"qps": qps, "wanted": float(wanted)}
        code = "due" if is_due else "delay" if ups or downs else "steady"
        return wanted if is_due else pool.target, Reason(pool.name, code, text, numbers), kept

    def _is_due(self, ups: int, downs: int) -> bool:
        by_up, by_down = (int(s / PERIOD_SECONDS) for s in (self.up_seconds, self.down_seconds))
        return (ups > 0 and ups >= by_up) or (downs > 0 and downs >= by_down)
