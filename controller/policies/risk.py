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
from dataclasses import dataclass, field
from typing import Any

from controller import observation as seen
from controller.observation import Observation, PoolView
from controller.policies import following, remembering
from controller.policies.following import TRUST_SECONDS, Now
from controller.policies.pairing import pairs_of, shared
from controller.policies.rules import Past, Rule, cheapest
from controller.policy import Memory, PolicySpec, Proposal, Reason

PERIOD_SECONDS = 15.0
# A rule is chosen anew when the past grew by this, and not before there is so much of it.
CHOOSE_SECONDS, LEAST_SECONDS = 300.0, 900.0
# Standard errors of the misses on the past that are added to them: the past is not the future.
DOUBT = 1.0
# The margin on rates to begin with, where little is known of a pool.
FIRST_MARGIN = 1.25

Decided = tuple[int, Reason, list[str], Memory]


@dataclass(frozen=True, slots=True)
class Risk:
    """Nothing to tune.

    Args:
        doubt: standard errors of what a rule missed on the past, added before it may be followed.
    """

    doubt: float = DOUBT
    spec: PolicySpec = field(
        default=PolicySpec(
            "risk",
            "servescope, risk",
            PERIOD_SECONDS,
            "ours",
            parameters={"doubt": DOUBT},
            knob="doubt",
            knob_values=(-2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 4.0),
        ),
        init=False,
    )

    def decide(self, observation: Observation, memory: Memory) -> tuple[Proposal, Memory]:
        """Every 15 s."""
        targets, reasons, advice, kept = {}, [], [], {}
        observation = shared(observation)
        for pool in observation.pools:
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

    def _pool(self, observation: Observation, pool: PoolView, memory: dict[str, Any]) -> Decided:
        rate = remembering.rate_of(pool)
        age = pool.reading(seen.REQUESTS_PER_SECOND).age_seconds
        if "rates" not in memory:
            memory |= remembering.begun(pool, observation.at)
        if pool.profile is None or (rate is None and not _is_empty(pool, memory)):
            what = "the request rate" if pool.profile else "what a replica can do"
            text = f"{what} is not known: held"
            return pool.target, Reason(pool.name, "unknown", text), [], memory
        if rate is None:
            memory = remembering.unseen(observation, pool, memory)
        else:
            read_at = observation.at - (age or 0.0)
            memory = remembering.grown(observation, pool, rate, memory, read_at)
        return self._decided(observation, pool, memory, is_seen=rate is not None)

    def _decided(
        self, observation: Observation, pool: PoolView, memory: dict[str, Any], *, is_seen: bool
    ) -> Decided:
        memory["sizes"] = remembering.sizes_of(pool, memory.get("sizes"))
        known_seconds = len(memory["rates"]) * observation.scrape_seconds
        first = FIRST_MARGIN if known_seconds < TRUST_SECONDS else 1.0
        margin = remembering.margin_of(observation, pool, memory.get("margin", first))
        memory["margin"] = margin
        past = remembering.past_of(observation, pool, memory)
        memory |= self._chosen(observation, pool, past, memory.get("chosen_at", -math.inf))
        rule = Rule.of(memory["rule"]) if "rule" in memory else following.first_rule(pool)
        rate = float(past.rates[-1]) if is_seen else 0.0
        now = Now(pool, past, rate, memory.get("silent", 0))
        wanted, reason = following.followed(now, rule)
        at_first = memory.setdefault("first", pool.target)
        wanted, reason = following.careful(now, at_first, wanted, reason)
        wanted, reason = following.caught_up(now, wanted, reason)
        # Kept for two decisions, as when it was judged.
        target = int(min(max(wanted, memory.get("last", 0), pool.limits.least), pool.limits.most))
        memory["last"] = wanted
        return target, reason, list(memory.get("advice", [])), memory

    def _chosen(
        self, observation: Observation, pool: PoolView, past: Past, chosen_at: float
    ) -> dict[str, Any]:
        """A rule chosen anew, when it is time for it."""
        grown = past.seconds
        if grown < LEAST_SECONDS or grown - chosen_at < max(CHOOSE_SECONDS, 0.02 * grown):
            return {}
        if following.is_silent(past):
            rule = following.follows_all(past)
            return {"rule": rule.told(), "chosen_at": grown, "advice": []}
        best = cheapest(past, 1 - observation.objective.attainment_ratio, self.doubt)
        advice = following.advice_of(pool, past, best)
        return {"rule": best.rule.told(), "chosen_at": grown, "advice": advice}


def _is_empty(pool: PoolView, memory: Memory) -> bool:
    """Nothing serves or starts, so nobody can tell; and what was before is known."""
    return pool.limits.least == 0 and pool.supply == 0 and bool(memory.get("rates"))


def _wake_pairs(observation: Observation, targets: dict[str, int]) -> None:
    """Of a pair either both are at zero or none."""
    for first, second in pairs_of(observation.pools):
        for one, other in ((first, second), (second, first)):
            if targets[one.name] >= 1 and other.limits.most >= 1:
                targets[other.name] = max(targets[other.name], 1)
