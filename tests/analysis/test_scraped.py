"""What scraped engines observed between scrapes."""

from datetime import UTC, datetime, timedelta

import polars as pl

from analysis.scraped import observations
from store.targets import register

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def test_a_restart_that_busy_counters_hide_is_seen_by_the_start_time(database):
    """The new process has served more than the old one by the next scrape: nothing fell."""
    writer = database.writer
    target = register(writer, "http://a:8000/metrics", NOW - timedelta(hours=1)).result()
    times = [(NOW - timedelta(seconds=ago)).replace(tzinfo=None) for ago in (30, 20, 10)]
    both = {"target_id": [target] * 3, "labels": ["{}"] * 3, "sampled_at": times, "unit": ["s"] * 3}
    histogram = {
        **both,
        "signal": ["ttft_seconds"] * 3,
        "observation_count": [10.0, 20.0, 90.0],
        "observation_sum": [1.0, 2.0, 9.0],
        "edges": [[0.5]] * 3,
        "cumulative_counts": [[10.0], [20.0], [90.0]],
    }
    starts = {
        **both,
        "signal": ["engine_start_unix_seconds"] * 3,
        "kind": ["gauge"] * 3,
        "value": [1000.0, 1000.0, 2000.0],
    }
    writer.append("histogram_sample", pl.DataFrame(histogram)).result()
    writer.append("sample", pl.DataFrame(starts)).result()
    found = observations(database.reader, ["ttft_seconds"], NOW - timedelta(minutes=1), NOW, 60)
    assert sum(item.histogram.count for item in found) >= 90  # 80 if it were taken for one process
