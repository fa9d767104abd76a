"""What of a comparison contradicts itself, in one line each: what, where, what to do."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from controller.comparison.fleets import ROLES, FleetPool
from controller.comparison.naming import STATIC, parsed
from controller.guards import FleetRules

if TYPE_CHECKING:
    from controller.comparison.protocol import Comparison

LEAST_SEEDS, FAIR_SEEDS = 2, 5
MOST_POOLS = 8
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")

# (is it so, what, what to do).
Complaint = tuple[bool, str, str]


def contradictions(c: Comparison) -> list[Complaint]:
    """All that could be wrong, the first thing first."""
    goal = c.objective
    bounds = [bound for bound in (goal.ttft_seconds, goal.tpot_seconds) if bound is not None]
    return [
        (not c.policies, "no policy was named", "give --policies a,b"),
        (len(set(c.policies)) < len(c.policies), "a policy is named twice", "name each once"),
        (
            c.most < 1,
            "a fleet of zero replicas serves nothing",
            "let --most be 1 or more",
        ),
        (c.least < 0, f"the least replicas cannot be {c.least}", "let --least be 0 or more"),
        (
            c.least > c.most,
            f"at least {c.least} and at most {c.most} replicas contradict each other",
            "let --least be no more than --most",
        ),
        (
            not c.fleet and c.initial is not None and not c.least <= c.initial <= c.most,
            f"{c.initial} replicas at the start are outside {c.least} to {c.most}",
            "start inside the limits",
        ),
        *(_of_fleet(c.fleet, c.policies, c.rules) if c.fleet else _of_money(c.pools, c.rules)),
        (
            len(set(c.seeds)) < LEAST_SEEDS,
            "one seed tells no range, so nothing could be said of it",
            f"give at least {LEAST_SEEDS} seeds; {FAIR_SEEDS} are the protocol's",
        ),
        (
            not c.startups_seconds
            or any(not (math.isfinite(s) and 0 <= s <= 86_400) for s in c.startups_seconds),
            "start-up times are 0 to 86,400 seconds",
            "give --startup 0,60,300",
        ),
        (
            not 0 < goal.attainment_ratio < 1,
            f"an attainment of {goal.attainment_ratio} is no goal",
            "give a share between 0 and 1, such as 0.99",
        ),
        (
            not bounds or any(not bound > 0 for bound in bounds),
            "an objective needs a bound above 0 for ttft or tpot",
            "give --objective ttft=2,tpot=0.1,attainment=0.99",
        ),
        (
            not 1 <= c.scrape_seconds <= 600,
            f"scraping every {c.scrape_seconds:g} s is outside 1 to 600",
            "15 is usual",
        ),
        (
            c.trials < 0 or c.tuning_seeds < 1 or c.curve_seeds < 0,
            "trials and seeds are counts",
            "give 0 or more",
        ),
    ]  # fmt: skip


def _of_fleet(
    pools: Sequence[FleetPool], policies: Sequence[str], rules: FleetRules
) -> list[Complaint]:
    names = [pool.name for pool in pools]
    count = {role: sum(pool.role == role for pool in pools) for role in ROLES}
    found: list[Complaint] = [
        (len(pools) > MOST_POOLS, f"{len(pools)} pools are more than {MOST_POOLS}", "name fewer"),
        (len(set(names)) < len(names), "two pools have the same name", "name each once"),
        (
            count["prefill"] != count["decode"],
            f"{count['prefill']} prefill and {count['decode']} decode pools do not pair up",
            "give each prefill pool a decode pool, in the same order",
        ),
    ]
    for pool in pools:
        found += _of_pool(pool)
    return found + _of_money(pools, rules) + _of_policies(pools, policies)


def _of_pool(pool: FleetPool) -> list[Complaint]:
    where, initial = f"pool {pool.name}", pool.initial
    return [
        (
            not _NAME.fullmatch(pool.name),
            f"'{pool.name}' is no name of a pool",
            "use lower-case letters, digits, dots and dashes",
        ),
        (
            pool.role not in ROLES,
            f"{where}: '{pool.role}' is no role",
            f"one of {', '.join(ROLES)}",
        ),
        (
            pool.least < 0 or pool.most < 1 or pool.least > pool.most,
            f"{where}: at least {pool.least} and at most {pool.most} replicas contradict each"
            " other",
            "let least be 0 or more, and most no less than it and 1",
        ),
        (
            initial is not None and not pool.least <= initial <= pool.most,
            f"{where}: {initial} replicas at the start are outside {pool.least} to {pool.most}",
            "start inside the limits",
        ),
    ]


def _of_money(pools: Sequence[FleetPool], rules: FleetRules) -> list[Complaint]:
    without = [pool.name for pool in pools if pool.profile.price_per_hour is None]
    cards = sum(pool.least * pool.profile.gpus for pool in pools)
    cost = sum(pool.least * (pool.profile.price_per_hour or 0.0) for pool in pools)
    most_gpus, most_cost = rules.most_gpus, rules.most_per_hour
    return [
        (
            0 < len(without) < len(pools) or (bool(without) and most_cost is not None),
            f"there is no price of {', '.join(without)}, so cost cannot be compared",
            "give price_per_hour of every pool, or of none and no budget in money",
        ),
        (
            most_gpus is not None and cards > most_gpus,
            f"{most_gpus} GPUs are fewer than the {cards} that the least fleet needs",
            "raise the GPUs, or lower least",
        ),
        (
            most_cost is not None and cost > most_cost,
            f"{most_cost} an hour is less than the {cost:g} that the least fleet costs",
            "raise the budget, or lower least",
        ),
    ]


def _of_policies(pools: Sequence[FleetPool], policies: Sequence[str]) -> list[Complaint]:
    has_whole = any(pool.role == "whole" for pool in pools)
    names = {pool.name for pool in pools}
    found = []
    for one in policies:
        name, given = parsed(one)
        if name == STATIC:
            told = given.get("replicas", given)
            odd = sorted(set(told) - names) if isinstance(told, dict) else []
            text = f"{one} names '{', '.join(odd)}', which is no pool"
            found.append((bool(odd), text, f"there are: {', '.join(sorted(names))}"))
        if name == "melange":
            text = "melange decides whole pools alone, and there is none"
            found.append((not has_whole, text, "leave it out"))
    return found
