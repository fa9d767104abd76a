"""What `risk` remembers of a pool: rates of the last hours, sizes, silences, a margin.

All of it JSON, bounded, and a function of what was seen alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from controller import observation as seen
from controller.capacity import replica
from controller.observation import Grade, Observation, PoolView
from controller.policies import idle
from controller.policies.parts import known, sizes, told
from controller.policies.rules import Past

PAST_SECONDS = 6 * 3600.0
# Of the replicas that must have told something.
LEAST_SHARE = 0.5
# What is aimed at, of the misses that the objective allows; the rest is for chance.
AIMED_SHARE = 0.6
# The margin on rates: its range, and how fast it follows what is missed (a second, at the most).
MARGINS = (1.0, 1.8)
_MARGIN_SPEED, _MOST_UP, _MOST_DOWN = 1.1e-4, 3.0, -0.25
# Of the requests about a tenth come while a pool waits for a start, so of the starts ten times as
# many may be later than planned as requests may miss; never more than half of them. At zero all of
# them come then.
_LATE_FOR_EACH_MISS, _LATE_AT_ZERO, _STARTUP_LEVELS = 10.0, 1.0, (0.5, 0.99)
# Requests that tell a mean size to 4 %; and what is no chance any more, of prompts and of outputs:
# those are told at their end, long ones late, so that a queue moves their mean, too.
LATELY_REQUESTS, ANOTHER_SHARES = 400.0, (0.15, 0.25)
# Bins that are filled, at most, where scrapes were missed.
_MOST_FILLED = 240


def rate_of(pool: PoolView) -> float | None:
    """Requests a second; where some replicas are silent they have as much as the others."""
    reading = pool.reading(seen.REQUESTS_PER_SECOND)
    value = known(reading.value)
    if value is None or reading.grade is Grade.FRESH:
        return value
    is_enough = reading.grade is Grade.PARTIAL and reading.share >= LEAST_SHARE
    return known(value / reading.share) if is_enough else None


def filled(history: Sequence[float]) -> list[float]:
    """Rates of which each is known: those that are not are as the one before."""
    made: list[float] = []
    for one in history:
        value = known(one)
        made.append(short(value) if value is not None else made[-1] if made else 0.0)
    return made


def begun(pool: PoolView, at: float) -> dict[str, Any]:
    """What came before this controller began; {} where nobody tells."""
    if not pool.history:
        return {}
    made: dict[str, Any] = {"rates": filled(pool.history), "until": at}
    if pool.limits.least == 0:
        rates = np.array(made["rates"], dtype=np.float64)
        made["silences"] = [int(one) for one in idle.silences(rates)][-idle.MOST_SILENCES :]
        made["silent"] = _silent_at_the_end(rates)
    return made


def _silent_at_the_end(rates: np.ndarray) -> int:
    busy = np.flatnonzero(rates > 0)
    return len(rates) - 1 - int(busy[-1]) if len(busy) else len(rates)


def grown(
    observation: Observation, pool: PoolView, rate: float, memory: dict[str, Any], read_at: float
) -> dict[str, Any]:
    """The memory with the newest rate."""
    width = observation.scrape_seconds
    rates: list[float] = list(memory.get("rates", []))
    until = memory.get("until", -math.inf)
    silent: Mapping[str, Any] = {}
    if read_at >= until + width / 2:
        value = short(rate)
        # Scrapes that were missed are filled, so that bins stay as wide as they are.
        gap = 1 if not rates else min(max(round((read_at - until) / width), 1), _MOST_FILLED)
        rates += [value] * gap
        until = read_at
        silent = _silence(pool, memory, value, gap)
    most = round(PAST_SECONDS / width)
    dropped = max(len(rates) - most, 0)
    made = {**memory, "rates": rates[dropped:], "until": until, **silent}
    if dropped and "chosen_at" in made:
        made["chosen_at"] -= dropped * width
    return made


def unseen(observation: Observation, pool: PoolView, memory: dict[str, Any]) -> dict[str, Any]:
    """The memory of an empty pool at which nobody told of requests: its silence went on.

    What nobody saw is no rate of zero: the rates of the past stay as they are.
    """
    bins = int((observation.at - memory["until"]) / observation.scrape_seconds + 0.5)
    if bins < 1:
        return memory
    return {**memory, "until": observation.at, **_silence(pool, memory, 0.0, bins)}


def _silence(
    pool: PoolView, memory: Mapping[str, Any], rate: float, bins: int
) -> Mapping[str, Any]:
    """Of pools that may go to zero alone: others never need it."""
    if pool.limits.least > 0:
        return {}
    known_silences, silent = idle.longer(
        memory.get("silences", []), memory.get("silent", 0), rate, bins
    )
    return {"silences": known_silences, "silent": silent}


def came(observation: Observation, memory: Mapping[str, Any]) -> float:
    """Requests that came since the scrape before."""
    rates: Sequence[float] = memory.get("rates", ())
    return rates[-1] * observation.scrape_seconds if rates else 0.0


def sizes_of(pool: PoolView, before: Sequence[float] | None, came: float) -> list[float]:
    """[prompt tokens to compute, output tokens, both as they were lately].

    Means of one scrape are noisy: a slow average of them is followed, until that of the last few
    hundred requests is another. Then others send, or they send something else.

    Args:
        pool: whose requests.
        before: what this gave the last time.
        came: requests since then.
    """
    now = sizes(pool)
    if before is None:
        return [short(one) for one in (*now, *now)]
    told_now = told(pool, seen.INPUT_TOKENS), told(pool, seen.OUTPUT_TOKENS)
    weight = came / (came + LATELY_REQUESTS)
    slow, lately = [], []
    each = zip(before[:2], before[-2:], told_now, now, ANOTHER_SHARES, strict=True)
    for was, recent, raw, one, most in each:
        recent = recent if raw is None else (1 - weight) * recent + weight * one
        was = was if raw is None else 0.97 * was + 0.03 * one
        is_another = abs(recent - was) > most * was
        slow.append(recent if is_another else was)
        lately.append(recent)
    return [float(f"{one:.6g}") for one in (*slow, *lately)]


def margin_of(observation: Observation, pool: PoolView, before: float) -> float:
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


def startup_level(attainment_ratio: float, least: int = 1) -> float:
    """Share of the starts that must be ready by the time that is planned with.

    Args:
        attainment_ratio: of the objective.
        least: replicas of the pool.
    """
    late = _LATE_FOR_EACH_MISS if least else _LATE_AT_ZERO
    level = 1 - late * (1 - attainment_ratio)
    return round(min(max(level, _STARTUP_LEVELS[0]), _STARTUP_LEVELS[1]), 6)


def past_of(observation: Observation, pool: PoolView, memory: Mapping[str, Any]) -> Past:
    """What rules are judged on."""
    profile = pool.profile
    if profile is None:
        raise ValueError("asked without a profile")
    input_tokens, output_tokens = memory["sizes"][:2]
    objective = observation.objective
    level = startup_level(objective.attainment_ratio, pool.limits.least)
    return Past(
        memory["margin"] * np.array(memory["rates"], dtype=np.float64),
        observation.scrape_seconds,
        pool.startup.quantile(level) if pool.startup else 0.0,
        replica(profile, objective, input_tokens, output_tokens, pool.role),
        float(pool.limits.least),
        float(pool.limits.most),
        np.array(memory.get("silences", []), dtype=np.float64),
    )


def short(value: float) -> float:
    """Four digits are enough to remember."""
    return float(f"{value:.4g}")
