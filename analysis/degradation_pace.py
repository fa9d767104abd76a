"""How slow each instance is beside its own past at equal load, and beside its peers.

Pace is seconds of decoding per token written, over the requests that decode (where an engine does
not add that up: running requests x seconds ÷ tokens). Expected is the median pace of the same
instance at about as many requests (an octave), over what was read and was not slowed itself. The
slowdown is pace ÷ expected: 1.4 means that a token takes 40 % longer than it used to at this load.
It compares; it does not say why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.host_signals import DECODING, WRITTEN
from analysis.root_cause.table import Floats

RUNNING = "self.requests_running"
# With fewer bins at a load nothing is expected of it.
LEAST_AT_LOAD = 8
# What is expected is first guessed from the better part, then from all that is not slowed by it.
_BETTER_PART = 0.3
_NOT_SLOWED = 1.25
_USUAL_SPREAD = 1.4826


@dataclass(frozen=True)
class Course:
    """What one instance did, bin by bin, the oldest first; NaN where it wrote nothing.

    Attributes:
        pace: seconds of decoding per token.
        load: requests decoding at once.
        slowdown: pace over what is expected at that load; NaN also where nothing is expected.
        spread: robust deviation of ln(slowdown) where it was not slowed.
        expected_bins: bins that the expectation of the newest known load rests on.
    """

    pace: Floats
    load: Floats
    slowdown: Floats
    spread: float
    expected_bins: int


def course(table: Mapping[str, Floats], bins: int) -> Course | None:
    """The course of an instance from its signals by name; None when it tells no pace."""
    unknown = np.full(bins, np.nan)
    written, decoding, running = (table.get(name, unknown) for name in (WRITTEN, DECODING, RUNNING))
    load = np.where(np.isfinite(decoding), decoding, np.where(running >= 1, running, np.nan))
    if not (np.isfinite(load).any() and np.isfinite(written).any()):
        return None
    busy = (load > 0) & (written > 0)
    pace = np.divide(load, written, out=unknown.copy(), where=busy)
    level = np.full(bins, np.nan)
    level[busy] = np.floor(np.log2(np.maximum(load[busy], 1.0)))
    slowdown, counts = _slowdown(pace, level)
    newest = level[np.isfinite(level)]
    at_newest = counts.get(float(newest[-1]), 0) if len(newest) else 0
    return Course(pace, load, slowdown, _spread(slowdown), at_newest)


def of_pace(pace: Floats) -> tuple[Floats, float]:
    """Slowdown and its healthy spread, of a pace under one load."""
    slowdown, _ = _slowdown(pace, np.where(np.isfinite(pace), 0.0, np.nan))
    return slowdown, _spread(slowdown)


def _spread(slowdown: Floats) -> float:
    """Robust deviation of ln(slowdown) where it was not slowed."""
    usual = np.log(slowdown[np.isfinite(slowdown) & (slowdown < _NOT_SLOWED)])
    return float(_USUAL_SPREAD * np.median(np.abs(usual))) if len(usual) else float("nan")


def _slowdown(pace: Floats, level: Floats) -> tuple[Floats, dict[float, int]]:
    made, counts = np.full(len(pace), np.nan), {}
    for one in np.unique(level[np.isfinite(level)]).tolist():
        here = level == one
        counts[one] = int(here.sum())
        if counts[one] < LEAST_AT_LOAD:
            continue
        first = pace[here] / np.quantile(pace[here], _BETTER_PART)
        healthy = pace[here][first < _NOT_SLOWED]
        made[here] = pace[here] / np.median(healthy)
    return made, counts


def beside_peers(mine: Course, peers: Sequence[Course], part: slice) -> float | None:
    """Median pace over that of peers at the same load in the same bins; None where none was there.

    Args:
        mine: whose.
        peers: of the same model.
        part: bins that are compared.
    """
    ratios = []
    level = np.floor(np.log2(np.fmax(mine.load[part], 1.0)))
    for peer in peers:
        other = np.floor(np.log2(np.fmax(peer.load[part], 1.0)))
        both = (level == other) & np.isfinite(mine.pace[part]) & np.isfinite(peer.pace[part])
        ratios += (mine.pace[part][both] / peer.pace[part][both]).tolist()
    return float(np.median(ratios)) if len(ratios) >= LEAST_AT_LOAD else None


def tables(told: pl.DataFrame, bins: int) -> dict[int, dict[str, Floats]]:
    """Signals by target and name: (bins,) values, the oldest bin first; NaN where untold."""
    made: dict[int, dict[str, Floats]] = {}
    mean = told.filter(pl.col("bin") < bins).group_by("target_id", "name", "bin").agg(
        pl.col("value").mean()
    )  # fmt: skip
    for (target, name), part in mean.group_by("target_id", "name"):
        values = np.full(bins, np.nan)
        values[bins - 1 - part["bin"].to_numpy()] = part["value"].to_numpy()
        made.setdefault(int(str(target)), {})[str(name)] = values
    return made
