"""Instances: what a scraped target is called, how it is, and whether it stands out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from urllib.parse import unquote, urlsplit

import numpy as np

from store.queries.scope import Scope

# Without a known scrape interval, a scrape older than this is stale.
USUAL_INTERVAL_SECONDS = 15.0
STALE_INTERVALS = 3.0
FEWEST_PEERS = 3
# From here on an instance stands out. Source: Iglewicz and Hoaglin (1993).
OUTLIER_SCORE = 3.5
# Pushed targets are `scheme://job or service/instance`.
_PUSHED = ("remote-write", "otlp")
# 1 / 0.6745: the MAD of a normal distribution is 0.6745 standard deviations.
_MAD_SCALE = 1.4826

# Every node has these, so they name no instance of a fleet.
ANY_NODE = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0", "::"})  # noqa: S104


def instance_name(url: str) -> str:
    """What people call a target: its host and port, or the instance that a push names.

    >>> instance_name("http://gpu-3:8000/metrics")
    'gpu-3:8000'
    >>> instance_name("remote-write://vllm/gpu-3:8000")
    'gpu-3:8000'
    >>> instance_name("agent://gpu-3/http://localhost:8000/metrics")
    'gpu-3:8000'
    """
    parts = urlsplit(url)
    if parts.scheme == "agent" and "://" in parts.path:
        return _behind(parts.netloc, url.removeprefix(f"agent://{parts.netloc}/"))
    pushed = unquote(parts.path.strip("/")) if parts.scheme in _PUSHED else ""
    return pushed or parts.netloc or url


def _behind(agent: str, url: str) -> str:
    """What an agent reads on its own node goes by the name of the agent."""
    name = instance_name(url)
    host, colon, port = name.rpartition(":")
    if (host or name).strip("[]") not in ANY_NODE:
        return name
    return f"{agent}{colon}{port}" if host else agent


def state(
    last_at: datetime | None,
    last_outcome: str | None,
    last_error: str | None,
    last_success_at: datetime | None,
    interval_seconds: float | None,
    end: datetime,
) -> tuple[str, str]:
    """How an instance is at `end`, and why, in one line.

    Args:
        last_at: the newest scrape before `end`; naive UTC, as the other times.
        last_outcome: "ok", or what went wrong.
        last_error: the message of that.
        last_success_at: the newest scrape that worked.
        interval_seconds: usual time between scrapes; None when unknown.
        end: the moment it is about.

    Returns:
        "waiting" (never scraped), "unreachable" (the newest scrape failed), "stale" (no scrape
        within three intervals) or "ready"; and why, empty when ready.
    """
    if last_at is None:
        return "waiting", "not scraped yet"
    if last_outcome != "ok":
        since = f"; last answer {last_success_at:%d %b %H:%M:%S} UTC" if last_success_at else ""
        return "unreachable", f"{last_error or last_outcome}{since}"
    fresh_seconds = STALE_INTERVALS * max(interval_seconds or USUAL_INTERVAL_SECONDS, 1.0)
    if end - last_at > timedelta(seconds=fresh_seconds):
        return "stale", f"last scraped {last_at:%d %b %H:%M:%S} UTC"
    return "ready", ""


def outlier_scores(values: Sequence[float | None]) -> list[float | None]:
    """How many robust deviations each value lies from the median of its peers.

    |x - median| / (1.4826 MAD). Null with fewer than three known peers. Where at least half of the
    peers agree exactly (MAD 0) the mean absolute deviation stands in, and with no spread at all the
    score is 0. Source: Iglewicz and Hoaglin, "How to Detect and Handle Outliers" (1993).
    """
    known = np.array([value for value in values if value is not None])
    if known.size < FEWEST_PEERS:
        return [None] * len(values)
    middle = float(np.median(known))
    deviations = np.abs(known - middle)
    spread = _MAD_SCALE * float(np.median(deviations)) or 1.2533 * float(deviations.mean())
    if spread == 0:
        return [None if value is None else 0.0 for value in values]
    return [None if value is None else abs(value - middle) / spread for value in values]


def in_scope(scope: Scope, instance: str, model: str | None) -> bool:
    """Whether a scraped instance passes the label filters of a scope.

    Targets carry no tenant and no route, so a scope that names one leaves all of them out.
    """
    if scope.tenants or scope.routes:
        return False
    if scope.instances and instance not in scope.instances:
        return False
    return not scope.models or model in scope.models
