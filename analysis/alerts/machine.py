"""How alerts come, stay and go: inactive, pending, firing, resolved.

What is unknown keeps its state, and time in which nothing is known counts for nothing: neither
towards firing nor towards being over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from analysis.alerts.model import Alert, Asked, Reading, all_labels, fingerprint

FORGET_SECONDS = 86_400.0
"""An alert of which nothing was known for so long is given up."""
OFF = "the rule was switched off"
GONE = "what it was about is gone"
OVER = "the condition is over"
FORGOTTEN = "nothing was known of it for a day"

Held = Mapping[str, Alert]


def step(
    held: Held, asked: Mapping[str, Asked], now: datetime
) -> tuple[dict[str, Alert], list[Alert]]:
    """Alerts after what the rules say now, and every change of a state.

    Args:
        held: pending and firing alerts by fingerprint.
        asked: rule -> what it answered; a rule that is not here is switched off.
        now: aware UTC, never before the last step.

    Returns:
        alerts that are pending or firing now; those whose state changed, as they are now.
    """
    kept: dict[str, Alert] = {}
    changes: list[Alert] = []
    heard: set[str] = set()
    for rule, answer in asked.items():
        for reading in answer.readings or ():
            labels = all_labels(rule, answer.severity, reading.labels)
            key = fingerprint(labels)
            if key in heard:
                continue
            heard.add(key)
            before = held.get(key)
            after = (
                _first(rule, key, labels, answer, reading, now)
                if before is None
                else _next(_seen(before, reading, now), answer, reading, now)
            )
            _note(before, after, kept, changes)
    for key, before in held.items():
        if key not in heard:
            _note(before, _unheard(before, asked.get(before.rule), now), kept, changes)
    return kept, changes


def _note(
    before: Alert | None, after: Alert | None, kept: dict[str, Alert], changes: list[Alert]
) -> None:
    if after is None:
        return
    if before is None or before.state != after.state:
        changes.append(after)
    if after.state in ("pending", "firing"):
        kept[after.fingerprint] = after


def _first(
    rule: str, key: str, labels: Mapping[str, str], answer: Asked, reading: Reading, now: datetime
) -> Alert | None:
    """An alert that was not there; None where there is nothing to tell."""
    if reading.active is not True:
        return None
    pending = Alert(
        key, rule, answer.severity, labels, "pending", now, now, None, reading.summary,
        reading.value, reading.link,
    )  # fmt: skip
    return _fire(pending, now) if answer.for_seconds <= 0 else pending


def _next(alert: Alert, answer: Asked, reading: Reading, now: datetime) -> Alert:
    if reading.active is None:
        return alert
    if reading.active:
        alert = replace(alert, clear_at=None)
        is_due = now - alert.active_at >= timedelta(seconds=answer.for_seconds)
        return _fire(alert, now) if alert.state == "pending" and is_due else alert
    if alert.state == "pending":
        return replace(alert, state="inactive", changed_at=now, why=OVER)
    clear_at = alert.clear_at or now
    if now - clear_at >= timedelta(seconds=answer.keep_seconds):
        return _resolved(alert, now, OVER)
    return replace(alert, clear_at=clear_at)


def _seen(alert: Alert, reading: Reading, now: datetime) -> Alert:
    """With what was said last; time in which nothing was known is taken out of its clocks."""
    if reading.active is None:
        return alert if alert.blind_at is not None else replace(alert, blind_at=now)
    if alert.blind_at is not None:
        blind = now - alert.blind_at
        alert = replace(
            alert,
            blind_at=None,
            active_at=alert.active_at + blind if alert.state == "pending" else alert.active_at,
            clear_at=None if alert.clear_at is None else alert.clear_at + blind,
        )
    if not reading.active:
        return alert  # what is over says nothing of how bad it was
    return replace(alert, summary=reading.summary, value=reading.value, link=reading.link)


def _unheard(alert: Alert, answer: Asked | None, now: datetime) -> Alert:
    """An alert that no reading is about."""
    if answer is None:
        return _ended(alert, now, OFF)
    if answer.readings is not None and answer.is_whole:
        return _ended(alert, now, GONE)
    blind_at = alert.blind_at or now
    if now - blind_at >= timedelta(seconds=FORGET_SECONDS):
        return _ended(alert, now, FORGOTTEN)
    return replace(alert, blind_at=blind_at)


def _fire(alert: Alert, now: datetime) -> Alert:
    return replace(alert, state="firing", changed_at=now, fired_at=now, why="")


def _ended(alert: Alert, now: datetime, why: str) -> Alert:
    if alert.state == "pending":
        return replace(alert, state="inactive", changed_at=now, why=why)
    return _resolved(alert, now, why)


def _resolved(alert: Alert, now: datetime, why: str) -> Alert:
    return replace(alert, state="resolved", changed_at=now, why=why)
