"""What the view of alerts says where nothing fires: calm only where something is watched."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from analysis.alerts.view import alerts
from store.clock import VirtualClock
from store.database import Database
from store.queries.scope import Scope
from store.settings import StoreSettings

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ago_seconds", "is_watched", "words"),
    [
        (None, 0.0, "nothing could"),
        (2 * 3600, 0.0, "nothing could"),
        (30, 1.0, "anybody should be told"),
    ],
)
def test_silence_without_live_data_is_no_calm(ago_seconds, is_watched, words):
    """A store of traces, or one that nobody feeds any more, cannot be well."""
    with Database.open(None, StoreSettings(), VirtualClock(NOW)) as database:
        if ago_seconds is not None:
            at = (NOW - timedelta(seconds=ago_seconds)).replace(tzinfo=None)
            row = {"target_id": 1, "scraped_at": at, "duration_seconds": 0.1, "outcome": "ok"}
            database.writer.append("scrape", pl.DataFrame([row])).result(10)
        view = alerts(database.reader, Scope((1,), NOW - timedelta(hours=1), NOW), now=NOW)
    assert view.measures["watched"].value == is_watched
    assert words in view.sentences[0]
