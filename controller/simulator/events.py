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
    arrivals = len(requests.arrived)
    while True:
        at, is_transfer = end, False
        place = course.next_arrival[0]
        if place < arrivals and requests.arrived[place] < at:
            at = requests.arrived[place]
        prefilled(world, at)
        if course.transfers[0] > 0 and course.transfer_at[0] <= at:
            at, is_transfer = course.transfer_at[0], True
        if is_transfer and at < end:
            who = course.transfer_who[0]
            pop(course.transfer_at, course.transfer_who, course.transfers[0])
            course.transfers[0] -= 1
            came(world, who, at)
        elif place < arrivals and requests.arrived[place] < end:
            course.next_arrival[0] = place + 1
            world.pools.arrived_total[requests.pool[place]] += 1
            came(world, place, at)
        else:
            break
    for i in range(len(world.replicas.pool)):
        if world.replicas.pool[i] != NOBODY:
            advance(world, i, end)
    course.now[0] = end


@jit
def prefilled(world: World, until: float) -> None:
    """Let prefill replicas catch up, so that what they send is on its way."""
    for pool in range(len(world.pools.role)):
        if world.pools.role[pool] != PREFILL:
            continue
        for i in range(len(world.replicas.pool)):
            if world.replicas.pool[i] == pool and world.replicas.change[i] <= until:
                advance(world, i, until)


@jit
def came(world: World, who: int, at: float) -> None:
    """A request stands before its pool: to a replica, into the pool's own queue, or refused."""
    requests, pools = world.requests, world.pools
    pool = requests.pool[who]
    whole = requests.prompt[who] + requests.output[who]
    if whole > pools.cache_tokens[pool]:
        give_up(world, who, REFUSED, at)
    elif pools.ready_count[pool] > 0:
        i = chosen(world, pool, who, at)
        advance(world, i, at)
        enqueue(world, i, who, at)
    elif pools.held[pool] < pools.most_waiting[pool]:
        hold(world, pool, who)
    else:
        give_up(world, who, REFUSED, at)


@jit
def hold(world: World, pool: int, who: int) -> None:
    """No replica is ready: the request waits for one."""
    requests, pools = world.requests, world.pools
    requests.behind[who] = NOBODY
    if pools.head[pool] == NOBODY:
        pools.head[pool] = who
    else:
        requests.behind[pools.tail[pool]] = who
    pools.tail[pool] = who
    pools.held[pool] += 1


@jit
def release(world: World, pool: int, at: float) -> None:
    """A replica became ready: what waited for one is routed."""
    requests, pools = world.requests, world.pools
    while pools.head[pool] != NOBODY and pools.ready_count[pool] > 0:
        who = pools.head[pool]
        pools.head[pool] = requests.behind[who]
        pools.held[pool] -= 1
        came(world, who, at)
    if pools.head[pool] == NOBODY:
        pools.tail[pool] = NOBODY


@jit
def chosen(world: World, pool: int, who: int, at: float) -> int:
    """The ready replica that the pool's router picks."""
    pools = world.pools
    count, ready, rule = pools.ready_count[pool], pools.ready[pool], pools.router[pool]
    if count == 1:
        return int(ready[0])
    if rule == ROUND_ROBIN:
        pools.turn[pool] += 1
        return int(ready[pools.turn[pool] % count])
    if rule == POWER_OF_TWO:
        one, other = ready[dice(world, count)], ready[dice(world, count)]
        return int(one if load(world, one, at, rule) <= load(world, other, at, rule) else other)
    least = ready[0]
    fewest = load(world, least, at, rule)
    for place in range(1, count):
        found = load(world, ready[place], at, rule)
        if found < fewest:
            least, fewest = ready[place], found
    if rule == PREFIX_AFFINITY and world.requests.group[who] != NOBODY:
        own = ready[hashed(world.requests.group[who]) % count]
        if load(world, own, at, rule) <= max(_OVERLOADED * fewest, fewest + 2):
            return int(own)
    return int(least)


@jit
def load(world: World, i: int, at: float, rule: int) -> float:
    """What a router counts of a replica: requests, or tokens."""
    replicas = world.replicas
    if replicas.change[i] <= at:
        advance(world, i, at)
    if rule == LEAST_TOKENS:
        return replicas.context[i] + replicas.pending_tokens[i]
    partial = 1.0 if replicas.partial[i] != NOBODY else 0.0
    return replicas.running[i] + replicas.waiting[i] + partial


@jit
def dice(world: World, sides: int) -> int:
    """Evenly one of so many; xorshift64* of the course's own state."""
    x = world.course.random[0]
    x ^= x >> 12
    x ^= x << 25
    x ^= x >> 27
    world.course.random[0] = x
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
    while replicas.running[i] > 0:
        replicas.running[i] -= 1
        give_up(world, replicas.who[i, replicas.running[i]], status, at)
        count += 1
    if replicas.partial[i] != NOBODY:
        give_up(world, replicas.partial[i], status, at)
        replicas.partial[i] = NOBODY
        count += 1
    while replicas.head[i] != NOBODY:
        who = replicas.head[i]
        replicas.head[i] = requests.behind[who]
        give_up(world, who, status, at)
        count += 1
    replicas.tail[i] = NOBODY
    replicas.waiting[i] = 0
    replicas.pending_tokens[i] = 0
    replicas.context[i] = 0.0
    replicas.change[i] = math.inf
    return count
