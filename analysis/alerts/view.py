"""What is wrong now, who was told, what is silenced, and what was before."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from analysis.alerts.inhibition import inhibited
from analysis.alerts.matchers import Silence, covering, matcher_of, matchers_text
from analysis.alerts.model import Alert, Link
from analysis.measure import Measure, View
from store.errors import InputError
from store.queries import alerts as queries
from store.queries.scope import Scope
from store.reader import Reader
from store.units import seconds_text

ACTIVE_SCHEMA: dict[str, Any] = {
    **dict.fromkeys(
        ("fingerprint", "rule", "severity", "state", "summary", "why_quiet"), pl.String
    ),
    **dict.fromkeys(("since", "active_at"), pl.Datetime("us")),
    "value": pl.Float64,
    **dict.fromkeys(("subject", "labels", "page", "params"), pl.String),
    "back_seconds": pl.Float64,
}
HISTORY_SCHEMA: dict[str, Any] = {
    "at": pl.Datetime("us"),
    **dict.fromkeys(("fingerprint", "rule", "severity", "state", "subject", "summary", "why"),
                    pl.String),
    "firing_seconds": pl.Float64,
}  # fmt: skip
SILENCES_SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("silence_id", "state", "matchers", "created_by", "comment", "origin"),
                    pl.String),
    **dict.fromkeys(("starts_at", "ends_at"), pl.Datetime("us")),
    "alerts": pl.Int64,
}  # fmt: skip
_SILENCES_SHOWN = timedelta(days=7)
_WATCHED = timedelta(hours=1)
_COMMON = frozenset({"alertname", "severity"})


def alerts(reader: Reader, scope: Scope, *, now: datetime, alert: str = "") -> View:
    """Alerts that are open, silences, and what happened in a range.

    Measures: firing (that somebody is told of), pages (of them), pending, quiet (silenced, or
    explained by another alert), watched (1 where anything live was seen lately, else 0: then rules
    have nothing to go by). Frames: `active` (columns of ACTIVE_SCHEMA: those that fire before
    those that are pending, pages first), `silences` (those that hold, will, or did in the last
    week), `history` (changes in the range, newest first), `notifications` (words to receivers),
    `periods` (name, severity, text, from_at, until_at, origin: when alerts fired, ours and those of
    an Alertmanager), `changes` (of the one that `alert` names).

    Args:
        reader: the store.
        scope: its time range is that of the history.
        now: aware UTC.
        alert: fingerprint; "" is none.

    Raises:
        InputError: no alert has this fingerprint.
    """
    start, end = scope.start.replace(tzinfo=None), scope.end.replace(tzinfo=None)
    at = now.replace(tzinfo=None)
    held = [_alert(row) for row in queries.opened(reader).to_dicts()]
    silences = [_silence(row) for row in queries.silences(reader, at - _SILENCES_SHOWN).to_dicts()]
    quiet = _quiet(held, silences, now)
    active = _active(held, quiet)
    history, changes = queries.history(reader, start, end)
    told, words = queries.notifications(reader, start, end)
    frames = {
        "active": active,
        "silences": _silences(silences, held, now),
        "history": _history(history.to_dicts()),
        "notifications": told,
        "periods": queries.periods(reader, start, end),
    }
    if alert:
        rows = queries.of_one(reader, alert).to_dicts()
        if not rows:
            raise InputError(f"no alert has the fingerprint '{alert}'", hint="see the history")
        frames["changes"] = _history(rows)
    is_watched = queries.is_anything_live(reader, at - _WATCHED)
    measures = {**_measures(active), "watched": Measure(float(is_watched), "")}
    sentences = _sentences(active, at, is_watched=is_watched)
    totals = {"history": changes, "notifications": words}
    return View("alerts", scope, measures, frames, sentences, totals=totals)


def _alert(row: Mapping[str, Any]) -> Alert:
    """An open alert as its newest row says; times stay naive UTC, as frames have them."""
    link = Link(row["page"], json.loads(row["params"]), row["back_seconds"])
    return Alert(
        row["fingerprint"], row["rule"], row["severity"], json.loads(row["labels"]), row["state"],
        row["changed_at"], row["active_at"], row["fired_at"], row["summary"], row["value"], link,
    )  # fmt: skip


def _silence(row: Mapping[str, Any]) -> Silence:
    matchers = tuple(matcher_of(one) for one in json.loads(row["matchers"]))
    return Silence(
        row["silence_id"], matchers, row["starts_at"], row["ends_at"], row["created_by"],
        row["comment"], row["origin"],
    )  # fmt: skip


def _quiet(held: Iterable[Alert], silences: Iterable[Silence], now: datetime) -> dict[str, str]:
    """Fingerprint -> why nobody is told."""
    alerts = list(held)
    kept = list(silences)
    found = {key: f"explained by {source.rule}" for key, source in inhibited(alerts).items()}
    for alert in alerts:
        silence = covering(kept, alert.labels, now.replace(tzinfo=None))
        if silence is not None:
            until = f"{silence.ends_at:%d %b %H:%M} UTC"
            by = f"{silence.created_by}: {silence.comment}"
            found[alert.fingerprint] = f"silenced until {until} by {by}"
    return found


def subject(labels: Mapping[str, str]) -> str:
    """What an alert is about: its labels but those that every alert has."""
    rest = [f"{name} {value}" for name, value in labels.items() if name not in _COMMON]
    return ", ".join(rest) or "this server"


def _active(held: Iterable[Alert], quiet: Mapping[str, str]) -> pl.DataFrame:
    def rank(alert: Alert) -> tuple[Any, ...]:
        is_quiet = alert.fingerprint in quiet
        return (alert.state != "firing", is_quiet, alert.severity != "page", alert.changed_at)

    rows = [
        (
            alert.fingerprint, alert.rule, alert.severity, alert.state, alert.summary,
            quiet.get(alert.fingerprint), alert.changed_at, alert.active_at, alert.value,
            subject(alert.labels), json.dumps(dict(alert.labels)), alert.link.page,
            json.dumps(dict(alert.link.params)), alert.link.back_seconds,
        )
        for alert in sorted(held, key=rank)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=ACTIVE_SCHEMA, orient="row")


def _silences(silences: Iterable[Silence], held: Iterable[Alert], now: datetime) -> pl.DataFrame:
    alerts, at = list(held), now.replace(tzinfo=None)

    def state(one: Silence) -> str:
        return "active" if one.is_active(at) else "pending" if one.starts_at > at else "expired"

    rows = [
        (
            one.silence_id, state(one), matchers_text(one.matchers), one.created_by, one.comment,
            one.origin, one.starts_at, one.ends_at,
            sum(one.covers(alert.labels, at) for alert in alerts),
        )
        for one in silences
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=SILENCES_SCHEMA, orient="row")


def _history(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    shown = []
    for row in rows:
        fired, ended = row["fired_at"], row["changed_at"]
        over = row["state"] == "resolved" and fired is not None
        shown.append(
            (
                row["changed_at"], row["fingerprint"], row["rule"], row["severity"], row["state"],
                subject(json.loads(row["labels"])), row["summary"], row["why"],
                (ended - fired).total_seconds() if over else None,
            )
        )  # fmt: skip
    return pl.DataFrame(shown, schema=HISTORY_SCHEMA, orient="row")


def _measures(active: pl.DataFrame) -> dict[str, Measure]:
    told = active.filter((pl.col("state") == "firing") & pl.col("why_quiet").is_null())
    counts = {
        "firing": told.height,
        "pages": int((told["severity"] == "page").sum()),
        "pending": int((active["state"] == "pending").sum()),
        "quiet": int(((active["state"] == "firing") & active["why_quiet"].is_not_null()).sum()),
    }
    return {name: Measure(float(count), "") for name, count in counts.items()}


def _sentences(active: pl.DataFrame, at: datetime, *, is_watched: bool) -> tuple[str, ...]:
    told = active.filter((pl.col("state") == "firing") & pl.col("why_quiet").is_null())
    if told.is_empty() and not is_watched:
        return ("Nothing fires, and nothing could: no live data came in the last hour.",)
    if told.is_empty():
        return ("Nothing fires that anybody should be told of.",)
    return tuple(
        f"{row['rule']} ({row['severity']}) fires for"
        f" {seconds_text((at - row['since']).total_seconds())}: {row['summary']}"
        for row in told.head(5).iter_rows(named=True)
    )
