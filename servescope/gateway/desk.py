"""What the server tells gateways (policy, replicas on their way, lengths), and how they stand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from analysis.gateways import standing
from servescope.gateway.intake import check_name
from servescope.runtime import Runtime
from store.errors import InputError, ServescopeError
from store.queries import decisions
from store.queries import gateways as queries
from store.told import MOST_INT32, whole

if TYPE_CHECKING:
    from controller.observation import PoolView

LENGTHS_SECONDS = 60.0
LENGTHS_WINDOW = timedelta(days=7)
MOST_STARTING = 100
MOST_DETAILS_BYTES = 64 << 10
_LATE_LEVEL, _LIKELY_LEVEL = 0.9, 0.5


class GatewayDesk:
    """Answers gateways. Any thread may ask.

    Args:
        runtime: store, clock, controller.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._lock = Lock()
        self._lengths: tuple[float, str, list[list[Any]]] | None = None

    def told(self, has: Mapping[str, Any]) -> dict[str, Any]:
        """Everything that a gateway goes by; what it `has` already is left out.

        Args:
            has: "policy" and "lengths" -> the version that it has.
        """
        reader = self._runtime.database.reader
        policy = queries.policy(reader)
        version = policy["version"] if policy else None
        mark, rows = self._length_rows()
        document: dict[str, Any] = {
            "server_time": self._runtime.clock.now().isoformat(),
            "policy_version": version,
            "decision_id": queries.newest_decision(reader),
            "starting": self.starting(),
            "lengths_version": mark,
        }
        if policy is not None and has.get("policy") != version:
            document["policy"] = json.loads(policy["policy"])
        if has.get("lengths") != mark:
            document["lengths"] = rows
        return document

    def starting(self) -> list[dict[str, Any]]:
        """Replicas on their way: pool, seconds until one serves (median, nine in ten)."""
        loop = self._runtime.controlling.loop
        if loop is None:
            return []
        now = self._runtime.clock.now()
        asked = {
            row["pool"]: (now - row["changed_at"].replace(tzinfo=UTC)).total_seconds()
            for row in decisions.last_done(self._runtime.database.reader).to_dicts()
            if row["changed_at"] is not None
        }
        found: list[dict[str, Any]] = []
        for view in dict(loop.views).values():
            found += _on_their_way(view, asked.get(view.name, 0.0))
        return found[:MOST_STARTING]

    def standings(self) -> list[dict[str, Any]]:
        """Gateways with their age, and whether they are late or decide by something else."""
        now = self._runtime.clock.now()
        policy = queries.policy(self._runtime.database.reader)
        version = policy["version"] if policy else None
        return [
            standing(row, now, version) for row in queries.gateways(self._runtime.database.reader)
        ]

    def _length_rows(self) -> tuple[str, list[list[Any]]]:
        with self._lock:
            now = self._runtime.clock.monotonic()
            if self._lengths is None or now - self._lengths[0] >= LENGTHS_SECONDS:
                since = (self._runtime.clock.now() - LENGTHS_WINDOW).replace(tzinfo=None)
                frame = queries.lengths(self._runtime.database.reader, since)
                rows = [
                    [row["model"], row["tenant"], row["bin"], round(row["mean_tokens"], 1),
                     round(row["likely_tokens"], 1)]
                    for row in frame.to_dicts()
                ]  # fmt: skip
                mark = hashlib.sha256(orjson.dumps(rows)).hexdigest()[:16]
                self._lengths = (now, mark, rows)
            return self._lengths[1], self._lengths[2]


def heartbeat_row(name: str, told: Any, now: datetime) -> dict[str, Any]:
    """What a gateway says of itself, as a row.

    Raises:
        InputError: it is none.
    """
    try:
        details = json.dumps(told.get("details", {}))
        row = {
            "name": check_name(name),
            "identity": _text(told["identity"]),
            "node": _text(told["node"]),
            "url": _text(told["url"]),
            "version": _text(told["version"]),
            "last_seen_at": now,
            "started_at": datetime.fromtimestamp(float(told["started_at"]), UTC),
            "heartbeat_seconds": float(told["heartbeat_seconds"]),
            "policy_version": _version(told.get("policy_version")),
            "policy_seen_at": now,
            "waiting_rows": whole(told["waiting_rows"]),
            "dropped_rows": whole(told["dropped_rows"]),
            "details": details,
        }
    except ServescopeError:
        raise
    except (LookupError, TypeError, ValueError, OverflowError, OSError, AttributeError) as error:
        raise InputError(
            f"the heartbeat is damaged ({type(error).__name__}: {error})"[:300],
            hint="is it what `servescope gateway` sends?",
        ) from error
    if len(details) > MOST_DETAILS_BYTES:
        raise InputError("the heartbeat's details are too long")
    return row


def _on_their_way(view: PoolView, asked_seconds: float) -> list[dict[str, Any]]:
    """Replicas of a pool that start, each with what is left of its start."""
    if view.startup is None:
        return []
    ages = [one.age_seconds for one in view.replicas if one.state == "starting"]
    ages = (ages + [asked_seconds] * view.starting)[: max(view.starting, 0)]
    found = []
    for age in ages:
        # Given that it is not there yet: the quantile of what is left.
        passed = float(view.startup.chance_by(np.asarray([age]))[0])
        left = [
            max(view.startup.quantile(passed + (1 - passed) * level) - age, 0.0)
            for level in (_LIKELY_LEVEL, _LATE_LEVEL)
        ]
        found.append(
            {
                "pool": view.name,
                "ready_seconds": round(left[0], 1),
                "late_seconds": round(left[1], 1),
            }
        )
    return found


def _text(told: Any) -> str:
    if not isinstance(told, str) or len(told) > 300 or not told.isprintable():
        raise TypeError("a text is missing")
    return told


def _version(told: Any) -> int | None:
    return None if told is None else whole(told, MOST_INT32)
