"""What requests looked like in two stretches of time, by feature and bin.

Without labels whole hours are read from the roll-ups of workloads, in which lengths of outputs are
of requests that succeeded; the others, few, are looked up among the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import polars as pl

from store.queries.rollup_sql import ids_sql
from store.queries.scope import IS_COUNTED, Scope
from store.queries.workload import labels_condition
from store.queries.workload_split import Use, hours
from store.reader import Reader

_OCTAVE = "floor(log2({column} + 1))"
# What each part counts has the columns feature, bin, labels_id, requests.
_ROWS = f"""
SELECT unnest(['input length', 'output length', 'label']) AS feature,
  unnest([asked, made, NULL]) AS bin, labels_id, requests
FROM (
  SELECT r.labels_id, {_OCTAVE.format(column="r.input_tokens")} AS asked,
    {_OCTAVE.format(column="r.output_tokens")} AS made, count(*) AS requests
  FROM request AS r WHERE {{condition}} GROUP BY 1, 2, 3)
"""
_HOURS = "source_id IN ({sources}) AND hour_at >= {low} AND hour_at < {high}"
_LENGTHS = f"""
SELECT CASE WHEN is_output THEN 'output length' ELSE 'input length' END AS feature,
  {_OCTAVE.format(column="tokens")} AS bin, NULL AS labels_id, requests
FROM (SELECT is_output, tokens, sum(requests) AS requests FROM rollup_length
  WHERE {_HOURS} GROUP BY 1, 2)
"""
_LABELS = f"""
SELECT 'label' AS feature, NULL AS bin, labels_id, sum(requests) AS requests
FROM rollup_outcome WHERE {_HOURS} GROUP BY 3
"""
_UNDONE = f"""
SELECT 'output length' AS feature, {_OCTAVE.format(column="r.output_tokens")} AS bin,
  NULL AS labels_id, count(*) AS requests
FROM request AS r WHERE {{condition}} AND r.status <> 'ok' GROUP BY 2
"""
_COUNTS = """
WITH part AS ({parts}),
seen AS (
  SELECT feature, bin, labels_id, sum(now) AS now, sum(before) AS before FROM part GROUP BY 1, 2, 3)
SELECT feature, bin::VARCHAR AS bin, sum(now)::BIGINT AS now, sum(before)::BIGINT AS before
FROM seen WHERE feature <> 'label' AND bin IS NOT NULL GROUP BY 1, 2
UNION ALL
SELECT feature, bin, sum(now)::BIGINT, sum(before)::BIGINT FROM (
  SELECT unnest(['model', 'tenant', 'route']) AS feature,
    unnest([l.model, l.tenant, l.route]) AS bin, now, before
  FROM seen JOIN request_labels AS l USING (labels_id) WHERE seen.feature = 'label')
WHERE bin IS NOT NULL GROUP BY 1, 2
ORDER BY 1, 2
"""


def counts(
    reader: Reader, scope: Scope, then_start: datetime, then_end: datetime, use: Use = "auto"
) -> pl.DataFrame:
    """feature, bin, now, before: requests of the range and of an earlier stretch.

    Lengths are in octaves; labels as they are.

    Args:
        reader: the store.
        scope: the range and the labels.
        then_start: naive UTC.
        then_end: naive UTC, exclusive.
        use: "auto" takes the roll-ups where they know; the others are for tests.
    """
    then = replace(scope, start=then_start.replace(tzinfo=UTC), end=then_end.replace(tzinfo=UTC))
    params: dict[str, Any] = {}
    parts = [
        f"SELECT feature, bin, labels_id, {numbers} FROM ({text})"
        for name, stretch, numbers in (
            ("now", scope, "requests AS now, 0 AS before"),
            ("before", then, "0, requests"),
        )
        for text in _texts(reader, stretch, use, name, params)
    ]
    return reader.frame(_COUNTS.format(parts=" UNION ALL ".join(parts)), **params)


def _texts(
    reader: Reader, scope: Scope, use: Use, name: str, params: dict[str, Any]
) -> Iterator[str]:
    """The parts of one stretch; adds what they need to `params`."""
    labelled = scope.models or scope.tenants or scope.routes or scope.instances
    split = hours(reader, scope, "rows" if labelled else use)
    labels, values = labels_condition(scope, "r")
    params |= values
    for number, (low, high) in enumerate((*split.rolled, *split.raw)):
        place = {key: f"{name}_{key}{number}" for key in ("low", "high")}
        params |= {place["low"]: low, place["high"]: high}
        names = {key: f"${word}" for key, word in place.items()} | {"sources": ids_sql(scope)}
        condition = _condition(names, labels)
        if number >= len(split.rolled):
            yield _ROWS.format(condition=condition)
            continue
        yield _LENGTHS.format(**names)
        yield _LABELS.format(**names)
        yield _UNDONE.format(condition=condition)


def _condition(names: Mapping[str, str], labels: Sequence[str]) -> str:
    parts = (
        f"r.source_id IN ({names['sources']})",
        f"r.arrived_at >= {names['low']}",
        f"r.arrived_at < {names['high']}",
        IS_COUNTED,
    )
    return " AND ".join((*parts, *labels))
