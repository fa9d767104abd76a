"""How long starts were expected to take: the newest word on each place, and what was said before.

A place is a model on a node, `model@node`: that is what shares caches.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from store.queries.scope import Scope
from store.reader import Reader

LOAD_SECONDS = "load_seconds"
SAID_BEFORE = timedelta(days=1)
"""What was said of a place longer ago than this before a start is not held against it."""

_SCHEMA: dict[str, Any] = {
    "place": pl.String,
    "expected_p50_seconds": pl.Float64,
    "expected_p90_seconds": pl.Float64,
}


def _at(level: float, column: str = "predicted") -> str:
    return f"{column}[list_position(levels, {level})]"


_SAID = f"""
  SELECT key[1] AS model, key[-1] AS place, made_at, {_at(0.1)} AS expected_p10_seconds,
    {_at(0.5)} AS expected_p50_seconds, {_at(0.9)} AS expected_p90_seconds,
    {_at(0.99)} AS expected_p99_seconds, {_at(0.5, "rival")} AS rival_seconds,
    was_fallback, calibration, model_id
  FROM forecast
  WHERE source_id IN (SELECT unnest($sources)) AND quantity = '{LOAD_SECONDS}'
    AND made_at >= $start AND made_at < $end
"""
_NEWEST = f"""
SELECT * FROM ({_SAID}) WHERE len($models) = 0 OR list_contains($models, model)
QUALIFY row_number() OVER (PARTITION BY place ORDER BY made_at DESC) = 1
ORDER BY expected_p50_seconds DESC, place
"""
_BEFORE = f"""
WITH asked AS (SELECT unnest($places) AS place, unnest($times) AS began_at),
said AS ({_SAID})
SELECT a.place, a.began_at, s.expected_p50_seconds, s.expected_p90_seconds
FROM asked AS a ASOF JOIN said AS s ON s.place = a.place AND s.made_at <= a.began_at
WHERE s.made_at >= a.began_at - $before
"""


def newest(reader: Reader, scope: Scope) -> pl.DataFrame:
    """The newest word of the range on each place, the slowest first.

    Columns: model, place, made_at, expected_p10_seconds, expected_p50_seconds,
    expected_p90_seconds, expected_p99_seconds, rival_seconds, was_fallback, calibration, model_id.
    """
    return reader.frame(_NEWEST, models=list(scope.models), **_params(scope))


def said_before(
    reader: Reader, scope: Scope, places: Sequence[str], began_at: Sequence[datetime]
) -> pl.DataFrame:
    """What was said last about each place before a start of it began.

    Args:
        reader: the store.
        scope: of the starts.
        places: of each start.
        began_at: of each start, naive UTC.

    Returns:
        place, began_at, expected_p50_seconds, expected_p90_seconds; no row where nothing was said.
    """
    if not places:
        return pl.DataFrame(schema=_SCHEMA | {"began_at": pl.Datetime("us")})
    params = _params(scope)
    params["start"] = min(began_at) - SAID_BEFORE
    return reader.frame(
        _BEFORE, places=list(places), times=list(began_at), before=SAID_BEFORE, **params
    )


def _params(scope: Scope) -> dict[str, Any]:
    return {
        "sources": list(scope.source_ids),
        "start": scope.start.replace(tzinfo=None),
        "end": scope.end.replace(tzinfo=None),
    }
