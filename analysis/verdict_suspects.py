"""Instances that may be behind a verdict: slowed down, away, or unlike their peers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import polars as pl

from analysis.degradation import degradation
from analysis.degradation_words import slower
from analysis.fleet import Seen
from analysis.instances import OUTLIER_SCORE
from store.queries.scope import LIVE_SOURCE_ID, Scope
from store.reader import Reader

SUSPECTS_SCHEMA: dict[str, Any] = {"instance": pl.String, "kind": pl.String, "text": pl.String}
MOST_RANKED = 3


def suspects(reader: Reader, scope: Scope, start: datetime, seen: Seen) -> pl.DataFrame:
    """instance, kind and text of each, the slowed ones first.

    The page Degradation is asked only while an objective is in trouble: it reads every signal of
    the range.

    Args:
        reader: the store.
        scope: what is asked about.
        start: aware; from when the bad requests were looked at.
        seen: the fleet.
    """
    rows = []
    if LIVE_SOURCE_ID in scope.source_ids and seen.verdict.worst is not None:
        rows += _slowed(reader, replace(scope, start=min(start, scope.start)))
    for row in seen.whole.instances.iter_rows(named=True):
        if row["state"] in ("unreachable", "stale"):
            rows.append((row["instance"], row["state"], row["why"]))
        elif (row["outlier_score"] or 0.0) > OUTLIER_SCORE:
            text = f"{row['outlier_score']:.1f} deviations from its peers"
            rows.append((row["instance"], "stands out", text))
    return pl.DataFrame(rows, schema=SUSPECTS_SCHEMA, orient="row")


def _slowed(reader: Reader, scope: Scope) -> list[tuple[str, str, str]]:
    """Instances slower than they used to be, and what is suspected of the one shown."""
    view = degradation(reader, scope)
    if view.empty is not None:
        return []
    slow = view.frames["instances"].filter(pl.col("state") == "slowed")
    rows = [(row["instance"], "slowed down", _slow_words(row)) for row in slow.to_dicts()]
    shown = view.frames["shown"].filter(pl.col("ended_at").is_null())
    if not shown.is_empty():
        ranked = view.frames["suspects"].sort("rank").head(MOST_RANKED)
        whose = shown["instance"][0]
        rows += [(whose, f"suspect {row['rank']}", row["reason"]) for row in ranked.to_dicts()]
    return rows


def _slow_words(row: Mapping[str, Any]) -> str:
    low, high = row["slowdown_factor_low"], row["slowdown_factor_high"]
    return slower(row["slowdown_factor"], low, high, row["since"])
