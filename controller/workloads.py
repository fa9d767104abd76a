"""Request rows of the store as a workload to replay: sizes, sessions and shared beginnings.

Who shares a beginning is known in one of two ways: turns of a session, of which each repeats what
was said before; or hashes of prompt blocks, where a trace has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from controller.simulator.state import NOBODY, Smalls
from controller.simulator.workload import Workload
from store.errors import ControllerError

BLOCK_TOKENS = 512
"""Of a trace that does not say: Mooncake's."""
_NEEDED = "replay needs both; a trace of times alone cannot be replayed"


@dataclass(frozen=True, slots=True)
class Cut:
    """Which part of the rows, and how much of it.

    Attributes:
        start_seconds: after the first arrival.
        end_seconds: exclusive; None is the end.
        factor: how many times as many requests in the same time.
        seed: of which requests are taken when they are thinned or repeated.
    """

    start_seconds: float = 0.0
    end_seconds: float | None = None
    factor: float = 1.0
    seed: int = 0


def workload_of(
    rows: pl.DataFrame, cut: Cut | None = None, block_tokens: int = BLOCK_TOKENS
) -> Workload:
    """A workload of request rows; the first arrival, or the start of the cut, is second 0.

    Args:
        rows: arrived_at (or at), input_tokens, output_tokens; with tenant, session_id (or
            session_key) and block_hashes (or prefix_blocks) where there are any.
        cut: part and scale; all of it as it is where None.
        block_tokens: of a block of the prompts.

    Raises:
        ControllerError: no row has both sizes, fewer than two are left, or the cut is empty.
    """
    known, left_out = with_sizes(rows)
    at = seconds_of(known)
    tenants = known["tenant"].fill_null("") if "tenant" in known.columns else None
    made = Workload.of(
        at,
        known["input_tokens"].to_numpy(),
        known["output_tokens"].to_numpy(),
        None if tenants is None else tenants.rank("dense").to_numpy() - 1,
    )
    group, shared = groups(known, block_tokens)
    made = replace(made, group=group, shared=shared, left_out=left_out)
    return _cut(made, cut) if cut is not None else made


def with_sizes(rows: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Rows that have an arrival and both sizes, by arrival; and how many have not.

    Raises:
        ControllerError: there are fewer than two.
    """
    if "arrived_at" not in rows.columns and "at" in rows.columns:
        rows = rows.rename({"at": "arrived_at"})
    missing = [
        name for name in ("arrived_at", "input_tokens", "output_tokens") if name not in rows.columns
    ]
    if missing:
        raise ControllerError(f"the rows have no {' and no '.join(missing)}", hint=_NEEDED)
    known = rows.filter(
        pl.col("arrived_at").is_not_null()
        & (pl.col("input_tokens") >= 1)
        & (pl.col("output_tokens") >= 1)
    ).sort("arrived_at", maintain_order=True)
    if known.is_empty():
        told = "there is no request" if rows.is_empty() else (
            f"none of {rows.height:,} requests has a prompt and an output size"
        )  # fmt: skip
        raise ControllerError(told, hint="widen the range" if rows.is_empty() else _NEEDED)
    if known.height < 2:
        raise ControllerError("one request is no course of load", hint="widen the range")
    return known, rows.height - known.height


def seconds_of(known: pl.DataFrame) -> np.ndarray:
    """(n,) arrivals in seconds after the first."""
    at = known["arrived_at"].dt.epoch("us").to_numpy()
    return np.asarray((at - at[0]) / 1e6, dtype=np.float64)


def groups(known: pl.DataFrame, block_tokens: int = BLOCK_TOKENS) -> tuple[Smalls, Smalls]:
    """(group, shared tokens) of each row; blocks where there are any, else sessions."""
    prompts = known["input_tokens"]
    blocks = _column(known, "block_hashes", "prefix_blocks")
    if blocks is not None:
        chains = [list(some) if some is not None else [] for some in blocks]
        group, tokens = of_blocks(chains, block_tokens)
        return group, np.minimum(tokens, prompts.to_numpy()).astype(np.int32)
    sessions = _column(known, "session_id", "session_key")
    if sessions is not None:
        return of_sessions(sessions.to_list(), prompts.to_list(), known["output_tokens"].to_list())
    return np.full(known.height, NOBODY, np.int32), np.zeros(known.height, np.int32)


def _column(rows: pl.DataFrame, *names: str) -> pl.Series | None:
    """The first of these that says anything."""
    found = (rows[name] for name in names if name in rows.columns)
    return next((some for some in found if not some.is_null().all()), None)


def of_sessions(
    sessions: Sequence[object], prompts: Sequence[int], outputs: Sequence[int]
) -> tuple[Smalls, Smalls]:
    """Turns share what the one before had: its prompt, and its answer where the next is long."""
    number: dict[object, int] = {}
    before: dict[int, tuple[int, int]] = {}
    group = np.full(len(sessions), NOBODY, np.int32)
    shared = np.zeros(len(sessions), np.int32)
    for row, session in enumerate(sessions):
        if session is None:
            continue
        own = number.setdefault(session, len(number))
        group[row] = own
        prompt, output = before.get(own, (0, 0))
        if prompts[row] >= prompt + output:
            shared[row] = prompt + output
        elif prompts[row] >= prompt:
            shared[row] = prompt
        before[own] = (prompts[row], outputs[row])
    return group, shared


def of_blocks(blocks: Sequence[Sequence[int]], block_tokens: int) -> tuple[Smalls, Smalls]:
    """Requests whose prompts begin alike.

    One that repeats at least half of an earlier prompt goes on with its conversation. One that
    shares less than that with anybody (a system prompt) is in a group of all that begin with the
    same block.
    """
    owner: dict[int, int] = {}
    talk = np.arange(len(blocks), dtype=np.int32)
    depth = np.zeros(len(blocks), np.int32)
    has_followers = np.zeros(len(blocks), dtype=bool)
    for row, chain in enumerate(blocks):
        seen = 0
        for block in chain:
            if block not in owner:
                break
            seen += 1
        depth[row] = seen
        if seen:
            last = owner[chain[seen - 1]]
            if 2 * seen >= min(len(chain), len(blocks[last])) and seen > 1:
                talk[row] = talk[last]
                has_followers[talk[last]] = True
        owner.update(dict.fromkeys(chain, row))
    return _numbered(blocks, talk, depth, has_followers, block_tokens)


def _numbered(
    blocks: Sequence[Sequence[int]],
    talk: Smalls,
    depth: Smalls,
    has_followers: np.ndarray,
    block_tokens: int,
) -> tuple[Smalls, Smalls]:
    number: dict[tuple[bool, int], int] = {}
    group = np.full(len(blocks), NOBODY, np.int32)
    for row, chain in enumerate(blocks):
        in_talk = bool(has_followers[talk[row]])
        if in_talk or chain:
            name = (in_talk, int(talk[row]) if in_talk else int(chain[0]))
            group[row] = number.setdefault(name, len(number))
    return group, (depth * block_tokens).astype(np.int32)


def _cut(made: Workload, cut: Cut) -> Workload:
    end = made.seconds + 1e-6 if cut.end_seconds is None else cut.end_seconds
    if not 0 <= cut.start_seconds < end:
        raise ControllerError(
            f"the part from {cut.start_seconds:g} s to {end:g} s is empty",
            hint="its end must lie after its start",
        )
    part = made.between(cut.start_seconds, end)
    if len(part) < 2:
        raise ControllerError(
            f"{len(part)} of {len(made):,} requests arrive from {cut.start_seconds:g} to {end:g} s",
            hint=f"the trace is {made.seconds:,.0f} s long",
        )
    return part if cut.factor == 1.0 else part.faster(cut.factor, cut.seed)
