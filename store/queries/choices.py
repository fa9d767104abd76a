"""What there is to choose from and how fresh it is: label values, targets."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

import polars as pl

from store.queries.scope import LABELS, Scope
from store.queries.workload import naive, where
from store.reader import Reader

MOST_VALUES = 200


def label_values(reader: Reader, scope: Scope, most: int = MOST_VALUES) -> dict[str, list[str]]:
    """Values of model, tenant, route and instance in a scope, most frequent first.

    Args:
        reader: the store.
        scope: sources and range; its own label filters are part of the question.
        most: at most this many values a label.
    """
    condition, params = where(scope, every_attempt=True)
    counted = reader.frame(
        f"""SELECT l.model, l.tenant, l.route, l.instance, c.requests
        FROM (SELECT labels_id, count(*) AS requests FROM request AS r
              WHERE {condition} GROUP BY labels_id) AS c
        JOIN request_labels AS l USING (labels_id)""",
        **params,
    )
    return {label: _most_frequent(counted[label], counted["requests"], most) for label in LABELS}


def _most_frequent(values: pl.Series, requests: pl.Series, most: int) -> list[str]:
    """Known values, by how many requests have them; a few rows, for which a plan is too much."""
    sums: Counter[str] = Counter()
    for value, number in zip(values, requests, strict=True):
        if value is not None:
            sums[value] += number
    return sorted(sums, key=lambda value: (-sums[value], value))[:most]


def target_freshness(reader: Reader, since: datetime) -> tuple[int, int]:
    """How many targets answered a scrape since `since` (aware UTC), and how many there are."""
    row = reader.frame(
        """SELECT count(*) AS total, count(*) FILTER (EXISTS (
             SELECT 1 FROM scrape AS s WHERE s.target_id = t.target_id
             AND s.outcome = 'ok' AND s.scraped_at >= $since)) AS fresh
        FROM target AS t WHERE t.removed_at IS NULL""",
        since=naive(since),
    ).row(0, named=True)
    return row["fresh"], row["total"]


def targets(reader: Reader) -> pl.DataFrame:
    """target_id, url, engine, engine_version, model, added_at of the targets in use."""
    return reader.frame(
        """SELECT target_id, url, engine, engine_version, model, added_at FROM target
        WHERE removed_at IS NULL ORDER BY target_id"""
    )
