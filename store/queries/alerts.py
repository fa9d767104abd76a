"""Alerts as they were kept: those that are open, silences, what receivers know, history."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from store.queries.first_rows import total
from store.reader import Reader

MOST_ROWS = 1_000
MOST_DRAWN = 200

_LIVE = """
SELECT EXISTS (FROM request WHERE source_id = 1 AND arrived_at >= $since)
  OR EXISTS (FROM scrape WHERE scraped_at >= $since)
  OR EXISTS (FROM sample WHERE sampled_at >= $since)
"""
_COLUMNS = """change_id, changed_at, fingerprint, rule, severity, state, active_at, fired_at,
  labels::VARCHAR AS labels, value, summary, page, params::VARCHAR AS params, back_seconds, why"""
_OPEN = f"""
SELECT {_COLUMNS} FROM alert_change
QUALIFY row_number() OVER (PARTITION BY fingerprint ORDER BY change_id DESC) = 1
  AND state IN ('pending', 'firing')
ORDER BY change_id
"""
_RESOLVED = f"""
SELECT {_COLUMNS} FROM alert_change
WHERE state = 'resolved' AND changed_at >= $since ORDER BY change_id DESC LIMIT {MOST_ROWS}
"""
_HISTORY = f"""
SELECT {_COLUMNS} FROM alert_change
WHERE changed_at >= $start AND changed_at < $end ORDER BY change_id DESC LIMIT $most
"""
_OF_ONE = f"""
SELECT {_COLUMNS} FROM alert_change
WHERE fingerprint = $fingerprint ORDER BY change_id DESC LIMIT {MOST_ROWS}
"""
_SILENCES = f"""
SELECT silence_id, changed_at, changed_by, starts_at, ends_at, matchers::VARCHAR AS matchers,
  created_by, comment, origin
FROM alert_silence
QUALIFY row_number() OVER (PARTITION BY silence_id ORDER BY version DESC) = 1
  AND ends_at >= $since
ORDER BY ends_at DESC, silence_id LIMIT {MOST_ROWS}
"""
_KNOWN = """
SELECT receiver, group_key, sent_at, known FROM alert_notification WHERE outcome = 'sent'
QUALIFY row_number() OVER (PARTITION BY receiver, group_key ORDER BY notification_id DESC) = 1
ORDER BY receiver, group_key
"""
_NOTIFICATIONS = """
SELECT notification_id, sent_at, receiver, group_key, outcome, attempt, firing, resolved, seconds,
  error
FROM alert_notification WHERE sent_at >= $start AND sent_at < $end
ORDER BY notification_id DESC LIMIT $most
"""
_PERIODS = """
WITH fired AS (
  SELECT f.fingerprint, f.rule AS name, f.severity, f.summary AS text, f.changed_at AS from_at,
    (SELECT min(r.changed_at) FROM alert_change AS r
     WHERE r.fingerprint = f.fingerprint AND r.state = 'resolved' AND r.change_id > f.change_id)
      AS over_at
  FROM alert_change AS f WHERE f.state = 'firing' AND f.changed_at < $end),
received AS (
  SELECT subject AS name, coalesce(any_value(details ->> '$.severity'), '') AS severity,
    any_value(text) AS text, started_at AS from_at, max(ended_at) AS over_at
  FROM event WHERE kind = 'alert' AND started_at < $end
  GROUP BY subject, details ->> '$.fingerprint', started_at)
SELECT name, severity, text, from_at, over_at, least(coalesce(over_at, $end), $end) AS until_at,
  origin
FROM (SELECT name, severity, text, from_at, over_at, 'servescope' AS origin FROM fired
      UNION ALL SELECT *, 'alertmanager' AS origin FROM received)
WHERE coalesce(over_at, $end) >= $start ORDER BY from_at DESC LIMIT $most
"""


def opened(reader: Reader) -> pl.DataFrame:
    """Alerts that are pending or firing: the row of their newest change."""
    return reader.frame(_OPEN)


def resolved(reader: Reader, since: datetime) -> pl.DataFrame:
    """Changes to `resolved` since a time (naive UTC), the newest first."""
    return reader.frame(_RESOLVED, since=since)


def history(reader: Reader, start: datetime, end: datetime) -> tuple[pl.DataFrame, int]:
    """Changes of a range (naive UTC), the newest thousand; and how many there are."""
    return _newest(reader, _HISTORY, start, end)


def of_one(reader: Reader, fingerprint: str) -> pl.DataFrame:
    """All changes of one alert, the newest first."""
    return reader.frame(_OF_ONE, fingerprint=fingerprint)


def silences(reader: Reader, since: datetime) -> pl.DataFrame:
    """Silences that end at `since` (naive UTC) or later, as they stand now.

    Columns: silence_id, changed_at, changed_by, starts_at, ends_at, matchers (JSON text),
    created_by, comment, origin.
    """
    return reader.frame(_SILENCES, since=since)


def known(reader: Reader) -> pl.DataFrame:
    """receiver, group_key, sent_at, known: what each receiver was told of each group last."""
    return reader.frame(_KNOWN)


def is_anything_live(reader: Reader, since: datetime) -> bool:
    """Whether a live request, sample or scrape is of `since` (naive UTC) or later."""
    return bool(reader.scalar(_LIVE, since=since))


def notifications(reader: Reader, start: datetime, end: datetime) -> tuple[pl.DataFrame, int]:
    """Words to receivers in a range (naive UTC), the newest thousand; and how many there are."""
    return _newest(reader, _NOTIFICATIONS, start, end)


def _newest(reader: Reader, sql: str, start: datetime, end: datetime) -> tuple[pl.DataFrame, int]:
    found = reader.frame(sql, start=start, end=end, most=MOST_ROWS)
    return found, total(reader, sql, found.height, MOST_ROWS, start=start, end=end)


def periods(reader: Reader, start: datetime, end: datetime, most: int = MOST_DRAWN) -> pl.DataFrame:
    """When alerts fired in a range (naive UTC), ours and those received, the newest first.

    Columns: name, severity, text, from_at, over_at (null while it fires), until_at (at most `end`),
    origin.
    """
    return reader.frame(_PERIODS, start=start, end=end, most=most)
