"""How many requests were in the same engine as each was admitted, and how fast it decoded."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from store.queries.log_bins import BINS_PER_OCTAVE, SMALLEST_SECONDS

# Each number of requests up to 8, then four steps to the octave.
CROWD_EDGES = np.array(
    [*range(1, 8), *(step * 2.0**k for k in range(3, 20) for step in (1.0, 1.25, 1.5, 1.75))]
)
Whole = npt.NDArray[np.int64]


def by_concurrency(rows: pl.DataFrame) -> pl.DataFrame:
    """low, high, log_bin, requests, total (sum of the crowds): TPOT by crowd at admission.

    Args:
        rows: as of `store.queries.anatomy.occupancy`.
    """
    if rows.is_empty():
        return pl.DataFrame()
    # One instance after the other: what is nearly in order is sorted much quicker.
    order = rows["place"].to_numpy().astype(np.uint16).argsort(kind="stable")
    place, entered, left, tpot = (
        rows[name].to_numpy()[order] for name in ("place", "entered_us", "left_us", "tpot_seconds")
    )
    crowd = concurrency(place, entered, left)
    crowd, tpot = crowd[tpot >= 0], tpot[tpot >= 0]
    if not len(crowd):
        return pl.DataFrame()
    cell_of = np.searchsorted(CROWD_EDGES, np.arange(crowd.max() + 1), side="right") - 1
    log_bin = np.floor(np.log2(np.maximum(tpot, SMALLEST_SECONDS)) * BINS_PER_OCTAVE).astype(int)
    lowest = log_bin.min()
    bins = int(log_bin.max() - lowest) + 1
    number = cell_of[crowd] * bins + (log_bin - lowest)
    requests, total = np.bincount(number), np.bincount(number, weights=crowd)
    held = requests.nonzero()[0]
    return pl.DataFrame(
        {
            "low": CROWD_EDGES[held // bins],
            "high": CROWD_EDGES[held // bins + 1],
            "log_bin": (held % bins + lowest).astype(np.int32),
            "requests": requests[held].astype(np.int64),
            "total": total[held],
        }
    )


def concurrency(place: Whole, entered: Whole, left: Whole) -> Whole:
    """How many requests of one instance were in it as each was admitted, itself included.

    Args:
        place: number of the instance, >= 0.
        entered: when each entered.
        left: when each left, on the same clock; not before it entered.
    """
    first, last = entered.min(), entered.max()
    # Each instance has a stretch of one line for itself: of those before it as many left as came.
    stretch = last - first + 2
    begins = place.astype(np.int64) * stretch
    at = begins + (entered - first) + 1
    begun = np.searchsorted(np.sort(at, kind="stable"), at, side="right")
    gone = begins + np.clip(left - first + 1, 0, stretch)
    over = np.searchsorted(np.sort(gone, kind="stable"), at, side="right")
    # One that left at the very moment it entered is not in its own count of departures.
    found: Whole = np.maximum(begun - over, 1).astype(np.int64)
    return found
