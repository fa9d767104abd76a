"""What one request of remote-write brings, and what of it is not taken; no store, no socket."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from collector.drops import Drops
from collector.remote_write.body import TooLarge
from collector.remote_write.decode import Columns, Decoder
from collector.remote_write.pages import Page, Pages
from collector.remote_write.series import BAD, KEPT, LEFT_OUT, SeriesTable

DOOR = "remote_write"
MOST_PAGES = 100_000
"""Moments of targets that one body may tell of; senders send a few thousand samples at once."""
YEAR_2000_MS = 946_684_800_000
AHEAD_MS = 3_600_000
TOO_OLD = "its time lies before the year 2000"
TOO_NEW = "its time lies more than an hour ahead of this server's clock"
NATIVE = "native histograms are not taken here; send classic ones"
EXEMPLARS = "exemplars are not kept"
LOST = "the other parts of its page never came, so what they make up is left out"
UNUSABLE = "values outside the range of their signal and histograms without a count"


@dataclass(slots=True)
class Taken:
    """What became of one request.

    Attributes:
        sample_count: samples taken: those that are kept, and those of families that nobody reads.
        refused: why -> samples that are invalid; the rest of the request is taken all the same.
        histogram_count: native histograms, none of which is taken.
        pages: pages that got something.
    """

    sample_count: int
    refused: dict[str, int]
    histogram_count: int
    pages: list[Page]


@dataclass(slots=True)
class Door:
    """Takes bodies, gives pages. Not for several threads at once.

    Attributes:
        drops: where everything left out is counted.
        pages: what waits for its other parts.
        table: every series seen.
    """

    drops: Drops
    table: SeriesTable = field(default_factory=SeriesTable)
    pages: Pages = field(init=False)
    decoder: Decoder = field(init=False)

    def __post_init__(self) -> None:
        """Put the parts together over one table."""
        self.pages = Pages(self.table)
        self.decoder = Decoder(self.table)

    def take(self, body: bytes, message: str, now_ms: int, now: float) -> Taken:
        """Decode one body and put its samples onto their pages.

        Args:
            body: unpacked.
            message: `decode.V1` or `decode.V2`.
            now_ms: the time of day, milliseconds since 1970.
            now: monotonic seconds.

        Raises:
            BadBody: it is no such message; nothing of it was taken.
            TooLarge: it tells of too many moments; nothing of it was taken.
        """
        columns = self.decoder.decode(body, message)
        self._bound(columns)
        refused = self._refused(columns, now_ms)
        fates = self.table.fate[columns.numbers]
        good = np.ones(len(fates), np.bool_) & (fates < BAD)
        good &= (columns.at_ms >= YEAR_2000_MS) & (columns.at_ms <= now_ms + AHEAD_MS)
        self._count_left_out(columns.numbers[good], fates[good])
        self.drops.add(DOOR, NATIVE, columns.histogram_count)
        self.drops.add(DOOR, EXEMPLARS, columns.exemplar_count)
        used = good & (fates == KEPT)
        kept = Columns(columns.numbers[used], columns.values[used], columns.at_ms[used])
        pages = self.pages.add(kept, now)
        return Taken(int(good.sum()), refused, columns.histogram_count, pages)

    def _bound(self, columns: Columns) -> None:
        if len(columns.numbers) <= MOST_PAGES:
            return
        moments = np.stack([self.table.target[columns.numbers], columns.at_ms])
        if np.unique(moments, axis=1).shape[1] > MOST_PAGES:
            raise TooLarge(
                f"the body tells of more than {MOST_PAGES:,} different times of targets;"
                " send fewer samples at once (max_samples_per_send)"
            )

    def _refused(self, columns: Columns, now_ms: int) -> dict[str, int]:
        """Invalid samples by reason; they are counted as drops as well."""
        fates = self.table.fate[columns.numbers]
        refused: Counter[str] = Counter()
        for number in columns.numbers[fates >= BAD].tolist():
            refused[self.table.fault_of[number]] += 1
        sound = fates < BAD
        refused[TOO_OLD] += int((sound & (columns.at_ms < YEAR_2000_MS)).sum())
        refused[TOO_NEW] += int((sound & (columns.at_ms > now_ms + AHEAD_MS)).sum())
        for reason, count in refused.items():
            self.drops.add(DOOR, reason, count)
        return {reason: count for reason, count in refused.items() if count}

    def _count_left_out(self, numbers: npt.NDArray[np.int64], fates: npt.NDArray[np.int8]) -> None:
        counts = np.bincount(fates, minlength=BAD)
        for fate, reason in LEFT_OUT.items():
            if counts[fate]:
                first = int(numbers[np.argmax(fates == fate)])
                example = self.table.example_of.get(first, "")
                self.drops.add(DOOR, reason, int(counts[fate]), example)


def describe(refused: dict[str, int]) -> str:
    """Why samples were refused, one line."""
    return "; ".join(f"{count:,} x {reason}" for reason, count in refused.items())
