"""What the fast simulator keeps: tables of requests, replicas and pools, written in place.

Requests are rows of a workload by arrival; replicas are slots that are used again; a pool is
replicas that share a profile, a role and a router. The tables are structured arrays: one row lies
together in memory, and compiled code is handed a dozen arrays rather than eighty.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Smalls = npt.NDArray[np.int32]
# A structured array; its columns are listed with its dtype.
Table = Any

NOBODY = -1
# Replicas.
FREE, STARTING, READY, DRAINING = range(4)
# Pools.
WHOLE, PREFILL, DECODE = range(3)
# Requests: not yet arrived or under way; then how they ended.
OPEN, DONE, REFUSED, EXPIRED, FAILED = range(5)
# Routers.
LEAST_OUTSTANDING, ROUND_ROBIN, POWER_OF_TWO, PREFIX_AFFINITY, LEAST_TOKENS = range(5)

# Times are seconds, NaN until known.
REQUEST = np.dtype(
    [
        ("arrived", np.float64),
        ("admitted", np.float64),  # first time in a batch
        ("moved", np.float64),  # when a prefill pool was done with it
        ("first", np.float64),  # first token
        ("end", np.float64),  # last token, or when it was refused or given up
        ("prompt", np.int32),  # tokens
        ("output", np.int32),  # tokens, at least 1
        ("left", np.int32),  # prompt tokens to compute; after a preemption what was generated too
        ("out", np.int32),  # tokens generated
        ("cached", np.int32),  # prompt tokens found in the cache
        ("group", np.int32),  # requests that share a beginning; NOBODY shares none
        ("shared", np.int32),  # tokens of that beginning
        ("pool", np.int32),  # where it is
        ("entered", np.int32),  # pool that it came in by
        ("replica", np.int32),  # that ended it
        ("behind", np.int32),  # next in its queue
        ("preempted", np.int32),  # times
        ("status", np.int32),  # OPEN, DONE, REFUSED, EXPIRED or FAILED
    ]
)
REPLICA = np.dtype(
    [
        ("clock", np.float64),  # end of the last step
        ("change", np.float64),  # nothing that others see happens before
        ("context", np.float64),  # tokens in the cache
        ("speed", np.float64),  # factor on its steps: 1 is as its profile says
        ("busy_seconds", np.float64),  # in steps
        ("steps", np.int64),  # decoding steps done: requests know the number at which they end
        ("pending_tokens", np.int64),  # prompt tokens that wait
        ("inserted", np.int64),  # tokens that were put into its prefix cache
        ("prompt_total", np.int64),  # prompt tokens computed
        ("output_total", np.int64),  # tokens generated
        ("cached_total", np.int64),  # prompt tokens that were not computed
        ("done_total", np.int64),  # requests ended
        ("preempted_total", np.int64),  # preemptions
        ("pool", np.int32),  # whose it is
        ("state", np.int32),  # FREE, STARTING, READY or DRAINING
        ("running", np.int32),  # sequences that decode
        ("waiting", np.int32),  # requests in the queue, the half-computed one not counted
        ("head", np.int32),  # first that waits
        ("tail", np.int32),  # last that waits
        ("partial", np.int32),  # whose prompt is computed in part
        ("leaving", np.int32),  # requests that the last step ended: others see them until its end
    ]
)
POOL = np.dtype(
    [
        # Seconds of a step with p prompt tokens, b decoding sequences and k tokens in their caches:
        # fixed + (per_prompt + per_prompt_squared*p)*p + (per_sequence + per_sequence_squared*b)*b
        # + per_cached*k + (decoding if b > 0).
        ("fixed", np.float64),
        ("per_prompt", np.float64),
        ("per_prompt_squared", np.float64),
        ("per_sequence", np.float64),
        ("per_sequence_squared", np.float64),
        ("per_cached", np.float64),
        ("decoding", np.float64),
        ("request_seconds", np.float64),  # once a request, before its first step
        ("transfer_seconds", np.float64),  # once a request, of a PREFILL pool
        ("transfer_per_token", np.float64),  # seconds
        ("weight", np.float64),  # what a replica counts for where pools share arrivals
        ("patience", np.float64),  # seconds after which a request that waits is given up
        ("token_budget", np.int64),  # tokens a step
        ("cache_tokens", np.int64),  # that the cache holds
        ("most_waiting", np.int64),  # held while no replica is ready; more are refused
        ("arrived_total", np.int64),  # requests
        ("refused_total", np.int64),  # requests refused or given up
        ("turn", np.int64),  # of round robin
        ("sequences", np.int32),  # decoding at once
        ("is_chunked", np.int32),  # prompts share steps with decoding; else decoding waits
        ("role", np.int32),  # WHOLE, PREFILL or DECODE
        ("next_pool", np.int32),  # where a PREFILL pool sends
        ("gate", np.int32),  # first of the pools that share arrivals; NOBODY shares none
        ("router", np.int32),  # rule
        ("ready_count", np.int32),  # entries of `World.ready`
        ("head", np.int32),  # first that is held
        ("tail", np.int32),  # last
        ("held", np.int32),  # how many
    ]
)
STEP_TERMS = POOL.names[:7] if POOL.names else ()
COURSE = np.dtype(
    [
        ("now", np.float64),  # seconds
        ("next_arrival", np.int64),  # row that comes next
        ("transfers", np.int64),  # caches on their way
        ("done_count", np.int64),  # entries of `World.done`
        ("random", np.uint64),  # state of the router's dice
    ]
)


class World(NamedTuple):
    """All of it.

    Attributes:
        requests: (n,) REQUEST, by arrival.
        replicas: (r,) REPLICA, slots.
        pools: (p,) POOL.
        course: (1,) COURSE.
        finish: (r, s) heap of the steps at which the running sequences of a replica end.
        who: (r, s) the requests of that heap.
        seen: (r, g) `inserted` when a group was last served; NOBODY never.
        ready: (p, r) slots that take requests.
        transfer_at: (n,) heap of when caches arrive; empty without prefill pools.
        transfer_who: (n,) the requests of that heap.
        done: (n,) requests in the order in which they were found to have ended.
    """

    requests: Table
    replicas: Table
    pools: Table
    course: Table
    finish: Ints
    who: Smalls
    seen: Ints
    ready: Smalls
    transfer_at: Floats
    transfer_who: Smalls
    done: Smalls


def requests_of(
    arrived: Floats, prompt: Smalls, output: Smalls, pool: Smalls, group: Smalls, shared: Smalls
) -> Table:
    """(n,) REQUEST none of which has arrived."""
    made = np.zeros(len(arrived), REQUEST)
    told = {"arrived": arrived, "prompt": prompt, "left": prompt, "output": output}
    told |= {"pool": pool, "entered": pool, "group": group, "shared": shared}
    for name, values in told.items():
        made[name] = values
    for name in ("admitted", "moved", "first", "end"):
        made[name] = np.nan
    for name in ("replica", "behind"):
        made[name] = NOBODY
    return made


def replicas_of(slots: int) -> Table:
    """(r,) REPLICA that are free."""
    made = np.zeros(slots, REPLICA)
    made["change"], made["speed"] = np.inf, 1.0
    for name in ("pool", "head", "tail", "partial"):
        made[name] = NOBODY
    return made


def course_of(seed: int) -> Table:
    """(1,) COURSE at its beginning."""
    made = np.zeros(1, COURSE)
    made["random"] = 2 * seed + 1
    return made
