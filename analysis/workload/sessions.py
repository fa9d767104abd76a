"""Conversations: turns, the pauses between them, and how the context grows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.workload.arrivals import MICROSECONDS, Floats, Stamps, run_lengths

TURNS_SCHEMA = {"turns": pl.Int64, "sessions": pl.Int64}
GAPS_SCHEMA = {"gap_seconds": pl.Float64, "cdf_ratio": pl.Float64}
GROWTH_SCHEMA = {"turn": pl.Int64, "input_tokens_mean": pl.Float64, "sessions": pl.Int64}
_GAP_POINTS = 200
_MOST_TURNS_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Sessions:
    """Requests grouped into sessions and put in order of arrival.

    Attributes:
        turn: 1 for the first request of its session, one entry a request.
        turns: requests in each session.
        gaps_seconds: arrival to next arrival within a session. It includes the time to answer,
            since that is not known of every trace.
        input_tokens: input of each request; NaN = unknown.
    """

    turn: Stamps
    turns: Stamps
    gaps_seconds: Floats
    input_tokens: npt.NDArray[np.float32]


def group(rows: pl.DataFrame) -> Sessions:
    """Sessions of a frame with source_id, session_key, at_us, input_tokens, any order."""
    parts = [_group_source(part) for part in rows.partition_by("source_id", as_dict=False)]
    if not parts:
        nothing = np.empty(0, dtype=np.int64)
        return Sessions(nothing, nothing, np.empty(0), np.empty(0, dtype=np.float32))
    columns = ("turn", "turns", "gaps_seconds", "input_tokens")
    if len(parts) == 1:
        return parts[0]
    return Sessions(*(np.concatenate([getattr(p, name) for p in parts]) for name in columns))


def _group_source(rows: pl.DataFrame) -> Sessions:
    """Sessions of one source: sorting one column by another is a fifth of sorting rows."""
    key, at_us = rows["session_key"].to_numpy(), rows["at_us"].to_numpy()
    tokens = rows["input_tokens"].cast(pl.Float32).fill_null(float("nan")).to_numpy()
    if not bool(np.all(at_us[1:] >= at_us[:-1])):
        by_time = np.argsort(at_us, kind="stable")
        key, at_us, tokens = key[by_time], at_us[by_time], tokens[by_time]
    order = np.argsort(key, kind="stable")
    key = key[order]
    starts = np.concatenate(([0], np.flatnonzero(key[1:] != key[:-1]) + 1))
    turns = np.diff(np.append(starts, key.size))
    turn = np.arange(key.size) - np.repeat(starts, turns) + 1
    gaps = np.diff(at_us[order])[turn[1:] > 1] / MICROSECONDS
    return Sessions(turn, turns, gaps, tokens[order])


def turns_frame(sessions: Sessions) -> pl.DataFrame:
    """turns, sessions: how many sessions had that many turns."""
    turns, counts = run_lengths(np.sort(sessions.turns))
    return pl.DataFrame({"turns": turns, "sessions": counts}, schema=TURNS_SCHEMA)


def gaps_frame(sessions: Sessions) -> pl.DataFrame:
    """gap_seconds, cdf_ratio: at most 200 points of the empirical curve, exact at each."""
    if sessions.gaps_seconds.size == 0:
        return pl.DataFrame(schema=GAPS_SCHEMA)
    ordered = np.sort(sessions.gaps_seconds)
    places = np.rint(np.linspace(0, ordered.size - 1, _GAP_POINTS)).astype(int)
    points = np.unique(ordered[places])
    ratio = np.searchsorted(ordered, points, side="right") / ordered.size
    return pl.DataFrame({"gap_seconds": points, "cdf_ratio": ratio}, schema=GAPS_SCHEMA)


def growth_frame(sessions: Sessions) -> pl.DataFrame:
    """turn, input_tokens_mean, sessions: context by turn, over the sessions that got so far."""
    return (
        pl.DataFrame({"turn": sessions.turn, "input": sessions.input_tokens})
        .filter((pl.col("turn") <= _MOST_TURNS_SHOWN) & pl.col("input").is_not_nan())
        .group_by("turn")
        .agg(
            pl.col("input").cast(pl.Float64).mean().alias("input_tokens_mean"),
            pl.len().alias("sessions"),
        )
        .sort("turn")
        .cast(GROWTH_SCHEMA)  # type: ignore[arg-type]
    )


def growth_per_turn(sessions: Sessions) -> tuple[float | None, int]:
    """Mean change of input tokens from one turn to the next, and over how many steps.

    Differences are taken within sessions: the mean by turn would mostly show which sessions last.
    """
    step = np.diff(sessions.input_tokens.astype(np.float64))[sessions.turn[1:] > 1]
    known = step[~np.isnan(step)]
    return (float(known.mean()), int(known.size)) if known.size else (None, 0)
