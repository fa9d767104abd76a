"""Alerts and silences as rows of the store, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from analysis.alerts.matchers import Silence, matcher_of
from analysis.alerts.model import Alert, Link
from store.alerts import ChangeRow, SilenceRow


def change_row(alert: Alert) -> ChangeRow:
    """An alert that came into its state."""
    return ChangeRow(
        alert.changed_at, alert.fingerprint, alert.rule, alert.severity, alert.state,
        alert.active_at, alert.fired_at, alert.labels, alert.value, alert.summary,
        alert.link.page, alert.link.params, alert.link.back_seconds, alert.why,
    )  # fmt: skip


def alert_of(row: Mapping[str, Any]) -> Alert:
    """The alert of a row of `alert_change`."""
    link = Link(row["page"], json.loads(row["params"]), row["back_seconds"])
    return Alert(
        row["fingerprint"], row["rule"], row["severity"], json.loads(row["labels"]), row["state"],
        aware(row["changed_at"]), aware(row["active_at"]),
        None if row["fired_at"] is None else aware(row["fired_at"]),
        row["summary"], row["value"], link, row["why"],
    )  # fmt: skip


def silence_row(silence: Silence, at: datetime, by: str) -> SilenceRow:
    """A silence that was made or changed."""
    return SilenceRow(
        at, by, silence.silence_id, silence.starts_at, silence.ends_at,
        [matcher.document() for matcher in silence.matchers], silence.created_by, silence.comment,
        silence.origin,
    )  # fmt: skip


def silence_of(row: Mapping[str, Any]) -> Silence:
    """The silence of a row of `alert_silence`."""
    matchers = tuple(matcher_of(one) for one in json.loads(row["matchers"]))
    return Silence(
        row["silence_id"], matchers, aware(row["starts_at"]), aware(row["ends_at"]),
        row["created_by"], row["comment"], row["origin"],
    )  # fmt: skip


def aware(at: datetime) -> datetime:
    """A stored time, which is naive UTC."""
    return at.replace(tzinfo=UTC)
