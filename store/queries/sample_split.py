"""Which part of a range of samples is read from roll-ups, and which from the samples themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from store.reader import Snapshot
from store.rolled_buckets import BUCKET, floor

Use = Literal["auto", "raw", "rollup"]
Span = tuple[datetime, datetime]
MOST_RAW_PIECES = 24
"""With more separate dirty stretches than this, one pass over the samples is cheaper."""
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Split:
    """Stretches of a range; naive UTC, half open, in order, none overlapping.

    Attributes:
        rolled: read from roll-ups.
        raw: read from the samples.
    """

    rolled: tuple[Span, ...]
    raw: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Bins:
    """Bins of one width that reach back from an anchor (naive UTC)."""

    anchor: datetime
    width: timedelta

    @property
    def are_buckets(self) -> bool:
        """Whether each bin is one bucket."""
        return self.width == BUCKET and floor(self.anchor) == self.anchor

    def whole_buckets(self, start: datetime, end: datetime) -> bool:
        """Whether every edge of a bin inside the range is one of a bucket."""
        if not self.width % BUCKET and floor(self.anchor) == self.anchor:
            return True
        return self._bin(start) == self._bin(end - _MICROSECOND)

    def _bin(self, at: datetime) -> int:
        return (self.anchor - at - _MICROSECOND) // self.width


def split(
    snapshot: Snapshot,
    start: datetime,
    end: datetime,
    raw_parts: Iterable[Span] = (),
    *,
    use: Use = "auto",
) -> Split:
    """Decide what is read from where, over one state of the store.

    Args:
        snapshot: the store.
        start: naive UTC.
        end: naive UTC, exclusive.
        raw_parts: stretches that roll-ups do not answer, if samples are there to answer them; the
            buckets that their ends cut in two are raw too. One without length does just that.
        use: "raw" reads samples as far as there are any; "rollup" and "auto" are the same here.
    """
    state = snapshot.frame("SELECT rolled_until, raw_since FROM rollup_sample_state").rows()
    if not state or start >= end:
        return Split((), ((start, end),))
    rolled_until, raw_since = state[0]
    dirty = snapshot.frame(
        """SELECT bucket_at FROM rollup_sample_dirty
        WHERE bucket_at >= $low AND bucket_at < $high""",
        low=floor(start),
        high=end,
    )["bucket_at"].to_list()
    edges = [(floor(at), at) for at in (start, end) if floor(at) != at]
    holes = [
        *((low, low + BUCKET) for low, _ in edges),
        *((at, at + BUCKET) for at in dirty),
        *((floor(low), _ceil(high)) for low, high in raw_parts),
        (rolled_until, end),
    ]
    raw = _merged(clipped(holes, start, end))
    if use == "raw" or len(raw) > MOST_RAW_PIECES:
        raw = ((start, end),)
    if raw_since is not None:
        raw = tuple(clipped(raw, raw_since, end))
    return Split(_between(raw, start, end), raw)


def clipped(spans: Iterable[Span], start: datetime, end: datetime) -> list[Span]:
    """The parts of stretches that lie in [start, end)."""
    cut = [(max(low, start), min(high, end)) for low, high in spans]
    return [(low, high) for low, high in cut if low < high]


def _merged(holes: Sequence[Span]) -> tuple[Span, ...]:
    """Neighbouring stretches as one."""
    merged: list[Span] = []
    for low, high in sorted(holes):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def _between(raw: Sequence[Span], start: datetime, end: datetime) -> tuple[Span, ...]:
    """What the raw stretches leave of the range."""
    edges = [start, *(edge for span in raw for edge in span), end]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return tuple((low, high) for low, high in pairs if low < high)


def _ceil(at: datetime) -> datetime:
    return floor(at + BUCKET - _MICROSECOND)
