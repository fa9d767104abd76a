"""Alerts as Alertmanager writes them: its webhook, version 4, and its own API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from analysis.alerts.grouping import Notice, key_text
from analysis.alerts.model import Alert

NEVER = "0001-01-01T00:00:00Z"
"""The end of what has not ended, as Go writes the time zero."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where people find what a message is about.

    Attributes:
        server: address of this server, without a trailing slash.
        runbooks: folder of the runbooks, with one.
    """

    server: str
    runbooks: str

    def page(self, alert: Alert, now: datetime) -> str:
        """The page that shows what an alert means: absolute times, the right filters."""
        began = alert.active_at - timedelta(seconds=alert.link.back_seconds)
        end = alert.changed_at if alert.state == "resolved" else now
        params = {**alert.link.params, "from": _url_time(began), "to": _url_time(end)}
        query = urlencode(params, quote_via=quote, safe=",:")
        return f"{self.server}/ui/{quote(alert.link.page)}?{query}"

    def runbook(self, rule: str) -> str:
        """What to do about alerts of a rule."""
        return f"{self.runbooks.rstrip('/')}/{rule}.md"


def webhook(
    notice: Notice, receiver: str, places: Places, now: datetime, most: int
) -> dict[str, Any]:
    """A message for a webhook.

    Args:
        notice: what is to be told.
        receiver: its name.
        places: for links.
        now: aware UTC.
        most: alerts in it; the rest is counted in `truncatedAlerts`.
    """
    alerts = [*notice.firing, *notice.resolved]
    documents = [_of_webhook(alert, places, now) for alert in alerts]
    return {
        "version": "4",
        "groupKey": key_text(notice.key),
        "truncatedAlerts": max(len(alerts) - most, 0),
        "status": "firing" if notice.firing else "resolved",
        "receiver": receiver,
        "groupLabels": {name: value for name, value in notice.key if value},
        "commonLabels": _common([one["labels"] for one in documents]),
        "commonAnnotations": _common([one["annotations"] for one in documents]),
        "externalURL": places.server,
        "alerts": documents[:most],
    }


def posted(
    alert: Alert, places: Places, now: datetime, lasts: timedelta, *, is_over: bool
) -> dict[str, Any]:
    """An alert for Alertmanager's own API.

    Args:
        alert: that fires, or is over.
        places: for links.
        now: aware UTC.
        lasts: after which it counts as over there, if it is not told again.
        is_over: whether it is.
    """
    return {
        "labels": dict(alert.labels),
        "annotations": said_of(alert, places),
        "startsAt": stamp(alert.fired_at or alert.active_at),
        "endsAt": stamp(alert.changed_at if is_over else now + lasts),
        "generatorURL": places.page(alert, now),
    }


def said_of(alert: Alert, places: Places) -> dict[str, str]:
    """What is said of an alert."""
    return {"summary": alert.summary, "runbook_url": places.runbook(alert.rule)}


def stamp(at: datetime) -> str:
    """RFC 3339, UTC, to the millisecond."""
    text = at.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _of_webhook(alert: Alert, places: Places, now: datetime) -> dict[str, Any]:
    is_over = alert.state == "resolved"
    return {
        "status": "resolved" if is_over else "firing",
        "labels": dict(alert.labels),
        "annotations": said_of(alert, places),
        "startsAt": stamp(alert.fired_at or alert.active_at),
        "endsAt": stamp(alert.changed_at) if is_over else NEVER,
        "generatorURL": places.page(alert, now),
        "fingerprint": alert.fingerprint,
    }


def _common(tables: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """What all of them say alike."""
    if not tables:
        return {}
    first, *rest = tables
    return {
        name: value
        for name, value in first.items()
        if all(table.get(name) == value for table in rest)
    }


def _url_time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
