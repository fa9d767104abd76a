"""When targets answered and how busy they were: roll-ups tell what scrapes and samples do."""

import random
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from store.clock import VirtualClock
from store.database import Database
from store.migrate import migrations
from store.queries.presence import seen
from store.retention import delete_old
from store.sample_rollup import refresh_due
from store.settings import StoreSettings
from store.targets import register

START = datetime(2026, 3, 1, tzinfo=UTC)
LATER = START + timedelta(days=2)


@pytest.fixture
def database():
    with Database.open(None, StoreSettings(threads=1), VirtualClock(START)) as opened:
        for number in (1, 2):
            register(opened.writer, f"http://gpu-{number}:8000/metrics", START).result()
        yield opened


def at(seconds):
    return START.replace(tzinfo=None) + timedelta(seconds=seconds)


def scrape(database, moments, target=1, outcome="ok"):
    frame = pl.DataFrame({
        "target_id": [target] * len(moments), "scraped_at": [at(s) for s in moments],
        "duration_seconds": 0.01, "outcome": outcome, "bad_line_count": 0,
    })  # fmt: skip
    return database.writer.append("scrape", frame).result()


def load(database, points, target=1, signal="requests_running", model="a"):
    """Points as (seconds after the start, requests)."""
    frame = pl.DataFrame({
        "target_id": [target] * len(points), "signal": signal, "kind": "gauge", "unit": "",
        "labels": f'{{"model": "{model}"}}', "sampled_at": [at(s) for s, _ in points],
        "value": [float(value) for _, value in points],
    })  # fmt: skip
    return database.writer.append("sample", frame).result()


def found(database, low, high, width, use="auto"):
    span = (START + timedelta(seconds=low), START + timedelta(seconds=high))
    return seen(database.reader, *span, width, use=use)


def a_day(database, seed, hours=8):
    """Two targets that fail, fall silent, tell two models or nothing, as chance has it."""
    chance = random.Random(seed)  # noqa: S311 - reproducible
    scrapes, loads = [], {}
    for target in (1, 2):
        moments = [t for t in range(0, hours * 3600, 15) if t % 9000 < 8000]
        good = [t for t in moments if chance.random() < 0.95]
        scrape(database, good, target)
        scrape(database, sorted({*moments} - {*good}), target, "timeout")
        scrapes += [(target, t) for t in good]
        for signal, model in (("requests_running", "a"), ("requests_running", "b"),
                              ("requests_waiting", "a")):  # fmt: skip
            points = [(t, chance.choice([0, 0, 0, 2])) for t in good if t % 3600 < 2700]
            load(database, points, target, signal, model)
            for t, value in points:
                loads[target, t] = loads.get((target, t), 0) + value
    return scrapes, loads


def counted(scrapes, loads, low, high, width):
    """target, bin, scrapes, seconds between and share busy, by plain counting."""
    bins = {}
    for target, t in scrapes:
        if low <= t < high:
            bins.setdefault((target, t // width), ([], []))[0].append(t)
    for (target, t), value in loads.items():
        if low <= t < high and (target, t // width) in bins:
            bins[target, t // width][1].append(value > 0)
    return [
        (target, at(place * width), len(times), max(times) - min(times),
         sum(busy) / len(busy) if busy else None)
        for (target, place), (times, busy) in sorted(bins.items())
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(2))
def test_rolled_or_not_it_is_what_plain_counting_gives(database, seed):
    """Failed scrapes, silence, gauges of several models, cut ranges; and what came in late."""
    told = a_day(database, seed)
    refresh_due(database.writer, LATER)
    same_either_way(database, told)
    scrape(database, [4001, 4002])
    load(database, [(4001, 5), (4002, 0)])
    told[0].extend([(1, 4001), (1, 4002)])
    told[1].update({(1, 4001): 5, (1, 4002): 0})
    same_either_way(database, told)


def same_either_way(database, told):
    for low, high, width in (0, 28_800, 300), (77, 26_011, 900), (3600, 7500, 600):
        rolled = found(database, low, high, width)
        assert_frame_equal(rolled, found(database, low, high, width, "raw"))
        rows = rolled.select("target_id", "at", "scrapes", "between_seconds", "busy_ratio").rows()
        plain = counted(*told, low, high, width)
        assert [row[:4] for row in rows] == [row[:4] for row in plain]
        assert [row[4] for row in rows] == pytest.approx([row[4] for row in plain])


def test_a_late_scrape_is_rolled_up_next_time_and_one_sent_again_is_not(database):
    """Of a bucket that was counted already, told without a sample."""
    a_day(database, 1, hours=1)
    refresh_due(database.writer, LATER)
    assert scrape(database, [0, 15]) == 0
    assert refresh_due(database.writer, LATER).buckets == 0
    assert scrape(database, [601]) == 1
    assert refresh_due(database.writer, LATER).buckets == 1
    rolled = found(database, 0, 3600, 300)
    assert_frame_equal(rolled, found(database, 0, 3600, 300, "raw"))


def test_roll_ups_outlive_scrapes(database):
    """A month later the same is told, of whole buckets."""
    a_day(database, 2)
    before = found(database, 0, 28_800, 600, "raw")
    deleted = delete_old(database.writer, StoreSettings(), START + timedelta(days=60))
    assert deleted.scrape > 1000
    assert_frame_equal(found(database, 0, 28_800, 600), before)
    delete_old(database.writer, StoreSettings(), START + timedelta(days=400))
    assert found(database, 0, 28_800, 600).is_empty()


def test_a_store_of_before_reads_what_it_had_from_scrapes(database):
    """Only what is rolled up from then on is taken from there."""
    told = a_day(database, 3)
    refresh_due(database.writer, START + timedelta(hours=4))
    database.writer.run(_as_before).result()
    (step,) = [step for step in migrations() if step.version == 22]
    database.writer.run(lambda con: con.execute(step.sql)).result()
    refresh_due(database.writer, LATER)
    kept = database.reader.frame("SELECT min(bucket_at) AS first FROM rollup_target").item()
    assert kept == at(4 * 3600 - 300)
    rows = found(database, 0, 28_800, 600).select("target_id", "at", "scrapes").rows()
    assert rows == [row[:3] for row in counted(*told, 0, 28_800, 600)]


def _as_before(connection):
    connection.execute("DROP TABLE rollup_target")
    connection.execute("ALTER TABLE rollup_sample_state DROP COLUMN targets_since")
