"""WVA by hand, both saturation analysers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.observation import Limits, Observation, ReplicaView
from controller.policies.registry import make


def loaded(pool_of, pairs, **more):
    """A pool of (cache usage, queue) of each ready replica."""
    pool = pool_of(more.pop("target", len(pairs)), ready=len(pairs), loads=[0.0] * len(pairs))
    views = tuple(
        ReplicaView(f"r{n}", "ready", 900.0, 0.0, 1.0, float(queue), kv, 0.0, 0.0)
        for n, (kv, queue) in enumerate(pairs)
    )
    return replace(pool, replicas=views, **more)


@pytest.mark.parametrize(
    ("pairs", "wanted"),
    [
        ([(0.5, 0), (0.5, 0)], 2),  # one fewer would have 1.0: no
        ([(0.3, 0), (0.3, 0)], 1),  # one alone: 0.6, spare 0.2 is enough
        ([(0.36, 0), (0.36, 0)], 2),  # 0.72 leaves 0.08
        ([(0.1, 1), (0.1, 2)], 2),  # a queue of 3 leaves 2
        ([(0.72, 0), (0.72, 0)], 3),  # spare cache 0.08
        ([(0.2, 3), (0.2, 2)], 3),  # spare queue 2.5
        ([(0.9, 0), (0.2, 0)], 2),  # one is saturated: the other alone has room, one is not two
        ([(0.9, 0), (0.2, 7)], 3),  # all are saturated
    ],
)
def test_spare_cache_and_queue_decide(decide, pool_of, pairs, wanted):
    """Over the replicas that are not saturated."""
    assert decide(make("wva"), loaded(pool_of, pairs))[0] == wanted


def test_the_highest_of_a_minute_counts(decide, pool_of):
    """A peak between two decisions is not forgotten."""
    _, memory = decide(make("wva"), loaded(pool_of, [(0.75, 0), (0.75, 0)]), 0.0)
    assert decide(make("wva"), loaded(pool_of, [(0.1, 0), (0.1, 0)]), 60.0, memory)[0] == 3
    assert decide(make("wva"), loaded(pool_of, [(0.1, 0), (0.1, 0)]), 61.0, memory)[0] == 1


def test_nothing_happens_while_one_starts(decide, pool_of):
    """Even where all are saturated."""
    pool = loaded(pool_of, [(0.9, 9), (0.9, 9)], target=3)
    assert pool.starting == 1
    assert decide(make("wva"), pool)[0] == 3


def test_old_metrics_hold_it(decide, pool_of):
    """Older than five minutes."""
    pool = loaded(pool_of, [(0.9, 9), (0.9, 9)])
    old = tuple(replace(one, scrape_age_seconds=301.0) for one in pool.replicas)
    assert decide(make("wva"), replace(pool, replicas=old))[0] == 2


@pytest.mark.parametrize(
    ("pairs", "wanted"),
    [
        # Of 100,000 tokens 0.8, and 64 sequences of 1,024 + 128 tokens: 73,728 a replica.
        ([(0.60, 0)] * 2, 2),  # 120,000 / 0.85 = 141,176 of 147,456; / 0.70 leaves no spare
        ([(0.70, 0)] * 2, 3),  # 140,000 / 0.85 = 164,706
        ([(0.20, 0)] * 4, 2),  # 80,000 / 0.7 = 114,286 of 294,912: 2.4 replicas spare
        ([(0.60, 4)] * 2, 3),  # and eight prompts of 1,024 wait
    ],
)
def test_v2_weighs_tokens_asked_for_against_capacity(decide, pool_of, pairs, wanted):
    """Demand over 0.85 wants more, over 0.70 must still fit when it shrinks."""
    assert decide(make("wva", analyzer="v2"), loaded(pool_of, pairs))[0] == wanted


def test_v2_learns_what_a_replica_bears_when_it_queues(decide, pool_of):
    """Saturated by its queue at 30,000 tokens: that is its capacity."""
    policy = make("wva", analyzer="v2")
    _, memory = decide(policy, loaded(pool_of, [(0.3, 9), (0.3, 9)]), 0.0)
    assert memory["a"]["bearing"] == [30_000.0, 30_000.0]
    # 120,000 tokens over 0.85 are 4.7 replicas.
    assert decide(policy, loaded(pool_of, [(0.4, 0)] * 3), 120.0, memory)[0] == 5


def test_v2_counts_those_that_start_as_supply(decide, pool_of):
    """What is on its way is not asked for twice."""
    pool = loaded(pool_of, [(0.70, 0)] * 2, target=3)
    assert decide(make("wva", analyzer="v2"), pool)[0] == 3


def variants(pool_of, pairs, **limits):
    """A dear and a cheap pool with these loads each."""
    pools = []
    for name, price in (("dear", 9.0), ("cheap", 2.0)):
        pool = loaded(pool_of, pairs)
        profile = replace(pool.profile, price_per_hour=price)
        pools.append(replace(pool, name=name, profile=profile, **limits.get(name, {})))
    return Observation(0.0, tuple(pools))


@pytest.mark.parametrize(
    ("pairs", "limits", "wanted"),
    [
        ([(0.75, 0)] * 2, {}, {"dear": 2, "cheap": 3}),
        ([(0.75, 0)] * 2, {"cheap": {"limits": Limits(1, 2)}}, {"dear": 3, "cheap": 2}),
        ([(0.1, 0)] * 2, {}, {"dear": 1, "cheap": 2}),
        ([(0.1, 0)] * 2, {"dear": {"limits": Limits(2, 9)}}, {"dear": 2, "cheap": 1}),
        ([(0.6, 0)] * 2, {}, {"dear": 2, "cheap": 2}),
    ],
)
def test_of_variants_the_cheapest_grows_and_the_dearest_shrinks(pool_of, pairs, limits, wanted):
    """One step for all of them, inside the limits of each."""
    proposal, _ = make("wva", variants="all").decide(variants(pool_of, pairs, **limits), {})
    assert proposal.targets == wanted
