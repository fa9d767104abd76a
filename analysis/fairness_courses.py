"""What tenants asked for, got and waited for over time, as courses that are exact at every edge."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from store.queries.fairness import flows
from store.queries.scope import Scope
from store.queries.token_cost import Cost
from store.queries.workload import FrameReader

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

MOST_CELLS = 100_000
"""Tenants times bins: more would be neither drawn nor quick."""
MOST_BINS = 3_000
FEWEST_BINS = 300
_PARTS_OF_WINDOW = (60, 30, 20, 12, 10, 6, 5, 4, 3, 2, 1)
_CRUMB_TOKENS = 1e-4
"""Sums of rates leave crumbs of rounding: less in a bin is no service."""
_SUMS = ("asked", "refused", "rate", "rising", "waiting", "running")


@dataclass(frozen=True, slots=True)
class Courses:
    """Courses of tenants over the edges of bins; shape (tenants, edges), service in tokens.

    Attributes:
        tenants: their names; where there are too many, "others" stand apart in `others`.
        width_seconds: between edges.
        window_bins: bins of a window.
        service: given since the range began.
        asked: asked for until then, with what was left of before; refused requests apart.
        refused: asked for by requests that were refused.
        waiting: requests that wait.
        others: service of all other tenants together, (edges,).
        running: requests of anybody that came and have not ended, (edges,).
    """

    tenants: tuple[str, ...]
    width_seconds: float
    window_bins: int
    service: Floats
    asked: Floats
    refused: Floats
    waiting: Floats
    others: Floats
    running: Floats

    @property
    def edges(self) -> int:
        """Number of edges: one more than bins."""
        return int(self.others.size)

    @property
    def window_seconds(self) -> float:
        """Length of a window."""
        return self.width_seconds * self.window_bins

    @property
    def backlogged(self) -> Bools:
        """Who has a request waiting, (tenants, edges)."""
        found: Bools = self.waiting > 0
        return found

    def given(self, bins: int, starts: slice = slice(None)) -> Floats:
        """Service in stretches of so many bins, one from each edge, (tenants, stretches)."""
        return _rises(self.service, bins)[:, starts]


def _rises(course: Floats, bins: int) -> Floats:
    found: Floats = course[..., bins:] - course[..., :-bins]
    return found


def grid(seconds: float, window_seconds: float, tenants: int) -> tuple[float, int]:
    """Width of bins and bins of a window: as fine as the limits allow, always whole windows.

    Args:
        seconds: length of the range, > 0.
        window_seconds: wanted length of a window, > 0; a third of the range at most, and more where
            the range is so long that there would be too many bins.
        tenants: how many are told apart.
    """
    most = min(MOST_BINS, max(FEWEST_BINS, MOST_CELLS // max(tenants, 1)))
    window = min(window_seconds, seconds / 3)
    parts = next((n for n in _PARTS_OF_WINDOW if seconds * n / window <= most), 0)
    if parts:
        return window / parts, parts
    return window * math.ceil(seconds / window / most), 1


def load(
    reader: FrameReader, scope: Scope, cost: Cost, names: Sequence[str], window_seconds: float
) -> Courses:
    """The courses of a scope.

    Args:
        reader: the store.
        scope: range and labels.
        cost: service of a token.
        names: the tenants that are told apart.
        window_seconds: of the windows that measures look at.
    """
    width, parts = grid(scope.seconds, window_seconds, len(names))
    rows = flows(reader, scope, cost, list(names), width)
    return of_flows(rows, names, scope.seconds, width, parts)


def of_flows(
    rows: pl.DataFrame, names: Sequence[str], seconds: float, width: float, window_bins: int
) -> Courses:
    """Courses from sums by tenant and bin.

    Args:
        rows: as `store.queries.fairness.flows` gives.
        names: the tenants, by slot.
        seconds: length of the range.
        width: of the bins, seconds.
        window_bins: of a window.
    """
    # What lies behind the last whole bin is left out: of a part of a bin nothing would be exact.
    bins = max(int(seconds / width + 1e-9), 1)
    sums = _spread(rows, len(names) + 2, bins, width)
    rates = np.cumsum(sums["rate"], axis=1)
    rising = np.zeros_like(rates)
    rising[:, 1:] = rates[:, :-1] * width + sums["rising"][:, 1:]
    service = np.cumsum(np.where(rising > _CRUMB_TOKENS, rising, 0.0), axis=1)
    asked, refused = np.cumsum(sums["asked"], axis=1), np.cumsum(sums["refused"], axis=1)
    waiting = np.cumsum(sums["waiting"], axis=1)
    own = slice(0, len(names))
    return Courses(
        tuple(names), width, min(window_bins, bins), service[own], asked[own], refused[own],
        waiting[own], service[-2], np.cumsum(sums["running"], axis=1).sum(axis=0),
    )  # fmt: skip


def _spread(rows: pl.DataFrame, slots: int, bins: int, width: float) -> Mapping[str, Floats]:
    """Sums as arrays (slots, bins + 1); place 0 holds what was before the range.

    The last two slots are all others, and those of no tenant.
    """
    kept = rows.filter(pl.col("bin") < bins)
    # The slot of no tenant is -1, which is the last one here, too.
    slot = kept["slot"].fill_null(slots - 2).to_numpy().astype(np.int64) % slots
    number = kept["bin"].to_numpy().astype(np.int64)
    place = slot * (bins + 1) + np.maximum(number + 1, 0)
    values = {name: kept[name].cast(pl.Float64).to_numpy() for name in _SUMS}
    before = number < 0
    # Of what was asked for before the range, what was served before it is taken off.
    served = values["rising"] - values["rate"] * (number + 1) * width
    values["asked"] = np.where(before, values["asked"] - served, values["asked"])
    values["refused"] = np.where(before, 0.0, values["refused"])
    found: dict[str, Floats] = {}
    for name, each in values.items():
        made = np.bincount(place, each, slots * (bins + 1)).astype(np.float64)
        found[name] = made.reshape(slots, bins + 1)
    found["asked"][:, 0] = np.maximum(found["asked"][:, 0], 0.0)
    return found
