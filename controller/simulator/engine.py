"""One replica: continuous batching, iteration by iteration, as fast as it can be told exactly.

While nobody waits, steps that only decode are taken together up to the next one at which something
happens: their seconds add up to a quadratic in their number. Steps with prompts are taken one by
one.

    waiting --admitted: slot and cache are free--> partial --prompt computed--> running --> done
       ^                                                                          |
       +---------------------- cache full: the newest goes back ------------------+
"""

from __future__ import annotations

import math

from controller.simulator.heaps import drop, pop, push
from controller.simulator.jit import jit
from controller.simulator.state import (
    DECODE,
    DONE,
    EXPIRED,
    NOBODY,
    PREFILL,
    World,
)

NEVER = math.inf


@jit
def step_seconds(world: World, pool: int, prompt: float, sequences: float, cached: float) -> float:
    """One step of a replica of a pool, as its profile says."""
    by = world.pools[pool]
    base = by.fixed + by.decoding if sequences > 0 else by.fixed
    return float(
        base
        + (by.per_prompt + by.per_prompt_squared * prompt) * prompt
        + (by.per_sequence + by.per_sequence_squared * sequences) * sequences
        + by.per_cached * cached
    )


@jit
def enqueue(world: World, i: int, who: int, at: float) -> None:
    """A request that was routed to replica i begins to wait there."""
    requests, replicas = world.requests, world.replicas
    if not has_work(world, i):
        replicas[i].clock = max(replicas[i].clock, at)
    requests[who].behind = NOBODY
    if replicas[i].head == NOBODY:
        replicas[i].head = who
    else:
        requests[replicas[i].tail].behind = who
    replicas[i].tail = who
    replicas[i].waiting += 1
    replicas[i].pending_tokens += requests[who].left
    replicas[i].change = replicas[i].clock


@jit
def has_work(world: World, i: int) -> bool:
    """Whether anything waits or runs."""
    mine = world.replicas[i]
    return bool(mine.running > 0 or mine.head != NOBODY or mine.partial != NOBODY)


@jit
def advance(world: World, i: int, until: float) -> None:
    """Take the steps of replica i that begin at or before `until`."""
    replicas = world.replicas
    while replicas[i].clock <= until and has_work(world, i):
        replicas[i].leaving = 0
        if prompts_step(world, i):
            continue
        if replicas[i].running == 0:
            # What waits does not fit into an empty cache: it was refused at the door, or expired.
            break
        decode(world, i, until)
    replicas[i].change = next_change(world, i)


@jit
def next_change(world: World, i: int) -> float:
    """Before this time nothing ends on replica i, and nobody enters its batch."""
    replicas = world.replicas
    if replicas[i].head != NOBODY or replicas[i].partial != NOBODY:
        return float(replicas[i].clock)
    if replicas[i].running == 0:
        return NEVER
    steps = min(world.finish[i, 0] - replicas[i].steps, steps_until_full(world, i))
    return float(replicas[i].clock + decode_seconds(world, i, max(steps, 1)))


@jit
def decode_seconds(world: World, i: int, steps: float) -> float:
    """So many steps that only decode."""
    replicas, pool = world.replicas, world.replicas[i].pool
    b = float(replicas[i].running)
    one = step_seconds(world, pool, 0.0, b, replicas[i].context)
    grown = world.pools[pool].per_cached * b * steps * (steps - 1) / 2
    return float((steps * one + grown) * replicas[i].speed)


@jit
def steps_until_full(world: World, i: int) -> int:
    """Decoding steps for which the cache has room."""
    replicas = world.replicas
    room = (
        world.pools[replicas[i].pool].cache_tokens - replicas[i].context - held_by_partial(world, i)
    )
    return int(room // max(replicas[i].running, 1))


@jit
def held_by_partial(world: World, i: int) -> float:
    """Tokens in the cache of the request whose prompt is computed in part."""
    who = world.replicas[i].partial
    return 0.0 if who == NOBODY else float(world.requests[who].prompt + world.requests[who].out)


@jit
def steps_that_begin_by(world: World, i: int, until: float) -> int:
    """How many decoding steps begin at or before `until`; at least 1."""
    replicas, pool = world.replicas, world.replicas[i].pool
    left = (until - replicas[i].clock) / replicas[i].speed
    b = float(replicas[i].running)
    half = world.pools[pool].per_cached * b / 2
    one = step_seconds(world, pool, 0.0, b, replicas[i].context) - half
    # n steps take half*n^2 + one*n.
    count = 2 * left / (one + math.sqrt(one * one + 4 * half * left))
    return int(min(count, 1e15)) + 1


@jit
def decode(world: World, i: int, until: float) -> None:
    """Decoding steps up to the next at which something happens or somebody may have come."""
    replicas = world.replicas
    room = steps_until_full(world, i)
    if room < 1:
        preempt(world, i)
        return
    steps = min(world.finish[i, 0] - replicas[i].steps, room)
    if until < NEVER:
        steps = min(steps, steps_that_begin_by(world, i, until))
    spent = decode_seconds(world, i, steps)
    replicas[i].clock += spent
    replicas[i].busy_seconds += spent
    decoded(world, i, steps)


@jit
def decoded(world: World, i: int, steps: int) -> None:
    """Book so many steps of everything that runs, and end what is done."""
    replicas = world.replicas
    b = replicas[i].running
    replicas[i].steps += steps
    replicas[i].context += float(steps) * b
    replicas[i].output_total += steps * b
    while replicas[i].running > 0 and world.finish[i, 0] <= replicas[i].steps:
        who = world.who[i, 0]
        pop(world.finish[i], world.who[i], replicas[i].running)
        replicas[i].running -= 1
        world.requests[who].out = world.requests[who].output
        ended(world, i, who, replicas[i].clock)


@jit
def ended(world: World, i: int, who: int, at: float) -> None:
    """A request got its last token on replica i, and leaves the cache."""
    requests, replicas, course = world.requests, world.replicas, world.course
    replicas[i].context -= requests[who].prompt + requests[who].output
    replicas[i].done_total += 1
    replicas[i].leaving += 1
    requests[who].end = at
    requests[who].replica = i
    requests[who].status = DONE
    world.done[course[0].done_count] = who
    course[0].done_count += 1


@jit
def preempt(world: World, i: int) -> None:
    """The cache is full: what began to decode last goes back to the head of the queue."""
    requests, replicas = world.requests, world.replicas
    newest = 0
    for at in range(1, replicas[i].running):
        if requests[world.who[i, at]].first >= requests[world.who[i, newest]].first:
            newest = at
    who = world.who[i, newest]
    out = requests[who].output - (world.finish[i, newest] - replicas[i].steps)
    drop(world.finish[i], world.who[i], replicas[i].running, newest)
    replicas[i].running -= 1
    replicas[i].context -= requests[who].prompt + out
    requests[who].out = out
    requests[who].left = requests[who].prompt + out
    requests[who].preempted += 1
    replicas[i].preempted_total += 1
    requests[who].behind = replicas[i].head
    replicas[i].head = who
    if replicas[i].tail == NOBODY:
        replicas[i].tail = who
    replicas[i].waiting += 1
    replicas[i].pending_tokens += requests[who].left


@jit
def prompts_step(world: World, i: int) -> bool:
    """One step that computes prompts; False when none can be computed now."""
    requests, replicas, pools = world.requests, world.replicas, world.pools
    pool = replicas[i].pool
    begin = replicas[i].clock
    decoding = int(replicas[i].running) if pools[pool].is_chunked != 0 else 0
    if decoding > 0 and steps_until_full(world, i) < 1:
        return False
    tokens, entering, chain = gathered(world, i, int(pools[pool].token_budget) - decoding)
    if tokens + entering == 0:
        return False
    cached = replicas[i].context if decoding > 0 else 0.0
    spent = step_seconds(world, pool, float(tokens), float(decoding), cached) * replicas[i].speed
    spent += pools[pool].request_seconds * entering
    replicas[i].clock = begin + spent
    replicas[i].busy_seconds += spent
    replicas[i].prompt_total += tokens
    if decoding > 0:
        # Those that ran before this step; what enters now decodes from the next one on.
        decoded(world, i, 1)
    while chain != NOBODY:
        who, chain = chain, requests[chain].behind
        joined(world, i, who)
    return True


@jit
def gathered(world: World, i: int, budget: int) -> tuple[int, int, int]:
    """Put prompts into the next step: (tokens, prompts that it completes, the chain of those)."""
    requests, replicas = world.requests, world.replicas
    is_chunked = world.pools[replicas[i].pool].is_chunked != 0
    entering, chain, held, tokens = 0, NOBODY, 0.0, 0
    who = replicas[i].partial
    if who == NOBODY:
        who = admitted_next(world, i, replicas[i].clock, 0, 0.0, budget)
    while who != NOBODY:
        take = int(requests[who].left)
        if is_chunked:
            take = min(take, max(budget - tokens, 0))
        requests[who].left -= take
        tokens += take
        if requests[who].left > 0:
            replicas[i].partial = who
            break
        replicas[i].partial = NOBODY
        requests[who].behind = chain
        chain = who
        entering += 1
        held += requests[who].prompt + requests[who].out
        if tokens >= budget:
            break
        who = admitted_next(world, i, replicas[i].clock, entering, held, budget - tokens)
    return tokens, entering, chain


@jit
def joined(world: World, i: int, who: int) -> None:
    """The prompt of a request is computed: its first token is out, and it decodes or moves on."""
    requests, replicas, pools = world.requests, world.replicas, world.pools
    pool, now = replicas[i].pool, replicas[i].clock
    if pools[pool].role == PREFILL:
        moved(world, i, who)
        return
    if pools[pool].role == DECODE and requests[who].out == 0:
        # Its cache came from a prefill pool; the first token is that of the next step.
        b = float(replicas[i].running + 1)
        one = step_seconds(world, pool, 0.0, b, replicas[i].context + requests[who].prompt)
        requests[who].first = now + one * replicas[i].speed
    else:
        requests[who].out += 1
        replicas[i].output_total += 1
        if math.isnan(requests[who].first):
            requests[who].first = now
    replicas[i].context += requests[who].prompt + requests[who].out
    rest = requests[who].output - requests[who].out
    if rest <= 0:
        ended(world, i, who, now)
        return
    push(world.finish[i], world.who[i], replicas[i].running, replicas[i].steps + rest, who)
    replicas[i].running += 1


@jit
def moved(world: World, i: int, who: int) -> None:
    """A prefill replica is done with a request: its cache goes to the decoding pool."""
    pools, course = world.pools, world.course
    pool = world.replicas[i].pool
    on_its_way = pools[pool].transfer_seconds
    on_its_way += pools[pool].transfer_per_token * world.requests[who].prompt
    world.requests[who].pool = pools[pool].next_pool
    world.requests[who].moved = world.replicas[i].clock
    world.replicas[i].done_total += 1
    world.replicas[i].leaving += 1
    size = course[0].transfers
    push(world.transfer_at, world.transfer_who, size, world.replicas[i].clock + on_its_way, who)
    course[0].transfers = size + 1


@jit
def admitted_next(world: World, i: int, now: float, entering: int, held: float, budget: int) -> int:
    """Take the head of the queue if there are a slot, room in the cache and budget for it.

    Args:
        world: all of it.
        i: the replica.
        now: when its next step begins.
        entering: requests that enter with the same step.
        held: tokens of theirs in the cache.
        budget: tokens left of the step.
    """
    requests, replicas, pools = world.requests, world.replicas, world.pools
    pool = replicas[i].pool
    while replicas[i].head != NOBODY:
        who = replicas[i].head
        is_new = requests[who].out == 0 and math.isnan(requests[who].admitted)
        if is_new and now - requests[who].arrived > pools[pool].patience:
            leave(world, i, who)
            give_up(world, who, EXPIRED, requests[who].arrived + pools[pool].patience)
            continue
        need = requests[who].prompt + requests[who].out + replicas[i].running + entering + 1
        room = pools[pool].cache_tokens - replicas[i].context - held
        is_full = replicas[i].running + entering >= pools[pool].sequences or need > room
        is_long = pools[pool].is_chunked == 0 and entering > 0 and requests[who].left > budget
        if is_full or is_long:
            return NOBODY
        leave(world, i, who)
        if math.isnan(requests[who].admitted):
            requests[who].admitted = now
        remembered(world, i, who)
        return int(who)
    return NOBODY


@jit
def leave(world: World, i: int, who: int) -> None:
    """The head of the queue leaves it."""
    requests, replicas = world.requests, world.replicas
    replicas[i].head = requests[who].behind
    if replicas[i].head == NOBODY:
        replicas[i].tail = NOBODY
    replicas[i].waiting -= 1
    replicas[i].pending_tokens -= requests[who].left


@jit
def give_up(world: World, who: int, status: int, at: float) -> None:
    """A request ends without its answer."""
    requests, course = world.requests, world.course
    requests[who].status = status
    requests[who].end = at
    world.pools[requests[who].pool].refused_total += 1
    world.done[course[0].done_count] = who
    course[0].done_count += 1


@jit
def remembered(world: World, i: int, who: int) -> None:
    """What of the prompt is still in the prefix cache need not be computed.

    A group's beginning is there while fewer tokens were put in since than the cache holds: the
    stack distance of a least-recently-used cache, with misses alone counted.
    """
    requests, replicas = world.requests, world.replicas
    group = requests[who].group
    if group == NOBODY or world.seen.shape[1] == 0 or requests[who].left == 0:
        return
    then = world.seen[i, group]
    free = world.pools[replicas[i].pool].cache_tokens - replicas[i].context
    if then != NOBODY and replicas[i].inserted - then < free:
        hit = min(int(requests[who].shared), int(requests[who].left) - 1)
        requests[who].cached = hit
        requests[who].left -= hit
        replicas[i].cached_total += hit
    replicas[i].inserted += requests[who].left
    world.seen[i, group] = replicas[i].inserted
