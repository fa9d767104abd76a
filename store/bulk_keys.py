"""Identity and clock of freshly read rows, found in one pass over their times.

A row's key is the hash of its content. A file may hold the same content twice, and both rows are
real, so every further copy gets its number mixed in: the same file always gives the same keys.
Only rows with equal times can be copies, and in a file in time order they are neighbours: a scan
over the times tells where to look.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import duckdb
import numpy as np
from numpy.typing import NDArray

Connection = duckdb.DuckDBPyConnection

_BATCH_ROWS = 1 << 18
_MIXED_RATIO = 1000.0
_MIXED_TOLERANCE = 0.05
_MIXED_FROM_SECONDS = 60.0
_QUANTISED_RATIO = 0.5
_FEW_ROWS = 100
_TIED_SHARE_RATIO = 0.05
_KEPT_GAPS = 100_000
_KEPT_RUNS = 1_000_000
_REGULAR_RATIO = 0.9
_MINUTE_US = 60_000_000


@dataclass(slots=True)
class TimeScan:
    """What the times of the new rows look like, in file order.

    Attributes:
        rows: how many.
        first_us: smallest time in microseconds since 1970; None without rows.
        last_us: largest.
        zero_gaps: neighbours with equal times.
        backward_gaps: neighbours in the wrong order.
        step_us: greatest common step of all times; 0 while unknown.
        factor_jump_row: first row (from 1) whose time is a thousand times its neighbour's, or None.
        gaps_us: the first gaps that are above zero.
        minute_runs: minute since 1970 of each run of rows within one; few when in time order.
    """

    rows: int = 0
    first_us: int | None = None
    last_us: int | None = None
    zero_gaps: int = 0
    backward_gaps: int = 0
    step_us: int = 0
    factor_jump_row: int | None = None
    gaps_us: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    minute_runs: list[NDArray[np.int64]] = field(default_factory=list)

    @property
    def minutes_us(self) -> NDArray[np.int64] | None:
        """Minutes that hold rows, in microseconds since 1970; None when too many runs to tell."""
        if not self.minute_runs or self._run_count() > _KEPT_RUNS:
            return None
        return np.unique(np.concatenate(self.minute_runs)) * _MINUTE_US

    def note_minutes(self, minutes: NDArray[np.int64]) -> None:
        """Keep the start of each run of equal minutes, as long as there are not too many."""
        if self._run_count() <= _KEPT_RUNS:
            starts = np.flatnonzero(np.diff(minutes, prepend=minutes[0] - 1))
            self.minute_runs.append(minutes[starts])

    def _run_count(self) -> int:
        return sum(map(len, self.minute_runs))

    @property
    def span_seconds(self) -> float:
        """Time from the first to the last row."""
        if self.first_us is None or self.last_us is None:
            return 0.0
        return (self.last_us - self.first_us) / 1e6

    @property
    def resolution_seconds(self) -> float | None:
        """The step of the clock where there are enough rows to tell, else None."""
        if self.rows < _FEW_ROWS or not self.step_us:
            return None
        return max(self.step_us, self._lump_us()) / 1e6

    @property
    def is_quantised(self) -> bool:
        """Whether most neighbours share one stamp: gaps then tell the clock, not the arrivals."""
        return self.rows >= _FEW_ROWS and self.zero_gaps / (self.rows - 1) > _QUANTISED_RATIO

    def _lump_us(self) -> int:
        """Distance of the lumps of a quantised clock whose stamps have no exact common step."""
        if not self.is_quantised or not len(self.gaps_us):
            return 0
        low, middle = np.quantile(self.gaps_us, (0.1, 0.5))
        return round(middle) if low >= _REGULAR_RATIO * middle else 0

    @property
    def few_ties(self) -> bool:
        """Whether copies can only be among a few neighbouring rows."""
        return self.backward_gaps == 0 and self.zero_gaps <= self.rows * _TIED_SHARE_RATIO


def scan_times(connection: Connection, table: str, column: str) -> TimeScan:
    """Look at the times of all rows of `table` (a FROM item) in their stored order."""
    scan = TimeScan()
    reader = connection.execute(f"SELECT epoch_us({column}) AS t FROM {table}").to_arrow_reader(
        _BATCH_ROWS
    )
    previous: int | None = None
    for batch in reader:
        times = batch.column(0).to_numpy(zero_copy_only=False)
        if len(times):
            _look(scan, times, previous)
            previous = int(times[-1])
    return scan


def number_copies(connection: Connection, table: str, time: str, scan: TimeScan) -> int:
    """Give the second and further copies of a row keys of their own.

    Args:
        connection: inside the transaction that added the rows.
        table: a table name, followed by a WHERE where it holds other rows as well.
        time: the column that orders the rows.
        scan: the times of just these rows.

    Returns:
        How many rows are copies of another one.
    """
    if scan.zero_gaps == 0 and scan.backward_gaps == 0:
        return 0
    name, _, condition = table.partition(" WHERE ")
    own = f"WHERE {condition}" if condition else ""
    among = own
    if scan.few_ties:
        among = f"""JOIN (SELECT t FROM (SELECT {time} AS t, lag({time}) OVER () AS p FROM {table})
          WHERE t = p GROUP BY t) AS tied ON {time} = tied.t {own}"""
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE bulk_copied AS
        SELECT {time} AS t, request_key FROM {name} {among}
        GROUP BY ALL HAVING count(*) > 1"""
    )
    (copies,) = connection.execute(
        f"""UPDATE {name} SET request_key = hash(c.old_key, c.copy)
        FROM (SELECT {name}.rowid AS row, request_key AS old_key,
                row_number() OVER (PARTITION BY {time}, request_key ORDER BY {name}.rowid) AS copy
              FROM {name} SEMI JOIN bulk_copied USING (request_key) {own}) AS c
        WHERE {name}.rowid = c.row AND c.copy > 1"""
    ).fetchall()[0]
    connection.execute("DROP TABLE bulk_copied")
    return int(copies)


def _look(scan: TimeScan, times: NDArray[np.int64], previous: int | None) -> None:
    low, high = int(times.min()), int(times.max())
    scan.first_us = low if scan.first_us is None else min(scan.first_us, low)
    scan.last_us = high if scan.last_us is None else max(scan.last_us, high)
    scan.note_minutes(times // _MINUTE_US)
    if scan.step_us != 1:
        # Fractions of a second and whole seconds alike: the step of the stamps themselves.
        scan.step_us = math.gcd(scan.step_us, int(np.gcd.reduce(times)))
    joined = times if previous is None else np.concatenate(([previous], times))
    gaps = np.diff(joined)
    scan.zero_gaps += int(np.count_nonzero(gaps == 0))
    if len(scan.gaps_us) < _KEPT_GAPS:
        above = gaps[gaps > 0][: _KEPT_GAPS - len(scan.gaps_us)]
        scan.gaps_us = np.concatenate((scan.gaps_us, above))
    scan.backward_gaps += int(np.count_nonzero(gaps < 0))
    if scan.factor_jump_row is None:
        scan.factor_jump_row = _factor_jump(joined, gaps, scan.rows + (previous is None))
    scan.rows += len(times)


def _factor_jump(times: NDArray[np.int64], gaps: NDArray[np.int64], row: int) -> int | None:
    """Where a relative time is a thousand times its neighbour's: two units in one column."""
    floor_us = _MIXED_FROM_SECONDS * 1e6
    candidates = np.flatnonzero(np.abs(gaps) > floor_us * _MIXED_RATIO * 0.9)
    for at in candidates.tolist():
        low, high = sorted((int(times[at]), int(times[at + 1])))
        if low >= floor_us and abs(high / low / _MIXED_RATIO - 1) < _MIXED_TOLERANCE:
            return row + at + 1
    return None
