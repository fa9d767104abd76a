"""Many replicas: requests arrive, are routed, move between pools; time goes on.

Replicas are looked at only when something of theirs that others can see may have changed: an end of
a request, a prompt that is done. Between two such times they are left behind, and catch up later.
"""

from __future__ import annotations

import math

from controller.simulator.engine import advance, enqueue, give_up
from controller.simulator.heaps import pop
from controller.simulator.jit import jit
from controller.simulator.state import (
    LEAST_OUTSTANDING,
    LEAST_TOKENS,
    NOBODY,
    POWER_OF_TWO,
    PREFILL,
    PREFIX_AFFINITY,
    REFUSED,
    ROUND_ROBIN,
    World,
)

# A replica of affinity is left for another when it has this many times the work of the least.
_OVERLOADED = 1.5


@jit
def run_until(world: World, end: float) -> None:
    """Let everything happen that happens before `end`; all replicas have caught up then."""
    requests, course = world.requests, world.course
    arrivals = len(requests)
    while True:
        at, is_transfer = end, False
        place = course[0].next_arrival
        if place < arrivals and requests[place].arrived < at:
            at = requests[place].arrived
        prefilled(world, at)
        if course[0].transfers > 0 and world.transfer_at[0] <= at:
            at, is_transfer = world.transfer_at[0], True
        if is_transfer and at < end:
            who = world.transfer_who[0]
            pop(world.transfer_at, world.transfer_who, course[0].transfers)
            course[0].transfers -= 1
            world.pools[requests[who].pool].arrived_total += 1
            came(world, who, at)
        elif place < arrivals and requests[place].arrived < end:
            course[0].next_arrival = place + 1
            arrive(world, place, at)
        else:
            break
    for i in range(len(world.replicas)):
        if world.replicas[i].pool != NOBODY:
            advance(world, i, end)
    course[0].now = end


@jit
def prefilled(world: World, until: float) -> None:
    """Let prefill replicas catch up, so that what they send is on its way."""
    for pool in range(len(world.pools)):
        if world.pools[pool].role != PREFILL:
            continue
        for i in range(len(world.replicas)):
            if world.replicas[i].pool == pool and world.replicas[i].change <= until:
                advance(world, i, until)


@jit
def arrive(world: World, who: int, at: float) -> None:
    """A request comes in from outside."""
    if world.pools[world.requests[who].pool].gate != NOBODY:
        enter(world, who, at)
    world.pools[world.requests[who].pool].arrived_total += 1
    came(world, who, at)


@jit
def came(world: World, who: int, at: float) -> None:
    """A request stands before its pool: to a replica, into the pool's own queue, or refused."""
    requests, pools = world.requests, world.pools
    pool = requests[who].pool
    whole = requests[who].prompt + requests[who].output
    if whole > pools[pool].cache_tokens:
        give_up(world, who, REFUSED, at)
    elif pools[pool].ready_count > 0:
        i = chosen(world, pool, who, at)
        advance(world, i, at)
        enqueue(world, i, who, at)
    elif pools[pool].held < pools[pool].most_waiting:
        hold(world, pool, who)
    else:
        give_up(world, who, REFUSED, at)


@jit
def enter(world: World, who: int, at: float) -> None:
    """Pick one of the pools that share arrivals: the replica with the least work for its weight.

    What fits nowhere, or finds nobody ready, stands before the first of them.
    """
    requests, pools = world.requests, world.pools
    gate, whole = pools[requests[who].pool].gate, requests[who].prompt + requests[who].output
    best, least = gate, math.inf
    for pool in range(len(pools)):
        if pools[pool].gate != gate or pools[pool].ready_count == 0:
            continue
        if whole > pools[pool].cache_tokens:
            continue
        i = chosen(world, pool, who, at)
        rule = LEAST_TOKENS if pools[pool].router == LEAST_TOKENS else LEAST_OUTSTANDING
        work = (load(world, i, at, rule) + 1) / pools[pool].weight
        if work < least:
            best, least = pool, work
    requests[who].pool = best
    requests[who].entered = best


@jit
def hold(world: World, pool: int, who: int) -> None:
    """No replica is ready: the request waits for one."""
    requests, pools = world.requests, world.pools
    requests[who].behind = NOBODY
    if pools[pool].head == NOBODY:
        pools[pool].head = who
    else:
        requests[pools[pool].tail].behind = who
    pools[pool].tail = who
    pools[pool].held += 1


@jit
def release(world: World, pool: int, at: float) -> None:
    """A replica became ready: what waited for one is routed."""
    requests, pools = world.requests, world.pools
    door = pool if pools[pool].gate == NOBODY else pools[pool].gate
    while pools[door].head != NOBODY and pools[pool].ready_count > 0:
        who = pools[door].head
        pools[door].head = requests[who].behind
        pools[door].held -= 1
        if pools[pool].gate != NOBODY:
            enter(world, who, at)
            if pools[requests[who].pool].ready_count == 0:
                # It fits into nothing that is ready: its pool refuses it, so that others go on.
                requests[who].pool = pool
        came(world, who, at)
    if pools[door].head == NOBODY:
        pools[door].tail = NOBODY


@jit
def chosen(world: World, pool: int, who: int, at: float) -> int:
    """The ready replica that the pool's router picks."""
    pools = world.pools
    count, ready, rule = pools[pool].ready_count, world.ready[pool], pools[pool].router
    if count == 1:
        return int(ready[0])
    if rule == ROUND_ROBIN:
        pools[pool].turn += 1
        return int(ready[pools[pool].turn % count])
    if rule == POWER_OF_TWO:
        one, other = ready[dice(world, count)], ready[dice(world, count)]
        return int(one if load(world, one, at, rule) <= load(world, other, at, rule) else other)
    least = ready[0]
    fewest = load(world, least, at, rule)
    for place in range(1, count):
        found = load(world, ready[place], at, rule)
        if found < fewest:
            least, fewest = ready[place], found
    if rule == PREFIX_AFFINITY and world.requests[who].group != NOBODY:
        own = ready[hashed(world.requests[who].group) % count]
        if load(world, own, at, rule) <= max(_OVERLOADED * fewest, fewest + 2):
            return int(own)
    return int(least)


@jit
def load(world: World, i: int, at: float, rule: int) -> float:
    """What a router counts of a replica: requests, or tokens."""
    if world.replicas[i].change <= at or rule == LEAST_TOKENS:
        advance(world, i, at)
    mine = world.replicas[i]
    if rule == LEAST_TOKENS:
        return float(mine.context + mine.pending_tokens)
    outstanding = mine.running + mine.waiting
    if mine.partial != NOBODY:
        outstanding += 1
    # The step that goes on has ended them already here, but nobody knows it before its end.
    if mine.clock > at:
        outstanding += mine.leaving
    return float(outstanding)


@jit
def dice(world: World, sides: int) -> int:
    """Evenly one of so many; xorshift64* of the course's own state."""
    x = world.course[0].random
    x ^= x >> 12
    x ^= x << 25
    x ^= x >> 27
    world.course[0].random = x
    return int((x >> 33) % sides)


@jit
def hashed(group: int) -> int:
    """A spread-out number of a group."""
    x = (group * 2654435761) & 0xFFFFFFFF
    x ^= x >> 16
    return (x * 2246822519) & 0x7FFFFFFF


@jit
def failed_all(world: World, i: int, at: float, status: int) -> int:
    """Replica i is gone: everything on it ends so; gives how many."""
    requests, replicas = world.requests, world.replicas
    count = 0
    while replicas[i].running > 0:
        replicas[i].running -= 1
        give_up(world, world.who[i, replicas[i].running], status, at)
        count += 1
    if replicas[i].partial != NOBODY:
        give_up(world, replicas[i].partial, status, at)
        replicas[i].partial = NOBODY
        count += 1
    while replicas[i].head != NOBODY:
        who = replicas[i].head
        replicas[i].head = requests[who].behind
        give_up(world, who, status, at)
        count += 1
    replicas[i].tail = NOBODY
    replicas[i].waiting = 0
    replicas[i].pending_tokens = 0
    replicas[i].context = 0.0
    replicas[i].change = math.inf
    return count
