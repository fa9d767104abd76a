"""What happened, in one line each: deployments, outages, alerts, changes of replicas, freezes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from analysis.sharing import Sharing, unshared
from store.queries.happenings import happened
from store.queries.scope import Scope
from store.reader import Reader

TIMELINE_SCHEMA: dict[str, Any] = {"at": pl.Datetime("us"), "kind": pl.String, "text": pl.String}


def marks(reader: Reader, scope: Scope, sharing: Sharing = unshared) -> Mapping[str, pl.DataFrame]:
    """The frames of the view `happenings`, shared where that goes: many charts draw them."""
    return sharing("happenings", lambda: happened(reader, scope), is_told=True)


def timeline(reader: Reader, scope: Scope, sharing: Sharing = unshared) -> pl.DataFrame:
    """What happened in a range, oldest first: columns of `TIMELINE_SCHEMA`.

    A trace has the events that came with it, and none of today.
    """
    found = marks(reader, scope, sharing)
    rows = found["events"].select("at", "kind", "text").to_dicts()
    if scope.is_live:
        rows += [_scaled(row) for row in found["scalings"].to_dicts()]
        rows += [_frozen(row) for row in found["freezes"].to_dicts()]
    return pl.DataFrame(rows, schema=TIMELINE_SCHEMA, orient="row").sort("at")


def _scaled(row: Mapping[str, Any]) -> dict[str, Any]:
    before = "?" if row["before_replicas"] is None else row["before_replicas"]
    text = f"{row['pool']}: {before} to {row['after_replicas']} replicas, by {row['changed_by']}"
    return {"at": row["at"], "kind": "scaling", "text": text}


def _frozen(row: Mapping[str, Any]) -> dict[str, Any]:
    comment = f": {row['comment']}" if row["comment"] else ""
    text = f"{row['pool']} frozen by {row['changed_by']}{comment}"
    return {"at": row["from_at"], "kind": "freeze", "text": text}
