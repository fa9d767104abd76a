"""How samples and histograms enter the store: which series they belong to, and each of them once.

One writer asks for the same series every five seconds, so it remembers their numbers and the newest
point of each. A batch of newer points, which is nearly every batch, then needs no look into the
store; everything else (a resend, a late point, a series met for the first time) is looked up.

A label that holds ids or times makes a new series of every value. What a target may add in an hour
is bounded, so that one exporter does not fill the disk of all.

A point that lies before what is rolled up already makes its bucket dirty (`store.sample_rollup`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import duckdb
import polars as pl
import pyarrow as pa

from store.drops import count as count_drops
from store.once import add_new
from store.rolled_buckets import BUCKET_SECONDS

Connection = duckdb.DuckDBPyConnection
_Key = tuple[int, str, str, str]  # target, signal, kind, labels

MOST_SERIES = 500_000
MOST_NEW_SERIES = 50_000
"""New series of one target within an hour."""
MOST_LABEL_BYTES = 4_096
REFUSED_SERIES = (
    f"point of a new series: more than {MOST_NEW_SERIES:,} new ones of its target within an hour,"
    f" or labels above {MOST_LABEL_BYTES:,} bytes"
)
_REFUSED = -1
_HOUR_US = 3_600_000_000
_FOREVER = 2**62
_NEVER = -(2**62)
_BUCKET_US = BUCKET_SECONDS * 1_000_000
_HISTOGRAM = ("observation_count", "observation_sum", "edges", "cumulative_counts")
_COLUMNS = {"sample": ("value",), "histogram_sample": _HISTOGRAM}


class PointAppender:
    """Appends points through one connection, and remembers its series.

    What it remembers holds for committed work only: after a rollback take a new one.

    Args:
        shared: whether other servers append as well; then every point is looked up.
    """

    def __init__(self, *, shared: bool = False) -> None:
        self._shared = shared
        self.forget_series()
        self._new: dict[int, tuple[int, int]] = {}  # target -> hour, new series in it
        self._rolled_until: int | None = None  # None: not known

    def forget_series(self) -> None:
        """Look up every series again; `memory` is another object from now on."""
        self.memory = object()
        self._ids: dict[_Key, int] = {}
        # No point of a refused series is ever newer than what is there.
        self._newest: dict[int, int] = {_REFUSED: _FOREVER}

    def known_series(self) -> list[int]:
        """The series that were told since the memory was empty."""
        return list(self._ids.values())

    def forget_rolled(self) -> None:
        """Something else was done with the connection: more may be rolled up than remembered."""
        self._rolled_until = None

    def samples(self, connection: Connection, frames: Sequence[pl.DataFrame]) -> list[int]:
        """Gauge and counter points of several batches; rows added by each."""
        return self._append(connection, "sample", frames)

    def histograms(self, connection: Connection, frames: Sequence[pl.DataFrame]) -> list[int]:
        """Cumulative histogram points of several batches; rows added by each."""
        named = [frame.with_columns(kind=pl.lit("histogram")) for frame in frames]
        return self._append(connection, "histogram_sample", named)

    def _append(
        self, connection: Connection, table: str, frames: Sequence[pl.DataFrame]
    ) -> list[int]:
        rows = pl.concat(frames) if len(frames) > 1 else frames[0]
        if not rows.height:
            return [0] * len(frames)
        times: list[int] = rows["sampled_at"].to_physical().to_list()
        ids = self._series(connection, rows, max(times) // _HOUR_US)
        fresh, doubtful = self._sorted_out(ids, times)
        if doubtful and _REFUSED in ids:
            _count_refused(connection, rows.filter(pl.Series(ids) == _REFUSED))
            doubtful = [place for place in doubtful if ids[place] != _REFUSED]
        points = rows.select("sampled_at", *_COLUMNS[table]).with_columns(
            series_id=pl.Series(ids, dtype=pl.Int32)
        )
        if doubtful:
            fresh += self._not_there(connection, table, points, doubtful)
            fresh.sort()
        if len(fresh) < points.height:
            points = points[fresh]
        _insert(connection, table, points.to_arrow())
        self.mark_late(connection, [times[place] for place in fresh])
        for place in fresh:
            self._newest[ids[place]] = max(self._newest[ids[place]], times[place])
        return _counted(fresh, [frame.height for frame in frames])

    def _sorted_out(self, ids: Sequence[int], times: Sequence[int]) -> tuple[list[int], list[int]]:
        """Places of points that are newer than all of their series, and of the others."""
        if self._shared:
            return [], list(range(len(ids)))
        newest = self._newest
        within: dict[int, int] = {}
        fresh, doubtful = [], []
        for place, (series_id, at) in enumerate(zip(ids, times, strict=True)):
            last = within.get(series_id)
            if at > (newest[series_id] if last is None else last):
                within[series_id] = at
                fresh.append(place)
            else:
                doubtful.append(place)
        return fresh, doubtful

    def _not_there(
        self, connection: Connection, table: str, points: pl.DataFrame, places: list[int]
    ) -> list[int]:
        """Those of `places` whose point is neither in the table nor earlier in the batch."""
        asked = points.with_row_index("place").select("place", "series_id", "sampled_at")
        connection.register("asked_point", asked.to_arrow())
        low, high = points["sampled_at"].min(), points["sampled_at"].max()
        found = connection.execute(
            f"""SELECT place FROM asked_point AS p SEMI JOIN {table} AS t
            ON t.series_id = p.series_id AND t.sampled_at = p.sampled_at
              AND t.sampled_at BETWEEN $low AND $high""",
            {"low": low, "high": high},
        ).fetchall()
        connection.unregister("asked_point")
        known = {place for (place,) in found}
        first = asked.unique(["series_id", "sampled_at"], keep="first", maintain_order=True)
        once = set(first["place"].to_list())
        # A point that is fresh as well keeps its place; the same one told again is left out.
        return [place for place in places if place in once and place not in known]

    def mark_late(self, connection: Connection, times: Sequence[int]) -> None:
        """Note the buckets of what was added that are rolled up already: they need it again.

        Args:
            connection: the writer's.
            times: microseconds since 1970-01-01.
        """
        if self._rolled_until is None:
            found = connection.execute("SELECT epoch_us(rolled_until) FROM rollup_sample_state")
            row = found.fetchone()
            self._rolled_until = int(row[0]) if row else _NEVER
        if not times or min(times) >= self._rolled_until:
            return
        late = {at - at % _BUCKET_US for at in times if at < self._rolled_until}
        buckets = "SELECT make_timestamp(unnest($late::BIGINT[])) AS bucket_at"
        add_new(connection, "rollup_sample_dirty", ("bucket_at",), buckets, {"late": sorted(late)})

    def _series(self, connection: Connection, rows: pl.DataFrame, hour: int) -> list[int]:
        """The number of each row's series; series met for the first time get one, or none."""
        names = ("target_id", "signal", "kind", "labels")
        keys = list(zip(*(rows[name].to_list() for name in names), strict=True))
        missing = {key for key in keys if key not in self._ids}
        if len(self._ids) + len(missing) > MOST_SERIES:
            self.forget_series()
            missing = set(keys)
        if not missing:
            return [self._ids[key] for key in keys]
        self._learn(connection, rows, hour)
        return [self._ids.get(key, _REFUSED) for key in keys]

    def _learn(self, connection: Connection, rows: pl.DataFrame, hour: int) -> None:
        wanted = rows.select("target_id", "signal", "kind", "unit", "labels").unique()
        # A series of before has no point newer than the newest of all; a new one has none at all.
        self._remember(connection, wanted, _newest_of_all(connection), adding=False)
        known = [key in self._ids for key in wanted.drop("unit").iter_rows()]
        new = self._admitted(wanted.filter(~pl.Series(known, dtype=pl.Boolean)), hour)
        if new.height:
            self._remember(connection, new, _NEVER, adding=True)

    def _remember(
        self, connection: Connection, wanted: pl.DataFrame, newest: int, *, adding: bool
    ) -> None:
        connection.register("incoming_series", wanted.to_arrow())
        if adding:
            connection.execute(_ADD_SERIES)
        found = connection.execute(_FIND_SERIES).fetchall()
        connection.unregister("incoming_series")
        for number, *key in found:
            self._ids[key[0], key[1], key[2], key[3]] = number
            self._newest.setdefault(number, newest)

    def _admitted(self, new: pl.DataFrame, hour: int) -> pl.DataFrame:
        """Those of the new series that their targets may still have in this hour."""
        taken = [new.clear()]
        fitting = new.filter(pl.col("labels").str.len_bytes() <= MOST_LABEL_BYTES)
        for (target,), series in fitting.group_by("target_id", maintain_order=True):
            since, used = self._new.get(target, (hour, 0))
            if since < hour:
                since, used = hour, 0
            taken.append(series.head(MOST_NEW_SERIES - used))
            self._new[target] = (since, used + taken[-1].height)
        return pl.concat(taken)


def _count_refused(connection: Connection, rows: pl.DataFrame) -> None:
    """Note in the table of drops how many points were left out, by the first of their targets."""
    target, signal, labels = rows.select("target_id", "signal", "labels").row(0)
    found = connection.execute("SELECT url FROM target WHERE target_id = $1", [target]).fetchall()
    url = found[0][0] if found else f"target {target}"
    example = f"{url}: {signal} {labels[:120]}"
    at = rows["sampled_at"].max()
    assert isinstance(at, datetime)  # noqa: S101 - for the type checker
    count_drops(connection, [("store", REFUSED_SERIES, rows.height, example)], at)


def _newest_of_all(connection: Connection) -> int:
    found = connection.execute(
        """SELECT coalesce(max(epoch_us(newest_at)), $never) FROM (
          SELECT max(sampled_at) AS newest_at FROM sample
          UNION ALL SELECT max(sampled_at) FROM histogram_sample)""",
        {"never": _NEVER},
    ).fetchall()
    return int(found[0][0])


def _insert(connection: Connection, table: str, points: pa.Table) -> None:
    if points.num_rows:
        connection.register("incoming_point", points)
        connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming_point")
        connection.unregister("incoming_point")


def _counted(places: Sequence[int], heights: Sequence[int]) -> list[int]:
    """How many of `places` lie in each of the batches that stand one behind the other."""
    if len(places) == sum(heights):
        return list(heights)
    counts, start = [], 0
    for height in heights:
        counts.append(sum(start <= place < start + height for place in places))
        start += height
    return counts


_ADD_SERIES = """
INSERT INTO series
SELECT (SELECT coalesce(max(series_id), 0) FROM series) + row_number() OVER (),
       target_id, signal, kind, unit, labels::JSON
FROM (SELECT target_id, signal, kind, labels, any_value(unit) AS unit FROM incoming_series GROUP BY ALL) AS i
WHERE NOT EXISTS (SELECT 1 FROM series AS s WHERE s.target_id = i.target_id AND s.signal = i.signal
  AND s.kind = i.kind AND s.labels = i.labels::JSON)
"""  # noqa: E501 - one expression
_FIND_SERIES = """
SELECT s.series_id, i.target_id, i.signal, i.kind, i.labels
FROM incoming_series AS i
JOIN series AS s ON s.target_id = i.target_id AND s.signal = i.signal AND s.kind = i.kind
  AND s.labels = i.labels::JSON
"""
