"""Which stretches of a range are read from `rollup_slo`, and which from raw rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from store.queries.rollup import MOST_RAW_PIECES
from store.queries.rollup_sql import ids_sql
from store.queries.scope import Scope
from store.queries.slo import GoodRule, naive_utc, scope_labels
from store.reader import Snapshot
from store.rollup import ARRIVAL, BUCKET_SECONDS
from store.slo_rollup import rule_key

RAW_RECENT = timedelta(hours=6)
ROLLED_FROM = timedelta(days=1)
_BUCKET = timedelta(seconds=BUCKET_SECONDS)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - as the store keeps it


@dataclass(frozen=True, slots=True)
class Plan:
    """Which stretches are read from where; naive UTC, half open.

    Attributes:
        rolled: from the roll-up.
        raw: from the request rows.
    """

    rolled: tuple[tuple[datetime, datetime], ...]
    raw: tuple[tuple[datetime, datetime], ...]


@dataclass(frozen=True, slots=True)
class Stretch:
    """From where somebody counts, and what must be exact there; all end together.

    Attributes:
        start: aware, inclusive.
        edges: starts of windows (aware) that must be exact wherever they lie.
        raw_since: from here on (aware) everything is exact to the bin.
        recent: the last so long is exact in any case.
    """

    start: datetime
    edges: tuple[datetime, ...] = ()
    raw_since: datetime | None = None
    recent: timedelta = RAW_RECENT


@dataclass(frozen=True, slots=True)
class Plans:
    """What is read so that every stretch can be counted, over one state of the store.

    Attributes:
        read: what one stretch has raw is raw here.
        alone: the plan of each stretch by itself.
        late: places of the rules for which the job has not counted nearly everything yet, so that
            all is read from the rows.
    """

    read: Plan
    alone: Sequence[Plan]
    late: frozenset[int] = frozenset()


def plans_for(
    snapshot: Snapshot,
    scope: Scope,
    rules: Sequence[GoodRule],
    stretches: Sequence[Stretch],
    end: datetime,
) -> Plans:
    """Decide what is read from where; the store is looked at once."""
    last = naive_utc(end)
    around = Stretch(
        min(one.start for one in stretches),
        tuple(edge for one in stretches for edge in (one.start, *one.edges)),
        min(_raw_from(one, last) for one in stretches),
        timedelta(0),
    )
    low, high = _bounds(around, last)
    everything = _everything(around, last)
    if low >= high or len(scope_labels(scope)) > 1 or not scope.source_ids:
        return Plans(everything, [_everything(one, last) for one in stretches])
    high = max(_bounds(one, last)[1] for one in stretches)
    unready = _unready(snapshot, scope, rules, low, high)
    alone = [_plan(one, last, unready) for one in stretches]
    long = [plan for one, plan in zip(stretches, alone, strict=True) if _is_long(one, last)]
    if all(plan.rolled for plan in long):
        return Plans(_plan(around, last, unready), alone)
    return Plans(everything, alone, _late(snapshot, scope, rules, low, high))


def _plan(stretch: Stretch, last: datetime, unready: Sequence[datetime]) -> Plan:
    """Decide what is read from where for one stretch."""
    if not _is_long(stretch, last):
        return _everything(stretch, last)
    first, (low, high) = naive_utc(stretch.start), _bounds(stretch, last)
    edges = (naive_utc(edge) for edge in stretch.edges)
    apart = [*unready, *(_floor(edge) for edge in edges if edge != _floor(edge))]
    pieces = ((at, at + _BUCKET) for at in apart if low <= at < high)
    raw = _merged([(first, low), *pieces, (high, last)])
    if len(raw) > MOST_RAW_PIECES:
        return _everything(stretch, last)
    ends = [first, *(edge for span in raw for edge in span), last]
    rolled = [(a, b) for a, b in zip(ends[::2], ends[1::2], strict=True) if a < b]
    return Plan(tuple(rolled), tuple(raw))


def _everything(stretch: Stretch, last: datetime) -> Plan:
    return Plan((), ((naive_utc(stretch.start), last),))


def _is_long(stretch: Stretch, last: datetime) -> bool:
    return last - naive_utc(stretch.start) >= ROLLED_FROM


def _raw_from(stretch: Stretch, last: datetime) -> datetime:
    """From where on everything is raw: short stretches are as a whole."""
    if not _is_long(stretch, last):
        return naive_utc(stretch.start)
    since = last - stretch.recent
    return since if stretch.raw_since is None else min(since, naive_utc(stretch.raw_since))


def _bounds(stretch: Stretch, last: datetime) -> tuple[datetime, datetime]:
    """Between which buckets the roll-up may be read; the first is not after the second."""
    low = ceiling(naive_utc(stretch.start))
    return low, max(low, _floor(_raw_from(stretch, last)))


def _unready(
    snapshot: Snapshot, scope: Scope, rules: Sequence[GoodRule], low: datetime, high: datetime
) -> list[datetime]:
    """Buckets that changed, or that are not counted for every rule."""
    span = f"source_id IN ({ids_sql(scope)}) AND bucket_at >= $low AND bucket_at < $high"
    return snapshot.frame(
        f"""SELECT DISTINCT bucket_at FROM (
          SELECT bucket_at FROM rollup_sum ANTI JOIN (
            SELECT source_id, bucket_at FROM rollup_slo
            WHERE dimension = '' AND rule_key IN ({keys_sql(rules)}) AND {span}
            GROUP BY ALL HAVING count(*) >= {len({rule_key(rule) for rule in rules})})
            USING (source_id, bucket_at) WHERE quantity = '{ARRIVAL}' AND {span}
          UNION ALL SELECT bucket_at FROM rollup_dirty WHERE {span})
        ORDER BY bucket_at""",
        low=low,
        high=high,
    )["bucket_at"].to_list()


def _late(
    snapshot: Snapshot, scope: Scope, rules: Sequence[GoodRule], low: datetime, high: datetime
) -> frozenset[int]:
    """The rules that more buckets are not counted for than may be read one by one."""
    span = f"source_id IN ({ids_sql(scope)}) AND bucket_at >= $low AND bucket_at < $high"
    held = snapshot.frame(
        f"""SELECT '' AS rule_key, count(*) AS buckets FROM rollup_sum
          WHERE quantity = '{ARRIVAL}' AND {span}
        UNION ALL SELECT rule_key, count(*) FROM rollup_slo
          WHERE dimension = '' AND rule_key IN ({keys_sql(rules)}) AND {span} GROUP BY rule_key""",
        low=low,
        high=high,
    )
    counted = dict(held.iter_rows())
    enough = counted.get("", 0) - MOST_RAW_PIECES
    return frozenset(
        place for place, rule in enumerate(rules) if counted.get(rule_key(rule), 0) < enough
    )


def keys_sql(rules: Sequence[GoodRule]) -> str:
    """Keys are hexadecimal digests of our own: as literals DuckDB skips what it need not read."""
    return ", ".join(f"'{key}'" for key in sorted({rule_key(rule) for rule in rules}))


def _merged(spans: Sequence[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    merged: list[tuple[datetime, datetime]] = []
    for low, high in sorted(span for span in spans if span[0] < span[1]):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged


def _floor(at: datetime) -> datetime:
    return at - (at - _EPOCH) % _BUCKET


def ceiling(at: datetime) -> datetime:
    """The full ten minutes (naive UTC) that begin at a time or next after it."""
    floor = _floor(at)
    return floor if floor == at else floor + _BUCKET
