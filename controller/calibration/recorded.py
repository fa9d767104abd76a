"""What was measured: arrivals, sizes, latencies, and which replica served whom."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import polars as pl

from controller.numbers import Floats
from controller.simulator.state import NOBODY, Smalls
from controller.simulator.workload import Workload
from controller.workloads import BLOCK_TOKENS, with_sizes, workload_of
from store.errors import ControllerError

LEAST_ROWS = 100
"""Fewer say little about half a dozen numbers."""
_FEW_RATIO = 0.1


@dataclass(frozen=True, slots=True)
class Times:
    """Latencies of n requests in seconds, NaN unknown.

    Attributes:
        ttft: (n,) to the first token.
        tpot: (n,) for each token after the first.
        e2e: (n,) to the last token.
    """

    ttft: Floats
    tpot: Floats
    e2e: Floats

    def take(self, rows: object) -> Times:
        """The rows that an index, a slice or a mask names."""
        at = rows if isinstance(rows, slice) else np.asarray(rows)
        return Times(self.ttft[at], self.tpot[at], self.e2e[at])


@dataclass(frozen=True, slots=True)
class Recorded:
    """n requests that ended well, by arrival.

    Attributes:
        workload: what arrived.
        times: what was measured.
        replica: (n,) number of the instance in `instances`; NOBODY unknown.
        instances: names.
        first_at: when second 0 is (aware; trace time for traces).
        left_out: rows without sizes or times, or that failed.
    """

    workload: Workload
    times: Times
    replica: Smalls
    instances: tuple[str, ...]
    first_at: datetime
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.workload)

    @property
    def is_placed(self) -> bool:
        """Whether it is known who served whom."""
        return bool(len(self.replica)) and not (self.replica == NOBODY).any()

    def before(self, seconds: float) -> Recorded:
        """Those that arrived before."""
        return self.where(slice(0, int(np.searchsorted(self.workload.arrived, seconds))))

    def last(self, most: int) -> Recorded:
        """At most so many, the latest."""
        return self if len(self) <= most else self.where(slice(len(self) - most, None))

    def where(self, rows: object) -> Recorded:
        """The rows that a slice, an index or a mask names; times count from the same second."""
        cut, work = rows if isinstance(rows, slice) else np.asarray(rows), self.workload
        part = Workload(
            work.arrived[cut], work.prompt[cut], work.output[cut], work.tenant[cut],
            work.group[cut], work.shared[cut], work.left_out,
        )  # fmt: skip
        return replace(self, workload=part, times=self.times.take(cut), replica=self.replica[cut])


def recorded(
    rows: pl.DataFrame, block_tokens: int = BLOCK_TOKENS, least: int = LEAST_ROWS
) -> Recorded:
    """Rows of the store as they are compared with a simulation.

    Args:
        rows: arrived_at (or at), input_tokens, output_tokens and two of ttft_seconds, tpot_seconds
            and e2e_seconds; with is_ok or status, instance and what `workload_of` takes.
        block_tokens: of a block of the prompts.
        least: rows that are needed.

    Raises:
        ControllerError: no sizes, no latencies, or too few rows with both.
    """
    known, _ = with_sizes(_ended_well(rows))
    ttft, tpot, e2e = _latencies(known)
    usable = np.isfinite(ttft) & np.isfinite(e2e) & (ttft > 0) & (e2e > 0) & (e2e >= ttft - 1e-6)
    if usable.sum() < min(least, _FEW_RATIO * known.height):
        few = f"{int(usable.sum()):,}" if usable.any() else "none"
        raise ControllerError(
            f"{few} of {known.height:,} requests have the times that are simulated",
            hint="two of ttft_seconds, tpot_seconds and e2e_seconds are needed; a trace of"
            " arrivals and sizes can be replayed, but nothing can be fitted to it",
        )
    if usable.sum() < least:
        raise ControllerError(
            f"{int(usable.sum())} requests with sizes and times are too few",
            hint=f"at least {least} are needed: widen the range or wait for traffic",
        )
    kept = known.filter(pl.Series(usable))
    work = workload_of(kept, block_tokens=block_tokens)
    replica, instances = _instances(kept)
    first = kept["arrived_at"][0]
    assert isinstance(first, datetime)  # noqa: S101 - not null by with_sizes
    return Recorded(
        work,
        Times(ttft[usable], np.where(work.output > 1, tpot[usable], np.nan), e2e[usable]),
        replica,
        instances,
        first if first.tzinfo else first.replace(tzinfo=UTC),
        rows.height - kept.height,
    )


def _ended_well(rows: pl.DataFrame) -> pl.DataFrame:
    if "is_ok" in rows.columns:
        return rows.filter(pl.col("is_ok"))
    if "status" in rows.columns:
        return rows.filter(pl.col("status").cast(pl.String) == "ok")
    return rows


def _latencies(known: pl.DataFrame) -> tuple[Floats, Floats, Floats]:
    """TTFT, TPOT and E2E; the one that is missing follows from the other two."""
    ttft, tpot, e2e = (
        known[name].cast(pl.Float64).to_numpy().astype(np.float64)
        if name in known.columns
        else np.full(known.height, np.nan)
        for name in ("ttft_seconds", "tpot_seconds", "e2e_seconds")
    )
    more = known["output_tokens"].to_numpy().astype(np.float64) - 1
    after = np.where(more > 0, tpot * more, 0.0)
    ttft = np.where(np.isnan(ttft), e2e - after, ttft)
    e2e = np.where(np.isnan(e2e), ttft + after, e2e)
    derived = (e2e - ttft) / np.maximum(more, 1)
    return ttft, np.where(np.isnan(tpot), derived, tpot), e2e


def _instances(kept: pl.DataFrame) -> tuple[Smalls, tuple[str, ...]]:
    if "instance" not in kept.columns or kept["instance"].is_null().all():
        return np.full(kept.height, NOBODY, np.int32), ()
    names = tuple(kept["instance"].drop_nulls().unique().sort().to_list())
    number = {name: at for at, name in enumerate(names)}
    return np.array([number.get(name, NOBODY) for name in kept["instance"]], np.int32), names
