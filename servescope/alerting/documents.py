"""Rules, silences and single alerts as plain documents."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from analysis.alerts.matchers import Silence, matchers_text
from analysis.alerts.message import Places, said_of
from analysis.alerts.rules import RULES, meaning
from servescope.alerting.rows import alert_of
from store.errors import InputError
from store.queries import alerts as queries

if TYPE_CHECKING:
    from servescope.alerting.service import Alerting
    from servescope.alerting.settings import AlertSettings
    from servescope.runtime import Runtime


def rules(alerting: Alerting) -> list[dict[str, Any]]:
    """Every rule with what is in force for it."""
    listed = rule_documents(alerting.settings, alerting.places())
    return [{**one, "failing": alerting.asking.failing.get(one["rule"])} for one in listed]


def rule_documents(settings: AlertSettings, places: Places) -> list[dict[str, Any]]:
    """Every rule, as the settings have it."""
    chosen = {one.rule.name: one for one in settings.chosen()}
    found = []
    for name, rule in RULES.items():
        on = chosen.get(name)
        limits = on.limits if on else {key: one.value for key, one in rule.limits.items()}
        patience = on.for_seconds if on else rule.for_seconds
        found.append(
            {
                "rule": name, "severity": on.severity if on else rule.severity,
                "is_on": on is not None, "for_seconds": patience,
                "keep_seconds": on.keep_seconds if on else rule.keep_seconds,
                "meaning": meaning(rule, limits, patience), "limits": dict(limits),
                "runbook_url": places.runbook(name),
            }
        )  # fmt: skip
    return found


def silence(made: Silence) -> dict[str, Any]:
    """A silence with Alertmanager's five fields."""
    return {
        "silence_id": made.silence_id,
        "matchers": [matcher.document() for matcher in made.matchers],
        "text": matchers_text(made.matchers),
        "startsAt": made.starts_at, "endsAt": made.ends_at,
        "createdBy": made.created_by, "comment": made.comment, "origin": made.origin,
    }  # fmt: skip


def one(runtime: Runtime, fingerprint: str) -> dict[str, Any]:
    """One alert with its links and all its changes, the newest first.

    Raises:
        InputError: there is none.
    """
    rows = queries.of_one(runtime.database.reader, fingerprint).to_dicts()
    if not rows:
        raise InputError(f"no alert has the fingerprint '{fingerprint}'", hint="see /alerts")
    now, places = runtime.clock.now(), runtime.alerting.places()
    alert = runtime.alerting.book.held.get(fingerprint) or alert_of(rows[0])
    return {
        "fingerprint": fingerprint, "rule": alert.rule, "severity": alert.severity,
        "state": alert.state, "since": alert.changed_at, "active_at": alert.active_at,
        "labels": dict(alert.labels), "summary": alert.summary, "value": alert.value,
        "annotations": said_of(alert, places), "generatorURL": places.page(alert, now),
        "is_unknown": alert.blind_at is not None,
        "why_quiet": runtime.alerting.book.muted(now).get(fingerprint),
        "meaning": next(
            (one["meaning"] for one in rules(runtime.alerting) if one["rule"] == alert.rule), ""
        ),
        "changes": [
            {name: row[name] for name in ("changed_at", "state", "summary", "value", "why")}
            for row in rows
        ],
    }  # fmt: skip


def time_of(text: str, name: str) -> datetime:
    """An ISO 8601 time, UTC where it says no offset.

    Raises:
        InputError: it is none.
    """
    try:
        at = datetime.fromisoformat(text)
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        return at.astimezone(UTC) + timedelta(0)
    except (ValueError, OverflowError):
        raise InputError(f"{name}: '{text}' is no time", hint="ISO 8601, such as "
                         "2026-01-31T12:00:00Z") from None  # fmt: skip
