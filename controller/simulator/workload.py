"""Requests to replay, as arrays by arrival."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from controller.simulator.state import NOBODY, Floats, Smalls
from store.errors import ControllerError

_COLUMNS = ("arrived_at", "input_tokens", "output_tokens")
_MOST_TOKENS = 10_000_000


@dataclass(frozen=True, slots=True)
class Workload:
    """n requests.

    Attributes:
        arrived: (n,) seconds after the start, rising.
        prompt: (n,) tokens, at least 1.
        output: (n,) tokens, at least 1.
        tenant: (n,) number of the tenant.
        group: (n,) number of what shares a beginning; NOBODY shares none.
        shared: (n,) tokens of that beginning.
        left_out: requests of the source without sizes.
    """

    arrived: Floats
    prompt: Smalls
    output: Smalls
    tenant: Smalls
    group: Smalls
    shared: Smalls
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.arrived)

    @property
    def seconds(self) -> float:
        """From the start to the last arrival."""
        return float(self.arrived[-1]) if len(self) else 0.0

    @classmethod
    def of(
        cls,
        arrived: npt.ArrayLike,
        prompt: npt.ArrayLike,
        output: npt.ArrayLike,
        tenant: npt.ArrayLike | None = None,
    ) -> Self:
        """Arrays in any order.

        Raises:
            ControllerError: lengths differ, a time is not finite, or a size is below 1.
        """
        at = np.asarray(arrived, dtype=np.float64)
        sizes = [np.asarray(some) for some in (prompt, output)]
        who = np.zeros(len(at)) if tenant is None else np.asarray(tenant)
        if any(len(some) != len(at) for some in (*sizes, who)):
            raise ControllerError("arrivals, sizes and tenants are not equally many")
        if not np.isfinite(at).all():
            raise ControllerError("an arrival has no finite time")
        if any(len(some) and (some.min() < 1 or some.max() > _MOST_TOKENS) for some in sizes):
            raise ControllerError(f"prompts and outputs have 1 to {_MOST_TOKENS:,} tokens")
        order = np.argsort(at, kind="stable")
        prompts, outputs, tenants = (
            np.asarray(some)[order].astype(np.int32) for some in (*sizes, who)
        )
        nobody = np.full(len(at), NOBODY, np.int32)
        none = np.zeros(len(at), np.int32)
        return cls(at[order], prompts, outputs, tenants, nobody, none)

    @classmethod
    def of_rows(cls, rows: pl.DataFrame) -> Self:
        """Request rows of the store; the first arrival is second 0.

        Raises:
            ControllerError: a column is missing, or no row has both sizes.
        """
        absent = [name for name in _COLUMNS if name not in rows.columns]
        if absent:
            raise ControllerError(f"requests to replay need the column {absent[0]!r}")
        known = rows.filter(
            pl.col("arrived_at").is_not_null()
            & (pl.col("input_tokens") >= 1)
            & (pl.col("output_tokens") >= 1)
        ).sort("arrived_at")
        if known.is_empty():
            raise ControllerError(
                f"none of {rows.height} requests has a prompt and an output size",
                hint="replay needs both; a trace of times alone cannot be replayed",
            )
        at = known["arrived_at"].dt.epoch("us").to_numpy() / 1e6
        tenants = known["tenant"].fill_null("") if "tenant" in known.columns else None
        number = None if tenants is None else tenants.rank("dense").to_numpy() - 1
        made = cls.of(
            at - at[0],
            known["input_tokens"].to_numpy(),
            known["output_tokens"].to_numpy(),
            number,
        )
        return replace(made, left_out=rows.height - known.height)

    def faster(self, factor: float, seed: int = 0) -> Workload:
        """`factor` times as many requests in the same time: whole copies, and a thinned one.

        Copies are moved by up to a second, so that arrivals do not coincide, and share beginnings
        among themselves alone: they are other users, whose prompts no cache knows from the first.
        """
        if not factor > 0:
            raise ControllerError(f"a trace cannot be scaled by {factor}")
        random = np.random.default_rng(seed)
        whole, rest = int(factor), factor - int(factor)
        n = len(self)
        picks = [np.arange(n)] * whole + ([np.flatnonzero(random.random(n) < rest)] if rest else [])
        chosen = np.concatenate(picks) if picks else np.zeros(0, np.int64)
        moved = self.arrived[chosen] + np.where(
            np.arange(len(chosen)) < n, 0.0, random.uniform(0, 1, len(chosen))
        )
        order = np.argsort(moved, kind="stable")
        at = chosen[order]
        copy = np.repeat(np.arange(len(picks)), [len(one) for one in picks])[order]
        group = self.group[at]
        others = copy * (int(self.group.max(initial=NOBODY)) + 1)
        group = np.where(group == NOBODY, NOBODY, group + others).astype(np.int32)
        return Workload(
            np.minimum(moved[order], self.seconds + 1), self.prompt[at], self.output[at],
            self.tenant[at], group, self.shared[at], self.left_out,
        )  # fmt: skip

    def between(self, start: float, end: float) -> Workload:
        """Arrivals in [start, end), counted from `start`."""
        low, high = np.searchsorted(self.arrived, [start, end])
        cut = slice(int(low), int(high))
        return Workload(
            self.arrived[cut] - start, self.prompt[cut], self.output[cut], self.tenant[cut],
            self.group[cut], self.shared[cut], self.left_out,
        )  # fmt: skip
