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


def plan_for(
    snapshot: Snapshot,
    scope: Scope,
    rules: Sequence[GoodRule],
    start: datetime,
    end: datetime,
    *,
    edges: Sequence[datetime] = (),
    raw_since: datetime | None = None,
    recent: timedelta = RAW_RECENT,
) -> Plan:
    """Decide what is read from where, over one state of the store; arguments as of `counts`.

    The last `recent` are raw in any case.
    """
    first, last = naive_utc(start), naive_utc(end)
    everything = Plan((), ((first, last),))
    if last - first < ROLLED_FROM or len(scope_labels(scope)) > 1 or not scope.source_ids:
        return everything
    until = min(last - recent, naive_utc(raw_since)) if raw_since else last - recent
    low, high = _ceil(first), _floor(until)
    unready = _unready(snapshot, scope, rules, low, high)
    cut = {_floor(naive_utc(edge)) for edge in edges if naive_utc(edge) != _floor(naive_utc(edge))}
    unready += [bucket for bucket in cut if low <= bucket < high]
    raw = _merged([(first, low), *((at, at + _BUCKET) for at in unready), (high, last)])
    if len(raw) > MOST_RAW_PIECES:
        return everything
    ends = [first, *(edge for span in raw for edge in span), last]
    rolled = [(a, b) for a, b in zip(ends[::2], ends[1::2], strict=True) if a < b]
    return Plan(tuple(rolled), tuple(raw))


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


def _ceil(at: datetime) -> datetime:
    floor = _floor(at)
    return floor if floor == at else floor + _BUCKET
