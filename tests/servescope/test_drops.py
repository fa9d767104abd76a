"""What was not taken is on record: in the store by ten minutes, and on our own metrics page."""

from datetime import datetime, timedelta

import pytest

from servescope.maintenance import keep_drops
from store.errors import StoreError
from store.queries.drops import drops


def test_counts_reach_the_store_by_ten_minutes(filled, clock):
    """Three runs of the job in two buckets; the query adds them up."""
    for count, seconds in ((2, 0), (3, 60), (5, 600)):
        clock.advance(seconds)
        filled.drops.add("otlp", "no trace id", count, "span GET /")
        assert keep_drops(filled) == {"reasons": 1, "dropped": count}
    assert keep_drops(filled) is None
    reader, now = filled.database.reader, clock.now()
    stored = reader.frame("SELECT bucket_at, dropped_count FROM ingest_drop ORDER BY ALL")
    assert stored["dropped_count"].to_list() == [5, 5]
    (row,) = drops(reader, now - timedelta(hours=1), now + timedelta(hours=1)).to_dicts()
    assert row == {
        "door": "otlp",
        "reason": "no trace id",
        "dropped": 10,
        "example": "span GET /",
        "first_at": datetime(2026, 1, 31, 12, 0),
        "last_at": datetime(2026, 1, 31, 12, 20),
    }
    assert drops(reader, now - timedelta(hours=9), now - timedelta(hours=8)).height == 0


def test_a_store_that_refuses_loses_no_count(filled):
    """What could not be stored waits for the next run."""
    filled.drops.add("remote_write", "no name", 7)
    filled.database.writer.close()
    with pytest.raises(StoreError):
        keep_drops(filled)
    assert [drop.count for drop in filled.drops.take()] == [7]


def test_prometheus_sees_what_was_dropped(client, filled):
    """One series a door and reason."""
    filled.drops.add("scrape", 'bad "line"', 4)
    text = client.get("/metrics").text
    assert 'servescope_ingest_dropped_total{door="scrape",reason="bad \\"line\\""} 4.0' in text
