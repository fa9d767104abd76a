"""Ours: the cheapest rule that would have kept the objective on the pool's own recent past.

Every few minutes rules (a floor; a forecast from moments that looked like now; a gain on the
present rate) are tried on the rates of the last hours, with the start-up times that were learnt and
the pace that a replica's profile gives. Of those that would have missed no more than is planned the
cheapest is followed. Keeping a fixed number is one of them: when it is the cheapest, the policy
says that scaling cannot help. Nothing is tuned: rules compete anew for each pool, and again all the
time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from controller import observation as seen
from controller.capacity import replica
from controller.numbers import Floats
from controller.observation import Grade, Observation, PoolView
from controller.policies.pairing import shared
from controller.policies.parts import known, sizes, told
from controller.policies.rules import Judged, Past, Rule, ahead_now, cheapest, needed
from controller.policy import Memory, PolicySpec, Proposal, Reason

PERIOD_SECONDS = 15.0
PAST_SECONDS = 6 * 3600.0
# A rule is chosen anew when the past grew by this, and not before there is so much of it.
CHOOSE_SECONDS, LEAST_SECONDS = 300.0, 900.0
# Before so much is known, what was there at the start stays: somebody chose it for a reason.
TRUST_SECONDS = 7200.0
# Standard errors of the misses on the past that are added to them: the past is not the future.
DOUBT = 1.0
# Starts that take longer than planned.
_STARTUP_LEVEL = 0.9
# Of the replicas that must have told something.
LEAST_SHARE = 0.5
# What is aimed at, of the misses that the objective allows; the rest is for chance.
AIMED_SHARE = 0.6
# The margin on rates: its range, and how fast it follows what is missed (a second, at the most).
MARGINS = (1.0, 1.8)
# What it begins with, where little is known of a pool.
FIRST_MARGIN = 1.25
_MARGIN_SPEED, _MOST_UP, _MOST_DOWN = 1.1e-4, 3.0, -0.25


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
            kept_before = dict(memory.get(pool.name, {}))
            target, reason, words, mine = self._pool(observation, pool, kept_before)
            targets[pool.name] = target
            reasons.append(reason)
            advice += words
            if mine:
                # A policy that remembers nothing is told its pools' history again.
                kept[pool.name] = mine
        return Proposal(targets, tuple(reasons), tuple(advice)), kept

    def _pool(
        self, observation: Observation, pool: PoolView, memory: dict[str, Any]
    ) -> tuple[int, Reason, list[str], Memory]:
        rate, age = _rate(pool), pool.reading(seen.REQUESTS_PER_SECOND).age_seconds
        if "rates" not in memory and pool.history:
            # What came before this controller began.
            memory |= {"rates": _filled(pool.history), "until": observation.at}
        if rate is None or pool.profile is None:
            what = "the request rate" if pool.profile else "what a replica can do"
            text = f"{what} is not known: held"
            return pool.target, Reason(pool.name, "unknown", text), [], memory
        memory = _grown(observation, rate, memory, observation.at - (age or 0.0))
        memory["sizes"] = _sizes(pool, memory.get("sizes"))
        known_seconds = len(memory["rates"]) * observation.scrape_seconds
        first = FIRST_MARGIN if known_seconds < TRUST_SECONDS else 1.0
        memory["margin"] = _margin(observation, pool, memory.get("margin", first))
        past = _past(observation, pool, memory)
        memory |= self._chosen(observation, pool, past, memory.get("chosen_at", -math.inf))
        rule = Rule.of(memory["rule"]) if "rule" in memory else _first_rule(pool)
        wanted, reason = _careful(pool, past, *_followed(pool, past, rule), memory)
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
        best = cheapest(past, 1 - observation.objective.attainment_ratio, self.doubt)
        return {"rule": best.rule.told(), "chosen_at": grown, "advice": _advice(pool, past, best)}


def _careful(
    pool: PoolView, past: Past, wanted: int, reason: Reason, memory: dict[str, Any]
) -> tuple[int, Reason]:
    """Not below what was there at the start, before enough is known."""
    first = memory.setdefault("first", pool.target)
    if past.seconds >= TRUST_SECONDS or wanted >= first:
        return wanted, reason
    text = f"only {past.seconds / 60:.0f} minutes of load are known: what was there at first stays"
    return first, replace(reason, code="learning", text=text)


def _rate(pool: PoolView) -> float | None:
    """Requests a second; where some replicas are silent they have as much as the others."""
    reading = pool.reading(seen.REQUESTS_PER_SECOND)
    value = known(reading.value)
    if value is None or reading.grade is Grade.FRESH:
        return value
    is_enough = reading.grade is Grade.PARTIAL and reading.share >= LEAST_SHARE
    return known(value / reading.share) if is_enough else None


def _filled(history: Sequence[float]) -> list[float]:
    """Rates of which each is known: those that are not are as the one before."""
    made: list[float] = []
    for one in history:
        value = known(one)
        made.append(_short(value) if value is not None else made[-1] if made else 0.0)
    return made


def _grown(
    observation: Observation, rate: float, memory: dict[str, Any], read_at: float
) -> dict[str, Any]:
    """The memory with the newest rate."""
    width = observation.scrape_seconds
    rates: list[float] = list(memory.get("rates", []))
    until = memory.get("until", -math.inf)
    if read_at >= until + width / 2:
        value = _short(rate)
        # Scrapes that were missed are filled, so that bins stay as wide as they are.
        gap = 1 if not rates else min(max(round((read_at - until) / width), 1), 240)
        rates += [value] * gap
        until = read_at
    most = round(PAST_SECONDS / width)
    dropped = max(len(rates) - most, 0)
    made = {**memory, "rates": rates[dropped:], "until": until}
    if dropped and "chosen_at" in made:
        made["chosen_at"] -= dropped * width
    return made


def _sizes(pool: PoolView, before: Sequence[float] | None) -> list[float]:
    """[prompt tokens to compute, output tokens], averaged over some minutes."""
    if before is None:
        return [_short(one) for one in sizes(pool)]
    # Means of one scrape are noisy: a slow average of them.
    told_now = told(pool, seen.INPUT_TOKENS), told(pool, seen.OUTPUT_TOKENS)
    both = zip(before, sizes(pool), told_now, strict=True)
    now = [was if raw is None else 0.97 * was + 0.03 * one for was, one, raw in both]
    return [float(f"{one:.6g}") for one in now]


def _margin(observation: Observation, pool: PoolView, before: float) -> float:
    """A factor on rates that grows while more is missed than aimed at, and shrinks while less is.

    It learns what the fluid does not know: sizes and arrivals that come in clumps.
    """
    met = pool.reading(seen.ATTAINMENT_RATIO).fresh
    if met is None or not 0 <= met <= 1:
        return before
    allowed = max(1 - observation.objective.attainment_ratio, 1e-3)
    error = ((1 - met) - AIMED_SHARE * allowed) / allowed
    change = min(max(error, _MOST_DOWN), _MOST_UP) * _MARGIN_SPEED * observation.scrape_seconds
    return float(f"{min(max(before * math.exp(change), MARGINS[0]), MARGINS[1]):.6g}")


def _past(observation: Observation, pool: PoolView, memory: Mapping[str, Any]) -> Past:
    profile = pool.profile
    if profile is None:
        raise ValueError("asked without a profile")
    input_tokens, output_tokens = memory["sizes"]
    one = replica(profile, observation.objective, input_tokens, output_tokens, pool.role)
    return Past(
        memory["margin"] * np.array(memory["rates"], dtype=np.float64),
        observation.scrape_seconds,
        pool.startup.quantile(_STARTUP_LEVEL) if pool.startup else 0.0,
        one,
        float(pool.limits.least),
        float(pool.limits.most),
    )


def _followed(pool: PoolView, past: Past, rule: Rule) -> tuple[int, Reason]:
    """What the rule asks for now."""
    capacity = past.capacity
    rate = max(float(past.rates[-1]), _expected(pool, past))
    by_rate = float(needed(np.array([rule.rate_gain * rate]), capacity)[0])
    ahead = high = 0.0
    if rule.neighbours:
        found = ahead_now(past, rule.neighbours)
        like: Floats = found[np.isfinite(found)]
        high = float(np.quantile(like, rule.level)) if len(like) else float(past.rates.max())
        ahead = min(float(needed(np.array([rule.gain * high]), capacity)[0]), rule.most_ahead)
    wanted = max(rule.floor, ahead, by_rate)
    code = "floor" if wanted == rule.floor else "forecast" if wanted == ahead else "rate"
    numbers = {"rate": rate, "ahead": high, "capacity": capacity, "floor": rule.floor}
    return int(wanted), Reason(pool.name, code, _sentence(code, numbers, past), numbers)


def _sentence(code: str, numbers: Mapping[str, float], past: Past) -> str:
    each = f"a replica serves {numbers['capacity']:.2f} requests/s inside the objective"
    if code == "floor":
        return f"{numbers['floor']:.0f} are kept whatever comes: {each}"
    if code == "forecast":
        return (
            f"moments like this were followed by up to {numbers['ahead']:.2f} requests/s within "
            f"{past.ahead_bins * past.bin_seconds:.0f} s; {each}"
        )
    return f"{numbers['rate']:.2f} requests/s come now; {each}"


def _advice(pool: PoolView, past: Past, best: Judged) -> list[str]:
    rule = best.rule
    if not rule.is_fixed or rule.floor <= pool.limits.least:
        return []
    return [
        f"autoscaling cannot help here: the load of {pool.name} grows faster than a replica starts"
        f" ({past.startup_seconds:.0f} s); keep {rule.floor:.0f} warm"
    ]


def _first_rule(pool: PoolView) -> Rule:
    """Before anything is known of the pool: what is there stays, and a rate may grow by half."""
    return Rule(float(pool.target), rate_gain=1.5)


def _expected(pool: PoolView, past: Past) -> float:
    """The rate expected within the start-up time, by the forecast's middle; 0 without one."""
    found = [
        float(np.interp(0.5, one.levels, one.values))
        for one in pool.forecasts
        if one.signal == seen.REQUESTS_PER_SECOND
        and one.horizon_seconds <= max(past.startup_seconds, 600.0)
    ]
    return max(found, default=0.0)


def _short(value: float) -> float:
    """Four digits are enough to remember."""
    return float(f"{value:.4g}")
