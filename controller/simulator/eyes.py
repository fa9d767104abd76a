"""What a controller would have seen of a simulated fleet: scrapes, every so many seconds."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from controller import observation as seen
from controller.numbers import Floats
from controller.observation import (
    ForecastView,
    Limits,
    Objective,
    Observation,
    PoolView,
    Reading,
    ReplicaView,
)
from controller.simulator.fleet import FleetModel
from controller.simulator.state import DONE, READY, STARTING

# (fleet, pool, at) -> what is expected then; None where nobody forecasts.
Foresight = Callable[[FleetModel, str, float], tuple[ForecastView, ...]]
_COUNTED = ("output_total", "prompt_total", "cached_total", "busy_seconds")


@dataclass(slots=True)
class _Seen:
    """One pool at one scrape."""

    at: float
    replicas: tuple[ReplicaView, ...]
    signals: dict[str, Reading]


@dataclass(slots=True)
class _Before:
    """Counters at the scrape before."""

    at: float
    arrived: int
    refused: int
    done: int
    of_slot: dict[int, tuple[int, tuple[float, ...]]]


class Eyes:
    """Scrapes a fleet.

    Args:
        fleet: simulated.
        objective: what attainment is measured against.
        limits: of each pool.
        scrape_seconds: between two scrapes.
        foresight: gives forecasts; None without.
    """

    def __init__(
        self,
        fleet: FleetModel,
        objective: Objective,
        limits: Mapping[str, Limits],
        scrape_seconds: float = 15.0,
        foresight: Foresight | None = None,
    ) -> None:
        self._fleet, self._objective, self._limits = fleet, objective, limits
        self._foresight = foresight
        self.scrape_seconds = scrape_seconds
        self._seen: dict[str, _Seen] = {}
        self._before: dict[str, _Before] = {}
        self._targets: dict[str, int] = {}

    def asked(self, targets: Mapping[str, int]) -> None:
        """Remember what the fleet was last told to be."""
        self._targets |= targets

    def scrape(self) -> None:
        """Read every pool now."""
        for number, plan in enumerate(self._fleet.plans):
            before = self._before.get(plan.name)
            now = self._counters(number)
            replicas = self._replicas(number)
            signals = self._signals(number, replicas, before, now)
            self._seen[plan.name] = _Seen(now.at, replicas, signals)
            self._before[plan.name] = now

    def observation(self, history: Mapping[str, tuple[float, ...]] | None = None) -> Observation:
        """What is known now: the last scrape, and the replicas that the platform counts.

        Args:
            history: rates of each pool before the start, for a policy that remembers nothing.
        """
        at = self._fleet.now
        pools = tuple(self._pool(number, at) for number in range(len(self._fleet.plans)))
        pools = tuple(replace(one, history=(history or {}).get(one.name, ())) for one in pools)
        return Observation(at, pools, self._objective, self.scrape_seconds)

    def _pool(self, number: int, at: float) -> PoolView:
        plan = self._fleet.plans[number]
        ready, starting, draining = self._fleet.counts(plan.name)
        last = self._seen.get(plan.name)
        age = at - last.at if last else 0.0
        signals = {} if last is None else last.signals
        if last is not None and age > 0:
            signals = {
                name: Reading(one.value, one.grade, (one.age_seconds or 0.0) + age, one.share)
                for name, one in signals.items()
            }
        return PoolView(
            plan.name,
            self._targets.get(plan.name, ready + starting),
            ready,
            starting,
            draining,
            self._limits[plan.name],
            signals,
            () if last is None else last.replicas,
            plan.role,  # type: ignore[arg-type]
            plan.profile,
            plan.startup,
            () if self._foresight is None else self._foresight(self._fleet, plan.name, at),
        )

    def _counters(self, number: int) -> _Before:
        world = self._fleet.world
        slots = np.flatnonzero(world.replicas["pool"] == number)
        of_slot = {
            int(slot): (
                self._fleet.birth(int(slot)),
                tuple(float(world.replicas[name][slot]) for name in _COUNTED),
            )
            for slot in slots
        }
        mine = world.pools[number]
        return _Before(
            self._fleet.now,
            int(mine["arrived_total"]),
            int(mine["refused_total"]),
            int(world.course["done_count"][0]),
            of_slot,
        )

    def _replicas(self, number: int) -> tuple[ReplicaView, ...]:
        world, profile = self._fleet.world, self._fleet.plans[number].profile
        found = []
        for slot in np.flatnonzero(world.replicas["pool"] == number).tolist():
            mine, age = world.replicas[slot], self._fleet.age(slot)
            if mine["state"] == STARTING:
                found.append(ReplicaView(f"r{self._fleet.birth(slot)}", "starting", age))
                continue
            context = float(mine["context"])
            found.append(
                ReplicaView(
                    f"r{self._fleet.birth(slot)}",
                    "ready" if mine["state"] == READY else "draining",
                    age,
                    0.0,
                    float(mine["running"]),
                    float(mine["waiting"] + (mine["partial"] >= 0)),
                    min(context / profile.cache_tokens, 1.0),
                    float(mine["pending_tokens"]),
                    context,
                )
            )
        return tuple(found)

    def _signals(
        self, number: int, replicas: tuple[ReplicaView, ...], before: _Before | None, now: _Before
    ) -> dict[str, Reading]:
        told = [one for one in replicas if one.scrape_age_seconds is not None]
        made = {
            seen.REQUESTS_RUNNING: sum(one.requests_running or 0.0 for one in told),
            seen.REQUESTS_WAITING: sum(one.requests_waiting or 0.0 for one in told),
            seen.REQUESTS_HELD: float(self._fleet.world.pools["held"][number]),
        }
        ready = [one.kv_cache_usage_ratio or 0.0 for one in told if one.state == "ready"]
        if ready:
            made[seen.KV_CACHE_USAGE_RATIO] = sum(ready) / len(ready)
        if before is not None and now.at > before.at:
            made |= self._rates(number, before, now)
        return {name: Reading(float(value)) for name, value in made.items()}

    def _rates(self, number: int, before: _Before, now: _Before) -> dict[str, float]:
        seconds = now.at - before.at
        grown = np.zeros(len(_COUNTED))
        for slot, (birth, totals) in now.of_slot.items():
            was = before.of_slot.get(slot)
            base = was[1] if was is not None and was[0] == birth else (0.0,) * len(_COUNTED)
            grown += np.maximum(np.subtract(totals, base), 0.0)
        output, prompt, cached, busy = grown.tolist()
        made = {
            seen.REQUESTS_PER_SECOND: (now.arrived - before.arrived) / seconds,
            seen.REFUSED_PER_SECOND: (now.refused - before.refused) / seconds,
            seen.OUTPUT_TOKENS_PER_SECOND: output / seconds,
        }
        if prompt + cached > 0:
            made[seen.PREFIX_HIT_RATIO] = cached / (prompt + cached)
        if now.of_slot:
            made[seen.BUSY_RATIO] = min(busy / seconds / len(now.of_slot), 1.0)
        return made | self._of_requests(number, before, now, seconds)

    def _of_requests(
        self, number: int, before: _Before, now: _Before, seconds: float
    ) -> dict[str, float]:
        world = self._fleet.world
        ended = world.done[before.done : now.done]
        mine = ended[world.requests["pool"][ended] == number]
        made: dict[str, float] = {}
        # Not numpy's search: it would copy the column first, as it lies between others.
        low, high = (bisect_left(world.requests["arrived"], at) for at in (before.at, now.at))
        # What came in by a prefill pool may be in the next one by now.
        at = "pool" if self._fleet.plans[number].role == "decode" else "entered"
        came = world.requests["prompt"][low:high][world.requests[at][low:high] == number]
        made[seen.INPUT_TOKENS_PER_SECOND] = float(came.sum()) / seconds
        if len(came):
            made[seen.INPUT_TOKENS] = float(came.mean())
        done = mine[world.requests["status"][mine] == DONE]
        if len(done):
            ttft, tpot = latencies(self._fleet, done)
            made[seen.OUTPUT_TOKENS] = float(world.requests["output"][done].mean())
            made[seen.TTFT_P95_SECONDS] = float(np.quantile(ttft, 0.95))
            if np.isfinite(tpot).any():
                made[seen.TPOT_P95_SECONDS] = float(np.nanquantile(tpot, 0.95))
        judged = self._judged(number, ended)
        if len(judged):
            made[seen.ATTAINMENT_RATIO] = float(judged.mean())
        return made

    def _judged(self, number: int, ended: np.ndarray) -> np.ndarray:
        """Of those that ended: which this pool served in time.

        Of a pair each is judged for its own part: the first for what left it too late for any
        decoding pool, the second for all others.
        """
        requests = self._fleet.world.requests
        mine = ended[requests["pool"][ended] == number]
        role = self._fleet.plans[number].role
        if role == "whole":
            return is_good(self._fleet, mine, self._objective)
        if role == "prefill":
            mine = ended[requests["entered"][ended] == number]
            return np.asarray(np.logical_not(self._late_before(mine)))
        in_time = np.logical_not(self._late_before(mine))
        return np.asarray(is_good(self._fleet, mine, self._objective)[in_time])

    def _late_before(self, who: np.ndarray) -> np.ndarray:
        """Which of these a prefill pool lost, or let go when the first token was due already."""
        requests, bound = self._fleet.world.requests, self._objective.ttft_seconds
        moved = requests["moved"][who]
        if bound is None:
            return np.asarray(np.isnan(moved))
        entered, pools = requests["entered"][who], self._fleet.world.pools
        # Its cache has to arrive, and to be read once.
        first = moved + pools["transfer_seconds"][entered] + self._first_steps()[entered]
        first += pools["transfer_per_token"][entered] * requests["prompt"][who]
        return np.asarray(np.logical_not(first - requests["arrived"][who] <= bound))

    def _first_steps(self) -> Floats:
        """(pools,) seconds of a step that decodes one sequence, where each sends its requests."""
        plans = {plan.name: plan for plan in self._fleet.plans}
        steps = [plans.get(plan.sends_to, plan).profile.step for plan in self._fleet.plans]
        return np.array([step.fixed_seconds + step.decoding_seconds for step in steps])


def latencies(fleet: FleetModel, who: np.ndarray) -> tuple[Floats, Floats]:
    """(TTFT, TPOT) of requests, seconds; NaN where there is none."""
    requests = fleet.world.requests
    ttft = requests["first"][who] - requests["arrived"][who]
    more = requests["output"][who] - 1
    decoding = requests["end"][who] - requests["first"][who]
    return ttft, np.where(more > 0, decoding / np.maximum(more, 1), np.nan)


def is_good(fleet: FleetModel, who: np.ndarray, objective: Objective) -> np.ndarray:
    """Which of these met the objective; what was refused, given up or lost did not."""
    ttft, tpot = latencies(fleet, who)
    good = fleet.world.requests["status"][who] == DONE
    if objective.ttft_seconds is not None:
        good &= ttft <= objective.ttft_seconds
    if objective.tpot_seconds is not None:
        good &= ~(tpot > objective.tpot_seconds)
    return np.asarray(good)
