"""Takes in alerts that an Alertmanager tells by its webhook: each becomes an event on charts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
import polars as pl

from store.errors import InputError

MOST_ALERTS = 1_000
MOST_TEXT = 500
KIND = "alert"
LIVE = 1


def events_of(message: Any) -> pl.DataFrame:
    """Events of a message of Alertmanager's webhook, version 4.

    An alert that fires is an event without an end; its end is an event of its own, so that nothing
    is ever changed. The same message again adds nothing.

    Raises:
        InputError: it is no such message; nothing of it is taken.
    """
    if not isinstance(message, Mapping) or str(message.get("version")) != "4":
        raise InputError(
            "this is no message of Alertmanager's webhook, version 4",
            hint="point a webhook_config of Alertmanager here",
        )
    alerts = message.get("alerts")
    if not isinstance(alerts, list) or len(alerts) > MOST_ALERTS:
        raise InputError(f"alerts must be a list of at most {MOST_ALERTS}")
    rows = [_event(index, alert) for index, alert in enumerate(alerts)]
    return pl.DataFrame(rows, schema=_SCHEMA)


_SCHEMA: dict[str, Any] = {
    "event_id": pl.String, "source_id": pl.Int16, "started_at": pl.Datetime("us"),
    "ended_at": pl.Datetime("us"), "kind": pl.String, "subject": pl.String, "text": pl.String,
    "details": pl.String,
}  # fmt: skip


def _event(index: int, alert: Any) -> dict[str, Any]:
    where = f"alerts[{index}]"
    if not isinstance(alert, Mapping) or alert.get("status") not in ("firing", "resolved"):
        raise InputError("status must be firing or resolved", where=where)
    labels, annotations = _texts(alert, "labels", where), _texts(alert, "annotations", where)
    starts = _time(alert.get("startsAt"), f"{where}.startsAt")
    is_over = alert["status"] == "resolved"
    ends = _time(alert.get("endsAt"), f"{where}.endsAt") if is_over else None
    name = labels.get("alertname", "alert")
    identity = str(alert.get("fingerprint") or "")[:64] or orjson.dumps(labels).decode()[:500]
    text = annotations.get("summary") or annotations.get("description") or name
    details = {
        "labels": labels, "annotations": annotations, "fingerprint": identity,
        "severity": labels.get("severity", ""), "status": alert["status"],
        "generatorURL": str(alert.get("generatorURL") or "")[:MOST_TEXT],
    }  # fmt: skip
    return {
        "event_id": f"alert:{identity}:{starts.isoformat()}:{alert['status']}",
        "source_id": LIVE,
        "started_at": starts,
        "ended_at": ends,
        "kind": KIND,
        "subject": name,
        "text": text[:MOST_TEXT],
        "details": orjson.dumps(details).decode(),
    }


def _texts(alert: Mapping[str, Any], name: str, where: str) -> dict[str, str]:
    found = alert.get(name) or {}
    if not isinstance(found, Mapping) or len(found) > 100:
        raise InputError(f"{name} must be at most 100 names with texts", where=where)
    return {str(key)[:100]: str(value)[:MOST_TEXT] for key, value in found.items()}


def _time(told: Any, where: str) -> datetime:
    try:
        at = datetime.fromisoformat(str(told))
    except ValueError:
        raise InputError(f"'{told}' is no time", where=where, hint="RFC 3339") from None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    if not 1970 <= at.year < 2200:
        raise InputError(f"'{told}' is no time of an alert", where=where)
    return at.astimezone(UTC).replace(tzinfo=None)
