"""What the fast simulator keeps: flat arrays of requests, replicas and pools.

Compiled loops read and write them in place. Requests are rows of a workload by arrival; replicas are
slots that are used again; a pool is replicas that share a profile, a role and a router.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Smalls = npt.NDArray[np.int32]
Marks = npt.NDArray[np.int8]

NOBODY = -1
# Replicas.
FREE, STARTING, READY, DRAINING = range(4)
# Pools.
WHOLE, PREFILL, DECODE = range(3)
# Requests: not yet arrived or under way; then how they ended.
OPEN, DONE, REFUSED, EXPIRED, FAILED = range(5)
# Routers.
LEAST_OUTSTANDING, ROUND_ROBIN, POWER_OF_TWO, PREFIX_AFFINITY, LEAST_TOKENS = range(5)

# Columns of `Pools.step`: seconds of a step are
# fixed + per_prompt_token*p + per_prompt_token_squared*p^2 + per_sequence*b + per_sequence_squared*b^2
# + per_cached_token*k, with p prompt tokens, b decoding sequences and k tokens in their caches.
FIXED, PER_PROMPT, PER_PROMPT_SQUARED, PER_SEQUENCE, PER_SEQUENCE_SQUARED, PER_CACHED = range(6)
TERMS = 6


class Requests(NamedTuple):
    """n requests by arrival, and what became of them; times in seconds, NaN until known.

    Attributes:
        arrived: (n,) rising.
        prompt: (n,) tokens.
        output: (n,) tokens, at least 1.
        pool: (n,) where it enters.
        group: (n,) requests that share a beginning; NOBODY shares none.
        shared: (n,) tokens of that beginning.
        left: (n,) prompt tokens not yet computed; after a preemption what was generated too.
        out: (n,) tokens generated.
        cached: (n,) prompt tokens found in the cache.
        admitted: (n,) first time in a batch.
        first: (n,) first token.
        end: (n,) last token, or when it was refused or given up.
        replica: (n,) that ended it.
        status: (n,) OPEN, DONE, REFUSED, EXPIRED or FAILED.
        preempted: (n,) times.
        behind: (n,) next in its queue.
    """

    arrived: Floats
    prompt: Smalls
    output: Smalls
    pool: Smalls
    group: Smalls
    shared: Smalls
    left: Smalls
    out: Smalls
    cached: Smalls
    admitted: Floats
    first: Floats
    end: Floats
    replica: Smalls
    status: Marks
    preempted: Smalls
    behind: Smalls


class Replicas(NamedTuple):
    """Slots of replicas.

    Attributes:
        pool: (r,) whose it is.
        state: (r,) FREE, STARTING, READY or DRAINING.
        clock: (r,) end of the last step.
        change: (r,) nothing that others see happens before.
        steps: (r,) decoding steps done: requests know the number at which they end.
        context: (r,) tokens in the cache.
        running: (r,) sequences that decode.
        finish: (r, s) heap of the steps at which they end.
        who: (r, s) the requests of that heap.
        head: (r,) first that waits.
        tail: (r,) last that waits.
        waiting: (r,) how many wait, the half-computed one not counted.
        partial: (r,) whose prompt is computed in part.
        pending_tokens: (r,) prompt tokens that wait.
        speed: (r,) factor on its steps: 1 is as its profile says.
        inserted: (r,) tokens that were put into its prefix cache.
        seen: (r, g) `inserted` when a group was last served; NOBODY never.
        prompt_total: (r,) prompt tokens computed.
        output_total: (r,) tokens generated.
        done_total: (r,) requests ended.
        cached_total: (r,) prompt tokens that were not computed.
        preempted_total: (r,) preemptions.
        busy_seconds: (r,) in steps.
    """

    pool: Smalls
    state: Marks
    clock: Floats
    change: Floats
    steps: Ints
    context: Floats
    running: Smalls
    finish: npt.NDArray[np.int64]
    who: npt.NDArray[np.int32]
    head: Smalls
    tail: Smalls
    waiting: Smalls
    partial: Smalls
    pending_tokens: Ints
    speed: Floats
    inserted: Ints
    seen: npt.NDArray[np.int64]
    prompt_total: Ints
    output_total: Ints
    done_total: Ints
    cached_total: Ints
    preempted_total: Ints
    busy_seconds: Floats


class Pools(NamedTuple):
    """p pools.

    Attributes:
        step: (p, TERMS) seconds of a step.
        request_seconds: (p,) once a request, before its first step.
        token_budget: (p,) tokens a step.
        sequences: (p,) decoding at once.
        cache_tokens: (p,) that the cache holds.
        is_chunked: (p,) prompts share steps with decoding; else decoding waits for prompts.
        role: (p,) WHOLE, PREFILL or DECODE.
        next_pool: (p,) where a PREFILL pool sends.
        transfer_seconds: (p,) once a request, of a PREFILL pool.
        transfer_per_token: (p,) seconds.
        router: (p,) rule.
        turn: (p,) of round robin.
        patience: (p,) seconds after which a waiting request is given up; infinite never.
        most_waiting: (p,) requests held while no replica is ready; more are refused.
        ready: (p, r) slots that take requests.
        ready_count: (p,).
        head: (p,) first that is held.
        tail: (p,) last.
        held: (p,) how many.
        arrived_total: (p,) requests.
        refused_total: (p,) requests refused or given up.
    """

    step: Floats
    request_seconds: Floats
    token_budget: Ints
    sequences: Smalls
    cache_tokens: Ints
    is_chunked: Marks
    role: Marks
    next_pool: Smalls
    transfer_seconds: Floats
    transfer_per_token: Floats
    router: Marks
    turn: Ints
    patience: Floats
    most_waiting: Ints
    ready: npt.NDArray[np.int32]
    ready_count: Smalls
    head: Smalls
    tail: Smalls
    held: Smalls
    arrived_total: Ints
    refused_total: Ints


class Course(NamedTuple):
    """Where the simulation stands; each an array so that compiled code can change it.

    Attributes:
        next_arrival: (1,) row that comes next.
        now: (1,) seconds.
        transfers: (1,) caches on their way.
        transfer_at: (n,) heap of when they arrive; empty without prefill pools.
        transfer_who: (n,) the requests of that heap.
        done_count: (1,) entries of `done`.
        done: (n,) requests in the order in which they ended.
        random: (1,) state of the router's dice.
    """

    next_arrival: Ints
    now: Floats
    transfers: Ints
    transfer_at: Floats
    transfer_who: Smalls
    done_count: Ints
    done: Smalls
    random: npt.NDArray[np.uint64]


class World(NamedTuple):
    """All of it."""

    requests: Requests
    replicas: Replicas
    pools: Pools
    course: Course


def requests_of(
    arrived: Floats, prompt: Smalls, output: Smalls, pool: Smalls, group: Smalls, shared: Smalls
) -> Requests:
    """Requests none of which has arrived."""
    n = len(arrived)
    zeros = [np.zeros(n, np.int32) for _ in range(3)]
    unknown = [np.full(n, np.nan) for _ in range(3)]
    return Requests(
        arrived, prompt, output, pool, group, shared, prompt.copy(), *zeros[:2], *unknown,
        np.full(n, NOBODY, np.int32), np.zeros(n, np.int8), zeros[2],
        np.full(n, NOBODY, np.int32),
    )  # fmt: skip


def replicas_of(slots: int, sequences: int, groups: int) -> Replicas:
    """Free slots."""
    small = lambda value: np.full(slots, value, np.int32)  # noqa: E731
    large = lambda: np.zeros(slots, np.int64)  # noqa: E731
    return Replicas(
        pool=small(NOBODY),
        state=np.zeros(slots, np.int8),
        clock=np.zeros(slots),
        change=np.full(slots, np.inf),
        steps=large(),
        context=np.zeros(slots),
        running=small(0),
        finish=np.zeros((slots, sequences), np.int64),
        who=np.full((slots, sequences), NOBODY, np.int32),
        head=small(NOBODY),
        tail=small(NOBODY),
        waiting=small(0),
        partial=small(NOBODY),
        pending_tokens=large(),
        speed=np.ones(slots),
        inserted=large(),
        seen=np.full((slots, groups), NOBODY, np.int64),
        prompt_total=large(),
        output_total=large(),
        done_total=large(),
        cached_total=large(),
        preempted_total=large(),
        busy_seconds=np.zeros(slots),
    )


def course_of(n: int, seed: int, *, has_transfers: bool) -> Course:
    """The beginning."""
    size = n if has_transfers else 0
    return Course(
        next_arrival=np.zeros(1, np.int64),
        now=np.zeros(1),
        transfers=np.zeros(1, np.int64),
        transfer_at=np.zeros(size),
        transfer_who=np.zeros(size, np.int32),
        done_count=np.zeros(1, np.int64),
        done=np.full(n, NOBODY, np.int32),
        random=np.array([2 * seed + 1], np.uint64),
    )
