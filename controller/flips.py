"""What would have changed a decision: the same again, with one thing seen otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from controller import observation as seen
from controller.codec import Given
from controller.observation import ForecastView, PoolView, Reading, ReplicaView
from controller.policy import Policy
from controller.step import kind_of, stepped

UP = (1.05, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
DOWN = (0.95, 0.9, 0.75, 0.5, 0.3, 0.1, 0.0)
FROM_ZERO = (1.0, 3.0, 10.0, 30.0, 100.0)
HALVINGS = 7
FORECAST = "forecast"
VARIED = (
    seen.REQUESTS_PER_SECOND,
    seen.REQUESTS_WAITING,
    seen.REQUESTS_RUNNING,
    seen.KV_CACHE_USAGE_RATIO,
    FORECAST,
)
_OF_REPLICA = {
    seen.REQUESTS_WAITING: "requests_waiting",
    seen.REQUESTS_RUNNING: "requests_running",
    seen.KV_CACHE_USAGE_RATIO: "kv_cache_usage_ratio",
}
_WORDS = {"up": "scale up", "down": "scale down", "hold": "hold"}


@dataclass(frozen=True, slots=True)
class Flip:
    """One thing that would have changed a decision.

    Attributes:
        signal: what would have to be seen otherwise; "forecast" is all of its quantiles.
        seen: its value (of the forecast its middle, farthest ahead).
        at: the value from which on the decision is another.
        kind: what it would be then: up, down, hold.
        final: replicas then.
        text: one sentence.
    """

    signal: str
    seen: float
    at: float
    kind: str
    final: int
    text: str


def flips(
    policy: Policy, given: Given, memory: str, pool: str, has_time: Callable[[], bool]
) -> list[Flip]:
    """What would have changed a pool's decision, one thing at a time.

    Args:
        policy: as it was.
        given: as it was.
        memory: canonical JSON of what the policy remembered.
        pool: whose.
        has_time: False stops the search with what is found.
    """
    trial = _Trial(policy, given, memory, pool)
    base = trial.result(None, 1.0)
    found = []
    for signal in VARIED:
        value = trial.value(signal)
        if value is None or not has_time():
            continue
        for steps in (UP if value else FROM_ZERO, DOWN if value else ()):
            flip = _first(trial, signal, value, steps, base, has_time)
            if flip is not None:
                found.append(flip)
    return found


def _first(
    trial: _Trial,
    signal: str,
    value: float,
    steps: tuple[float, ...],
    base: tuple[str, int],
    has_time: Callable[[], bool],
) -> Flip | None:
    """The nearest value in one direction at which the decision is of another kind."""
    inside = 1.0 if value else 0.0
    for factor in steps:
        if not has_time():
            return None
        kind, final = trial.result(signal, factor)
        if kind != base[0]:
            break
        inside = factor
    else:
        return None
    outside, result = factor, (kind, final)
    for _ in range(HALVINGS):
        if not has_time():
            break
        middle = (inside + outside) / 2
        tried = trial.result(signal, middle)
        if tried[0] == base[0]:
            inside = middle
        else:
            outside, result = middle, tried
    at = float(f"{(value or 1.0) * outside:.4g}")
    return Flip(signal, value, at, *result, _sentence(signal, at, value, result))


def _sentence(signal: str, at: float, value: float, result: tuple[str, int]) -> str:
    name = signal.replace("_", " ")
    sign = ">=" if at >= value else "<="
    to = "" if result[0] == "hold" else f" to {result[1]}"
    return f"would {_WORDS[result[0]]}{to} at {name} {sign} {at:g}"


@dataclass(frozen=True, slots=True)
class _Trial:
    """One pool's decision, with one thing varied."""

    policy: Policy
    given: Given
    memory: str
    pool: str

    def value(self, signal: str) -> float | None:
        """What was seen of it."""
        view = self.given.observation.pool(self.pool)
        if signal != FORECAST:
            return view.reading(signal).value
        if not view.forecasts:
            return None
        last = view.forecasts[-1]
        return last.values[len(last.values) // 2]

    def result(self, signal: str | None, factor: float) -> tuple[str, int]:
        """Kind and replicas, with the value times a factor (or plainly the factor, for a zero)."""
        given = self.given if signal is None else self._varied(signal, factor)
        step = stepped(self.policy, given, self.memory)
        final = step.passed.targets[self.pool]
        return kind_of(given.observation.pool(self.pool), final), final

    def _varied(self, signal: str, factor: float) -> Given:
        observation = self.given.observation
        pools = tuple(
            _varied_pool(view, signal, factor) if view.name == self.pool else view
            for view in observation.pools
        )
        return replace(self.given, observation=replace(observation, pools=pools), failure="")


def _varied_pool(view: PoolView, signal: str, factor: float) -> PoolView:
    if signal == FORECAST:
        return replace(view, forecasts=tuple(_scaled(view.forecasts, factor)))
    reading = view.reading(signal)
    value = (reading.value or 1.0) * factor
    signals: Mapping[str, Reading] = {**view.signals, signal: replace(reading, value=value)}
    name = _OF_REPLICA.get(signal)
    if name is None:
        return replace(view, signals=signals)
    replicas = tuple(
        _varied_replica(one, name, factor, len(view.replicas)) for one in view.replicas
    )
    return replace(view, signals=signals, replicas=replicas)


def _varied_replica(one: ReplicaView, name: str, factor: float, count: int) -> ReplicaView:
    value = getattr(one, name)
    if value is None:
        return one
    made = value * factor if value else factor / max(count, 1)
    if name == "requests_waiting":
        return replace(one, requests_waiting=made)
    if name == "requests_running":
        return replace(one, requests_running=made)
    return replace(one, kv_cache_usage_ratio=made)


def _scaled(forecasts: tuple[ForecastView, ...], factor: float) -> Iterator[ForecastView]:
    for one in forecasts:
        yield replace(one, values=tuple(value * factor for value in one.values))
