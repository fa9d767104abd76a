"""One instance that is told through several doors: its work counts once.

Who scrapes an engine and lets a Prometheus or a collector push the same engine has two targets for
it. They are known to be one by host and port, engine and model. Of those that tell at the same time
the one that was there first counts; the others are left out of totals, and graded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import polars as pl

from analysis.instances import ANY_NODE, STALE_INTERVALS, USUAL_INTERVAL_SECONDS, instance_name
from store.queries import telemetry
from store.reader import Reader

# Without news for longer, at least, a door does not tell any more.
_FEWEST_SECONDS = 60.0
_MOST_SECONDS = 300.0
_AGENT = "agent"


def counted_targets(reader: Reader, end: datetime) -> pl.DataFrame:
    """The targets that count, as `store.queries.telemetry.targets`: each instance once.

    Args:
        reader: the store.
        end: aware UTC.
    """
    found = telemetry.targets(reader, end)
    second = list(second_doors(found, end))
    return found.filter(~pl.col("target_id").is_in(second)) if second else found


def second_doors(targets: pl.DataFrame, at: datetime) -> dict[int, str]:
    """Targets that tell of an instance that another one tells of as well.

    Args:
        targets: as `store.queries.telemetry.targets`.
        at: aware UTC; the moment it is about.

    Returns:
        target_id -> URL of the target that counts instead.
    """
    naive = at.replace(tzinfo=None)
    by_place: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in targets.iter_rows(named=True):
        place = address(row["url"])
        if place is not None and row["engine"] and _tells(row, naive):
            by_place.setdefault((place, row["engine"]), []).append(row)
    found: dict[int, str] = {}
    for rows in by_place.values():
        if len(rows) > 1:
            found |= _second_of(rows)
    return found


def address(url: str) -> str | None:
    """Host and port of the instance behind a target; None when its URL does not tell them.

    >>> address("http://gpu-3:8000/metrics")
    'gpu-3:8000'
    >>> address("remote-write://vllm/gpu-3:8000")
    'gpu-3:8000'
    >>> address("agent://gpu-3/http://localhost:8000/metrics")
    'gpu-3:8000'
    """
    node = None
    if url.startswith(f"{_AGENT}://"):
        node, _, url = url.removeprefix(f"{_AGENT}://").partition("/")
    try:
        parts = urlsplit(f"//{instance_name(url)}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    host = node if host in ANY_NODE else host
    return f"{host.lower()}:{port}" if host and port else None


def _tells(row: Mapping[str, Any], at: datetime) -> bool:
    """Whether something has come from a target just now."""
    if row["last_success_at"] is None:
        return False
    usual = STALE_INTERVALS * (row["interval_seconds"] or USUAL_INTERVAL_SECONDS)
    lately = timedelta(seconds=min(max(usual, _FEWEST_SECONDS), _MOST_SECONDS))
    return bool(at - row["last_success_at"] <= lately)


def _second_of(rows: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """Of targets of one place, those that another one stands for."""
    found: dict[int, str] = {}
    kept: list[Mapping[str, Any]] = []
    for row in sorted(rows, key=lambda row: (row["added_at"], row["target_id"])):
        first = next((other for other in kept if _is_same(row, other)), None)
        if first is None:
            kept.append(row)
        else:
            found[row["target_id"]] = first["url"]
    return found


def _is_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Two doors, and nothing that tells the engines behind them apart."""
    doors = {_door(row["url"]) for row in (one, other)}
    models = {row["model"] for row in (one, other)} - {None}
    return len(doors) == 2 and len(models) <= 1


def _door(url: str) -> str:
    scheme = url.partition("://")[0]
    return "http" if scheme == "https" else scheme
