"""Ours: the cheapest rule that would have kept the objective on the pool's own recent past.

Every few minutes rules (a floor; a forecast from moments that looked like now; a gain on the
present rate; for pools that may go to zero, what their silences were like) are tried on the rates
of the last hours, with the start-up times that were learnt and the pace that a replica's profile
gives. Of those that would have missed no more than is planned the cheapest is followed. Keeping a
fixed number is one of them: when it is the cheapest, the policy says that scaling cannot help.
Nothing is tuned: rules compete anew for each pool, and again all the time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from controller import observation as seen
from controller.observation import Observation, PoolView
from controller.policies import following, remembering, stream
from controller.policies import together as jointly
from controller.policies.following import TRUST_SECONDS, Now
from controller.policies.pairing import pairs_of, shared
from controller.policies.rules import Past, Rule, cheapest
from controller.policies.stream import MOST_HORIZONS
from controller.policy import Memory, PolicySpec, Proposal, Reason

PERIOD_SECONDS = 15.0
# A rule is chosen anew when the past grew by this, and not before there is so much of it.
CHOOSE_SECONDS, LEAST_SECONDS = 300.0, 900.0
# Standard errors of the misses on the past that are added to them: the past is not the future.
DOUBT = 1.0
# The margin on rates to begin with, where little is known of a pool.
FIRST_MARGIN = 1.25

Decided = tuple[int, Reason, list[str], Memory]
DecidedTypes = tuple[dict[str, int], list[Reason], list[str], Memory]


@dataclass(frozen=True, slots=True)
class Risk:
    """Nothing to tune.

    Args:
        doubt: standard errors of what a rule missed on the past, added before it may be followed.
        together: a name of the stream of requests that all its whole pools share, each on another
            type of card: they are decided as one. "": each pool has a stream of its own.
    """

    doubt: float = DOUBT
    together: str = ""
    spec: PolicySpec = field(
        default=PolicySpec(
            "risk",
            "servescope, risk",
            PERIOD_SECONDS,
            "ours",
            parameters={"doubt": DOUBT, "together": ""},
            knob="doubt",
            knob_values=(-2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 4.0),
        ),
        init=False,
    )

    def decide(self, observation: Observation, memory: Memory) -> tuple[Proposal, Memory]:
        """Every 15 s."""
        targets: dict[str, int] = {}
        reasons: list[Reason] = []
        advice: list[str] = []
        kept: dict[str, Memory] = {}
        observation = shared(observation)
        types = self._types(observation)
        if types:
            found = self._together(observation, types, dict(memory.get(_key(self.together), {})))
            targets, reasons, advice = dict(found[0]), list(found[1]), list(found[2])
            kept |= {_key(self.together): found[3]} if found[3] else {}
        for pool in observation.pools:
            if pool.name in targets:
                continue
            target, reason, words, mine = self._pool(
                observation, pool, dict(memory.get(pool.name, {}))
            )
            target, reason = following.awake(pool, target, reason)
            targets[pool.name] = target
            reasons.append(reason)
            advice += words
            if mine:
                # A policy that remembers nothing is told its pools' history again.
                kept[pool.name] = mine
        _wake_pairs(observation, targets)
        return Proposal(targets, tuple(reasons), tuple(advice)), kept

    def _types(self, observation: Observation) -> tuple[PoolView, ...]:
        """Pools that are decided as one; () where there are not two."""
        mine = tuple(
            pool for pool in observation.pools if pool.role == "whole" and pool.profile is not None
        )
        return mine if self.together and len(mine) > 1 else ()

    def _together(
        self, observation: Observation, pools: tuple[PoolView, ...], memory: dict[str, Any]
    ) -> DecidedTypes:
        whole = stream.all_of(pools, self.together)
        memory, is_seen = _remembered(observation, whole, memory)
        if is_seen is None:
            return _held(pools, whole, "the request rate is not known: held", memory)
        came = remembering.came(observation, memory)
        memory["sizes"] = remembering.sizes_of(whole, memory.get("sizes"), came)
        memory["margin"] = _margin(observation, whole, memory)
        kinds, is_priced = stream.kinds_of(pools, observation.objective, memory["sizes"])
        if not kinds:
            text = "no type serves such requests inside the objective: held"
            return _held(pools, whole, text, memory)
        starts = stream.starts_of(pools, observation.objective.attainment_ratio)
        types = jointly.Types(whole, {one.name: one for one in pools}, tuple(kinds), starts)
        memory |= self._way(observation, types, memory, is_priced=is_priced)
        replicas, reason = jointly.decided(observation, types, memory, is_seen=is_seen)
        targets = {pool.name: jointly.target_of(pool, replicas) for pool in pools}
        need = reason.numbers["need"]
        saved = jointly.instead(kinds, replicas, need, is_priced=is_priced)
        text = f"{reason.text}; {saved}" if saved else reason.text
        reasons = [
            replace(reason, pool=name, text=f"{n} of it here: {text}")
            for name, n in targets.items()
        ]
        return targets, reasons, list(memory.get("advice", [])), memory

    def _way(
        self,
        observation: Observation,
        types: jointly.Types,
        memory: dict[str, Any],
        *,
        is_priced: bool,
    ) -> dict[str, Any]:
        """A way chosen anew, when it is time for it."""
        _, past = jointly.standing(observation, types, memory, len(types.horizons) - 1)
        if not _is_time(past, memory):
            return {}
        if following.is_silent(past):
            rule = following.follows_all(past).told()
            return {"rule": rule, "way": MOST_HORIZONS, "base": 0.0, "chosen_at": past.seconds}
        best = jointly.ways(observation, types, memory, self.doubt)[0]
        return {
            "rule": best.best.rule.told(),
            "way": best.number,
            "base": remembering.short(best.steady()),
            "chosen_at": past.seconds,
            "advice": jointly.advice_of(types, best, is_priced=is_priced),
        }

    def _pool(self, observation: Observation, pool: PoolView, memory: dict[str, Any]) -> Decided:
        if pool.profile is None:
            return _unknown(pool, "what a replica can do is not known: held", memory)
        memory, is_seen = _remembered(observation, pool, memory)
        if is_seen is None:
            return _unknown(pool, "the request rate is not known: held", memory)
        return self._decided(observation, pool, memory, is_seen=is_seen)

    def _decided(
        self, observation: Observation, pool: PoolView, memory: dict[str, Any], *, is_seen: bool
    ) -> Decided:
        came = remembering.came(observation, memory)
        memory["sizes"] = remembering.sizes_of(pool, memory.get("sizes"), came)
        memory["margin"] = _margin(observation, pool, memory)
        past = remembering.past_of(observation, pool, memory)
        memory |= self._chosen(observation, pool, past, memory)
        rule = Rule.of(memory["rule"]) if "rule" in memory else following.first_rule(pool)
        rate = float(past.rates[-1]) if is_seen else 0.0
        now = Now(pool, past, rate, memory.get("silent", 0), is_seen)
        wanted, reason = following.followed(now, rule)
        at_first = memory.setdefault("first", pool.target)
        wanted, reason = following.careful(now, at_first, wanted, reason)
        wanted, reason = following.caught_up(now, wanted, reason)
        # Kept for two decisions, as when it was judged.
        target = int(min(max(wanted, memory.get("last", 0), pool.limits.least), pool.limits.most))
        memory["last"] = wanted
        return target, reason, list(memory.get("advice", [])), memory

    def _chosen(
        self, observation: Observation, pool: PoolView, past: Past, memory: Memory
    ) -> dict[str, Any]:
        """A rule chosen anew, when it is time for it."""
        grown = past.seconds
        if not _is_time(past, memory):
            return {}
        if following.is_silent(past):
            rule = following.follows_all(past)
            return {"rule": rule.told(), "chosen_at": grown, "advice": []}
        best = cheapest(past, 1 - observation.objective.attainment_ratio, self.doubt)
        advice = following.advice_of(pool, past, best)
        return {"rule": best.rule.told(), "chosen_at": grown, "advice": advice}


def _is_time(past: Past, memory: Memory) -> bool:
    """Whether enough is known, and enough is new."""
    new = past.seconds - memory.get("chosen_at", -math.inf)
    return past.seconds >= LEAST_SECONDS and new >= max(CHOOSE_SECONDS, 0.02 * past.seconds)


def _remembered(
    observation: Observation, pool: PoolView, memory: dict[str, Any]
) -> tuple[dict[str, Any], bool | None]:
    """(memory with what is new, whether anybody told of requests; None: hold)."""
    rate = remembering.rate_of(pool)
    age = pool.reading(seen.REQUESTS_PER_SECOND).age_seconds
    if "rates" not in memory:
        memory |= remembering.begun(pool, observation.at)
    if rate is None:
        is_known = _is_empty(pool, memory)
        return (
            (remembering.unseen(observation, pool, memory), False) if is_known else (memory, None)
        )
    read_at = observation.at - (age or 0.0)
    return remembering.grown(observation, pool, rate, memory, read_at), True


def _margin(observation: Observation, pool: PoolView, memory: Memory) -> float:
    known_seconds = len(memory["rates"]) * observation.scrape_seconds
    first = FIRST_MARGIN if known_seconds < TRUST_SECONDS else 1.0
    return remembering.margin_of(observation, pool, memory.get("margin", first))


def _unknown(pool: PoolView, text: str, memory: dict[str, Any]) -> Decided:
    return pool.target, Reason(pool.name, "unknown", text), [], memory


def _held(
    pools: tuple[PoolView, ...], whole: PoolView, text: str, memory: dict[str, Any]
) -> DecidedTypes:
    """As they are; one at least where something is at the door."""
    targets = {pool.name: pool.target for pool in pools}
    wanted, reason = following.awake(whole, whole.target, Reason(whole.name, "unknown", text))
    first = next((pool for pool in pools if pool.limits.most >= 1), None)
    if wanted > whole.target and first is not None:
        targets[first.name] += wanted - whole.target
    return targets, [replace(reason, pool=pool.name) for pool in pools], [], memory


def _key(name: str) -> str:
    """Where the memory of a stream is; no pool is called so."""
    return f"stream {name}"


def _is_empty(pool: PoolView, memory: Memory) -> bool:
    """Nothing serves, so nobody can tell; and what was before is known."""
    return pool.limits.least == 0 and pool.ready == 0 and bool(memory.get("rates"))


def _wake_pairs(observation: Observation, targets: dict[str, int]) -> None:
    """Of a pair either both are at zero or none."""
    for first, second in pairs_of(observation.pools):
        for one, other in ((first, second), (second, first)):
            if targets[one.name] >= 1 and other.limits.most >= 1:
                targets[other.name] = max(targets[other.name], 1)
