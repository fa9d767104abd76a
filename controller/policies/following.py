"""What a rule asks for now, and what goes before it: a queue, requests at the door, no past."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from controller import observation as seen
from controller.numbers import Floats
from controller.observation import PoolView
from controller.policies import analogs, idle
from controller.policies.backlog import is_behind, to_catch_up, waiting
from controller.policies.parts import told
from controller.policies.rules import Judged, Past, Rule, ahead_now, needed, warm_size
from controller.policy import Reason

# Before so much is known, what was there at the start stays: somebody chose it for a reason.
TRUST_SECONDS = 7200.0
# A forecast that expects less than so many requests in its time expects none.
_LEAST_EXPECTED = 0.5


@dataclass(frozen=True, slots=True)
class Now:
    """What a decision is about.

    Attributes:
        pool: which.
        past: of it.
        rate: requests a second that come, margin included; 0 where an empty pool has nobody to
            tell.
        silent: bins of silence so far.
        is_seen: whether anybody told that rate.
    """

    pool: PoolView
    past: Past
    rate: float
    silent: int = 0
    is_seen: bool = True


def first_rule(pool: PoolView) -> Rule:
    """Before anything is known of the pool: what is there stays, and a rate may grow by half."""
    return Rule(float(pool.target), rate_gain=1.5)


def followed(now: Now, rule: Rule) -> tuple[int, Reason]:
    """What the rule asks for now."""
    past, pool = now.past, now.pool
    rate = max(now.rate, _expected(pool, past))
    by_rate = float(needed(np.array([rule.rate_gain * rate]), past)[0])
    ahead = high = 0.0
    # After long silences all moments look alike to a forecast: silences tell more.
    is_alike = rule.chance > 0 and now.silent * past.bin_seconds >= analogs.REACHES_SECONDS[-1]
    if rule.neighbours and not is_alike:
        high = _foreseen(past, rule)
        ahead = min(float(needed(np.array([rule.gain * high]), past)[0]), rule.most_ahead)
    wanted = max(rule.floor, ahead, by_rate)
    if now.rate <= 0 and pool.limits.least < 1:
        warm, reason = _silent(now, rule)
        if warm >= wanted:
            return warm, reason
    code = "floor" if wanted == rule.floor else "forecast" if wanted == ahead else "rate"
    numbers = {"rate": rate, "ahead": high, "capacity": past.capacity, "floor": rule.floor}
    return int(wanted), Reason(pool.name, code, _sentence(code, numbers, past), numbers)


def _foreseen(past: Past, rule: Rule) -> float:
    found = ahead_now(past, rule.neighbours)
    like: Floats = found[np.isfinite(found)]
    return float(np.quantile(like, rule.level)) if len(like) else float(past.rates.max())


def _silent(now: Now, rule: Rule) -> tuple[int, Reason]:
    """Nothing comes: whether something is awaited."""
    past, name = now.past, now.pool.name
    ahead = past.ahead_bins
    chance = float(idle.chances(past.silences, np.array([float(now.silent)]), ahead)[0])
    minutes = now.silent * past.bin_seconds / 60
    numbers = {
        "silent_seconds": now.silent * past.bin_seconds, "chance": chance, "worth": rule.chance,
    }  # fmt: skip
    within = f"a request within {ahead * past.bin_seconds:.0f} s is {chance:.0%} likely"
    if rule.chance and bool(idle.is_awaited(np.array([chance]), rule.chance)[0]):
        size = int(warm_size(past, rule.level))
        text = f"silent for {minutes:.1f} min, and {within}: {size} warm from {rule.chance:.0%} on"
        return size, Reason(name, "awaited", text, numbers)
    text = f"silent for {minutes:.1f} min, and nothing is kept for it"
    if rule.chance:
        text = f"silent for {minutes:.1f} min, and {within}: warm from {rule.chance:.0%} on"
    return 0, Reason(name, "silent", text, numbers)


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


def _expected(pool: PoolView, past: Past) -> float:
    """The rate expected within the start-up time, by the forecast's middle; 0 without one."""
    found = [
        float(np.interp(0.5, one.levels, one.values))
        for one in pool.forecasts
        if one.signal == seen.REQUESTS_PER_SECOND
        and one.horizon_seconds <= max(past.startup_seconds, 600.0)
    ]
    highest = max(found, default=0.0)
    is_request = highest * max(past.ahead_bins * past.bin_seconds, 1.0) >= _LEAST_EXPECTED
    return highest if is_request or pool.limits.least > 0 else 0.0


def careful(now: Now, first: int, wanted: int, reason: Reason) -> tuple[int, Reason]:
    """Not below what was there at the start, before enough is known; nor unseen below what is."""
    if not now.is_seen and wanted < now.pool.target:
        text = "nobody serves, so nobody tells of requests: held"
        return now.pool.target, replace(reason, code="unknown", text=text)
    if now.past.seconds >= TRUST_SECONDS or wanted >= first:
        return wanted, reason
    text = (
        f"only {now.past.seconds / 60:.0f} minutes of load are known: what was there at first stays"
    )
    return first, replace(reason, code="learning", text=text)


def caught_up(now: Now, wanted: int, reason: Reason) -> tuple[int, Reason]:
    """More, where requests wait longer than they may."""
    if not is_behind(now.pool, now.past):
        return wanted, reason
    need = to_catch_up(now.pool, now.past, now.rate)
    if need <= wanted:
        return wanted, reason
    text = f"{waiting(now.pool):.0f} requests wait for longer than they may: {need} to catch up"
    return need, replace(reason, code="behind", text=text)


def awake(pool: PoolView, wanted: int, reason: Reason) -> tuple[int, Reason]:
    """One at least while anything runs, waits or is held; to zero only on evidence.

    An empty pool has no engine to tell what runs: there unknown changes nothing.
    """
    if wanted >= 1 or pool.limits.most < 1:
        return wanted, reason
    names = (seen.REQUESTS_RUNNING, seen.REQUESTS_WAITING, seen.REQUESTS_HELD)
    here = sum(told(pool, name) or 0.0 for name in names)
    rate = told(pool, seen.REQUESTS_PER_SECOND) or 0.0
    if here > 0 or rate > 0:
        text = f"{here:.0f} requests are here or at the door: one replica at least"
        return 1, replace(reason, code="awake", text=text)
    if pool.target >= 1 and pool.reading(seen.REQUESTS_RUNNING).fresh is None:
        text = "whether requests run is not known: not to zero"
        return 1, replace(reason, code="unknown", text=text)
    return wanted, reason


def advice_of(pool: PoolView, past: Past, best: Judged) -> list[str]:
    """What people should know of the rule that was chosen."""
    rule = best.rule
    if not rule.is_fixed or rule.floor <= pool.limits.least:
        return []
    return [
        f"autoscaling cannot help here: the load of {called(pool.name)} grows faster than a replica"
        f" starts ({past.startup_seconds:.0f} s); keep {rule.floor:.0f} warm"
    ]


def called(name: str) -> str:
    """A pool in a sentence: "pool chat", and "the pool" where that is all that it is called."""
    return "the pool" if name == "pool" else f"pool {name}"


def follows_all(past: Past) -> Rule:
    """Of a past without a request: nothing is kept, and whatever comes is followed at once."""
    return Rule(past.least, rate_gain=1.5)


def is_silent(past: Past) -> bool:
    """Whether nothing came in all of it."""
    return not math.fsum(past.rates) > 0
