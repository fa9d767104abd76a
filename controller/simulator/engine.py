"""One replica: continuous batching, iteration by iteration, as fast as it can be told exactly.

While nobody waits, steps that only decode are taken together up to the next one at which something
happens: their seconds add up to a quadratic in their number. Steps with prompts are taken one by one.

    waiting --admitted: a slot and room in the cache--> partial --prompt computed--> running --> done
       ^                                                                               |
       +------------------------ cache full: the newest goes back ---------------------+
"""

from __future__ import annotations

import math

from controller.simulator.heaps import drop, pop, push
from controller.simulator.jit import jit
from controller.simulator.state import (
    DECODE,
    DONE,
    EXPIRED,
    FIXED,
    NOBODY,
    PER_CACHED,
    PER_PROMPT,
    PER_PROMPT_SQUARED,
    PER_SEQUENCE,
    PER_SEQUENCE_SQUARED,
    PREFILL,
    World,
)

NEVER = math.inf


@jit
def step_seconds(world: World, pool: int, prompt: float, sequences: float, cached: float) -> float:
    """One step of a replica of a pool, as its profile says."""
    by = world.pools.step[pool]
    return (
        by[FIXED]
        + (by[PER_PROMPT] + by[PER_PROMPT_SQUARED] * prompt) * prompt
        + (by[PER_SEQUENCE] + by[PER_SEQUENCE_SQUARED] * sequences) * sequences
        + by[PER_CACHED] * cached
    )


@jit
def enqueue(world: World, i: int, who: int, at: float) -> None:
    """A request that was routed to replica i begins to wait there."""
    requests, replicas = world.requests, world.replicas
    if not has_work(world, i):
        replicas.clock[i] = max(replicas.clock[i], at)
    requests.behind[who] = NOBODY
    if replicas.head[i] == NOBODY:
        replicas.head[i] = who
    else:
        requests.behind[replicas.tail[i]] = who
    replicas.tail[i] = who
    replicas.waiting[i] += 1
    replicas.pending_tokens[i] += requests.left[who]
    replicas.change[i] = replicas.clock[i]


@jit
def has_work(world: World, i: int) -> bool:
    """Whether anything waits or runs."""
    replicas = world.replicas
    return replicas.running[i] > 0 or replicas.head[i] != NOBODY or replicas.partial[i] != NOBODY


@jit
def advance(world: World, i: int, until: float) -> None:
    """Take the steps of replica i that begin at or before `until`."""
    replicas = world.replicas
    while replicas.clock[i] <= until and has_work(world, i):
        if prompts_step(world, i):
            continue
        if replicas.running[i] == 0:
            # What waits does not fit into an empty cache: it was refused at the door, or expired.
            break
        decode(world, i, until)
    replicas.change[i] = next_change(world, i)


@jit
def next_change(world: World, i: int) -> float:
    """Before this time nothing ends on replica i, and nobody enters its batch."""
    replicas = world.replicas
    if replicas.head[i] != NOBODY or replicas.partial[i] != NOBODY:
        return replicas.clock[i]
    if replicas.running[i] == 0:
        return NEVER
    steps = min(replicas.finish[i, 0] - replicas.steps[i], steps_until_full(world, i))
    return replicas.clock[i] + decode_seconds(world, i, max(steps, 1))


@jit
def decode_seconds(world: World, i: int, steps: float) -> float:
    """So many steps that only decode."""
    replicas, pool = world.replicas, world.replicas.pool[i]
    b = float(replicas.running[i])
    one = step_seconds(world, pool, 0.0, b, replicas.context[i])
    grown = world.pools.step[pool, PER_CACHED] * b * steps * (steps - 1) / 2
    return (steps * one + grown) * replicas.speed[i]


@jit
def steps_until_full(world: World, i: int) -> int:
    """Decoding steps for which the cache has room."""
    replicas = world.replicas
    room = (
        world.pools.cache_tokens[replicas.pool[i]] - replicas.context[i] - held_by_partial(world, i)
    )
    return int(room // max(replicas.running[i], 1))


@jit
def held_by_partial(world: World, i: int) -> float:
    """Tokens in the cache of the request whose prompt is computed in part."""
    who = world.replicas.partial[i]
    return 0.0 if who == NOBODY else float(world.requests.prompt[who] + world.requests.out[who])


@jit
def steps_that_begin_by(world: World, i: int, until: float) -> int:
    """How many decoding steps begin at or before `until`; at least 1."""
    replicas, pool = world.replicas, world.replicas.pool[i]
    left = (until - replicas.clock[i]) / replicas.speed[i]
    b = float(replicas.running[i])
    half = world.pools.step[pool, PER_CACHED] * b / 2
    one = step_seconds(world, pool, 0.0, b, replicas.context[i]) - half
    if half > 0:
        # n steps take half*n^2 + one*n.
        count = 2 * left / (one + math.sqrt(one * one + 4 * half * left))
    else:
        count = left / one
    return int(min(count, 1e15)) + 1


@jit
def decode(world: World, i: int, until: float) -> None:
    """Decoding steps up to the next at which something happens or somebody may have come."""
    replicas = world.replicas
    room = steps_until_full(world, i)
    if room < 1:
        preempt(world, i)
        return
    steps = min(replicas.finish[i, 0] - replicas.steps[i], room)
    if until < NEVER:
        steps = min(steps, steps_that_begin_by(world, i, until))
    spent = decode_seconds(world, i, steps)
    replicas.clock[i] += spent
    replicas.busy_seconds[i] += spent
    decoded(world, i, steps)


@jit
def decoded(world: World, i: int, steps: int) -> None:
    """Book so many steps of everything that runs, and end what is done."""
    replicas = world.replicas
    b = replicas.running[i]
    replicas.steps[i] += steps
    replicas.context[i] += float(steps) * b
    replicas.output_total[i] += steps * b
    while replicas.running[i] > 0 and replicas.finish[i, 0] <= replicas.steps[i]:
        who = replicas.who[i, 0]
        pop(replicas.finish[i], replicas.who[i], replicas.running[i])
        replicas.running[i] -= 1
        world.requests.out[who] = world.requests.output[who]
        ended(world, i, who, replicas.clock[i])


@jit
def ended(world: World, i: int, who: int, at: float) -> None:
    """A request got its last token on replica i, and leaves the cache."""
    requests, replicas, course = world.requests, world.replicas, world.course
    replicas.context[i] -= requests.prompt[who] + requests.output[who]
    replicas.done_total[i] += 1
    requests.end[who] = at
    requests.replica[who] = i
    requests.status[who] = DONE
    course.done[course.done_count[0]] = who
    course.done_count[0] += 1


@jit
def preempt(world: World, i: int) -> None:
    """The cache is full: the request that began to decode last goes back to the head of the queue."""
    requests, replicas = world.requests, world.replicas
    newest = 0
    for at in range(1, replicas.running[i]):
        if requests.first[replicas.who[i, at]] >= requests.first[replicas.who[i, newest]]:
            newest = at
    who = replicas.who[i, newest]
    out = requests.output[who] - (replicas.finish[i, newest] - replicas.steps[i])
    drop(replicas.finish[i], replicas.who[i], replicas.running[i], newest)
    replicas.running[i] -= 1
    replicas.context[i] -= requests.prompt[who] + out
    requests.out[who] = out
    requests.left[who] = requests.prompt[who] + out
    requests.preempted[who] += 1
    replicas.preempted_total[i] += 1
    requests.behind[who] = replicas.head[i]
    replicas.head[i] = who
    if replicas.tail[i] == NOBODY:
        replicas.tail[i] = who
    replicas.waiting[i] += 1
    replicas.pending_tokens[i] += requests.left[who]


@jit
def prompts_step(world: World, i: int) -> bool:
    """One step that computes prompts; False when none can be computed now."""
    requests, replicas, pools = world.requests, world.replicas, world.pools
    pool = replicas.pool[i]
    begin = replicas.clock[i]
    decoding = int(replicas.running[i]) if pools.is_chunked[pool] != 0 else 0
    if decoding > 0 and steps_until_full(world, i) < 1:
        return False
    budget = int(pools.token_budget[pool]) - decoding
    who = replicas.partial[i]
    if who == NOBODY:
        who = admitted_next(world, i, begin, 0, 0.0, budget)
    if who == NOBODY:
        return False
    entering, chain, held, tokens = 0, NOBODY, 0.0, 0
    while who != NOBODY:
        take = int(requests.left[who])
        if pools.is_chunked[pool] != 0:
            take = min(take, max(budget - tokens, 0))
        requests.left[who] -= take
        tokens += take
        if requests.left[who] > 0:
            replicas.partial[i] = who
            break
        replicas.partial[i] = NOBODY
        requests.behind[who] = chain
        chain = who
        entering += 1
        held += requests.prompt[who] + requests.out[who]
        if tokens >= budget:
            break
        who = admitted_next(world, i, begin, entering, held, budget - tokens)
    cached = replicas.context[i] if decoding > 0 else 0.0
    spent = step_seconds(world, pool, float(tokens), float(decoding), cached) * replicas.speed[i]
    spent += pools.request_seconds[pool] * entering
    replicas.clock[i] = begin + spent
    replicas.busy_seconds[i] += spent
    replicas.prompt_total[i] += tokens
    if decoding > 0:
        # Those that ran before this step; what enters now decodes from the next one on.
        decoded(world, i, 1)
    while chain != NOBODY:
        who, chain = chain, requests.behind[chain]
        joined(world, i, who)
    return True


@jit
def joined(world: World, i: int, who: int) -> None:
    """The prompt of a request is computed: its first token is out, and it decodes or moves on."""
    requests, replicas, pools = world.requests, world.replicas, world.pools
    pool, now = replicas.pool[i], replicas.clock[i]
    if pools.role[pool] == PREFILL:
        moved(world, i, who)
        return
    if pools.role[pool] == DECODE and requests.out[who] == 0:
        # Its cache came from a prefill pool; the first token is that of the next step.
        b = float(replicas.running[i] + 1)
        one = step_seconds(world, pool, 0.0, b, replicas.context[i] + requests.prompt[who])
        requests.first[who] = now + one * replicas.speed[i]
    else:
        requests.out[who] += 1
        replicas.output_total[i] += 1
        if math.isnan(requests.first[who]):
            requests.first[who] = now
    replicas.context[i] += requests.prompt[who] + requests.out[who]
    rest = requests.output[who] - requests.out[who]
    if rest <= 0:
        ended(world, i, who, now)
        return
    push(replicas.finish[i], replicas.who[i], replicas.running[i], replicas.steps[i] + rest, who)
    replicas.running[i] += 1


@jit
def moved(world: World, i: int, who: int) -> None:
    """A prefill replica is done with a request: its cache goes to the decoding pool."""
    pools, course = world.pools, world.course
    pool = world.replicas.pool[i]
    on_its_way = pools.transfer_seconds[pool]
    on_its_way += pools.transfer_per_token[pool] * world.requests.prompt[who]
    world.requests.pool[who] = pools.next_pool[pool]
    world.replicas.done_total[i] += 1
    size = course.transfers[0]
    push(course.transfer_at, course.transfer_who, size, world.replicas.clock[i] + on_its_way, who)
    course.transfers[0] = size + 1


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
    pool = replicas.pool[i]
    while replicas.head[i] != NOBODY:
        who = replicas.head[i]
        is_new = requests.out[who] == 0 and math.isnan(requests.admitted[who])
        if is_new and now - requests.arrived[who] > pools.patience[pool]:
            leave(world, i, who)
            give_up(world, who, EXPIRED, requests.arrived[who] + pools.patience[pool])
            continue
        need = requests.prompt[who] + requests.out[who] + replicas.running[i] + entering + 1
        room = pools.cache_tokens[pool] - replicas.context[i] - held
        is_full = replicas.running[i] + entering >= pools.sequences[pool] or need > room
        is_long = pools.is_chunked[pool] == 0 and entering > 0 and requests.left[who] > budget
        if is_full or is_long:
            return NOBODY
        leave(world, i, who)
        if math.isnan(requests.admitted[who]):
            requests.admitted[who] = now
        remembered(world, i, who)
        return who
    return NOBODY


@jit
def leave(world: World, i: int, who: int) -> None:
    """The head of the queue leaves it."""
    requests, replicas = world.requests, world.replicas
    replicas.head[i] = requests.behind[who]
    if replicas.head[i] == NOBODY:
        replicas.tail[i] = NOBODY
    replicas.waiting[i] -= 1
    replicas.pending_tokens[i] -= requests.left[who]


@jit
def give_up(world: World, who: int, status: int, at: float) -> None:
    """A request ends without its answer."""
    requests, course = world.requests, world.course
    requests.status[who] = status
    requests.end[who] = at
    world.pools.refused_total[requests.pool[who]] += 1
    course.done[course.done_count[0]] = who
    course.done_count[0] += 1


@jit
def remembered(world: World, i: int, who: int) -> None:
    """What of the prompt is still in the prefix cache need not be computed.

    A group's beginning is there while fewer tokens were put in since than the cache holds: the
    stack distance of a least-recently-used cache, with misses alone counted.
    """
    requests, replicas = world.requests, world.replicas
    group = requests.group[who]
    if group == NOBODY or replicas.seen.shape[1] == 0 or requests.left[who] == 0:
        return
    then = replicas.seen[i, group]
    free = world.pools.cache_tokens[replicas.pool[i]] - replicas.context[i]
    if then != NOBODY and replicas.inserted[i] - then < free:
        hit = min(int(requests.shared[who]), int(requests.left[who]) - 1)
        requests.cached[who] = hit
        requests.left[who] -= hit
        replicas.cached_total[i] += hit
    replicas.inserted[i] += requests.left[who]
    replicas.seen[i, group] = replicas.inserted[i]
