"""Roll-ups of samples give the numbers of the samples, whatever came when, and outlive them."""

import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from store.clock import VirtualClock, WallClock
from store.database import Database
from store.migrate import migrations
from store.queries import counters, telemetry
from store.queries.sample_split import MOST_RAW_PIECES, split
from store.retention import delete_old
from store.sample_rollup import PORTION_BUCKETS, ROLLED, refresh, refresh_due
from store.settings import StoreSettings
from store.targets import register

START = datetime(2026, 3, 1, tzinfo=UTC)
LATER = START + timedelta(days=40)
GAUGES, COUNTERS, HISTOGRAMS = ["requests_running"], ["prompt_tokens_total"], ["ttft_seconds"]


def open_store():
    database = Database.open(None, StoreSettings(threads=1), VirtualClock(START))
    register(database.writer, "http://gpu-1:8000/metrics", START).result()
    return database


@pytest.fixture
def database():
    with open_store() as opened:
        yield opened


def at(seconds):
    return START.replace(tzinfo=None) + timedelta(seconds=seconds)


def add(database, points, kind="gauge", signal=GAUGES[0], model="a"):
    """Points as (seconds after the start, value); gives how many were new."""
    frame = pl.DataFrame(
        {
            "target_id": [1] * len(points),
            "signal": [signal] * len(points),
            "kind": [kind] * len(points),
            "unit": [""] * len(points),
            "labels": [f'{{"model": "{model}"}}'] * len(points),
            "sampled_at": [at(seconds) for seconds, _ in points],
            "value": [float(value) for _, value in points],
        }
    )
    return database.writer.append("sample", frame).result()


def add_histogram(database, points, edges=(0.5, 1.0), model="a"):
    """Points as (seconds after the start, observations)."""
    frame = pl.DataFrame(
        {
            "target_id": [1] * len(points),
            "signal": HISTOGRAMS * len(points),
            "unit": ["s"] * len(points),
            "labels": [f'{{"model": "{model}"}}'] * len(points),
            "sampled_at": [at(seconds) for seconds, _ in points],
            "observation_count": [float(n) for _, n in points],
            "observation_sum": [n / 3 for _, n in points],
            "edges": [[float(edge) for edge in edges]] * len(points),
            "cumulative_counts": [[n / 2.0, float(n)] for _, n in points],
        }
    )
    return database.writer.append("histogram_sample", frame).result()


def answers(database, use, start, end, width, *more):
    span = (START + timedelta(seconds=start), START + timedelta(seconds=end), width)
    reader = database.reader
    anchor, *stretch = more or (None,)
    return {
        "bins": telemetry.gauge_bins(reader, GAUGES, *span, anchor, use=use),
        "lines": telemetry.gauge_lines(reader, GAUGES, *span, anchor, use=use),
        "counters": counters.counter_steps(reader, COUNTERS, *span, anchor, use=use),
        "rates": counters.counter_lines(reader, COUNTERS, *span, anchor, use=use),
        "known": counters.counter_steps(
            reader, COUNTERS, *span, anchor, longest_step_seconds=900, use=use
        ),
        "histograms": telemetry.histogram_points(
            reader, HISTOGRAMS, *span, anchor, *stretch, use=use
        ),
    }


def counted(database, start, end, width, anchor=None, *_):
    """What each counter counted, by series and bin, from each of its points by plain arithmetic."""
    points = database.reader.frame(
        """SELECT series_id, sampled_at, value FROM sample JOIN series USING (series_id)
        WHERE kind = 'counter' AND sampled_at >= $low AND sampled_at < $high ORDER BY ALL""",
        low=at(start - 300),
        high=at(end),
    ).rows()
    last = (anchor or START + timedelta(seconds=end)).replace(tzinfo=None)
    found = {}
    for (series, before, held), (same, moment, value) in pairwise(points):
        if series == same and moment >= at(start):
            bin_ = int((last - moment - timedelta(microseconds=1)) / timedelta(seconds=width))
            increase, seconds = found.get((series, bin_), (0.0, 0.0))
            grown = value if value < held else value - held
            seconds += (moment - before).total_seconds()
            found[series, bin_] = increase + grown, seconds
    return found


def same_either_way(database, *asked):
    rolled, raw = (answers(database, use, *asked) for use in ("rollup", "raw"))
    known = rolled["counters"].filter(pl.col("seconds").is_not_null())
    rows = known.select("series_id", "bin", "increase", "seconds").iter_rows()
    told = {(series, bin_): numbers for series, bin_, *numbers in rows}
    plain = counted(database, *asked)
    assert told.keys() == plain.keys()
    assert all(numbers == pytest.approx(plain[key]) for key, numbers in told.items())
    for name, frame in raw.items():
        assert_frame_equal(rolled[name], frame, check_exact=name == "histograms")
    return raw


def rolled_rows(database):
    counts = " UNION ALL ".join(f"SELECT count(*) AS n FROM {table}" for table in ROLLED)
    return database.reader.frame(counts)["n"].to_list()


# Points come in dense spells, some of them more than a day apart; ranges begin and end near them.
SPELLS = (0, 3300, 26 * 3600, 30 * 3600)
WIDTHS = (60, 300, 300, 450, 600, 600, 900, 3600, 200_000)


def some_points(chance):
    """Values that grow with time, and fall now and then."""
    size, falls_at = chance.randint(5, 80), chance.choice([7, 500, 4000, 1_000_000])
    moments = [chance.choice(SPELLS) + chance.randrange(1200) for _ in range(size)]
    return [(moment, moment % falls_at) for moment in dict.fromkeys(moments)]


def some_range(chance):
    """Start, end, width, anchor and stretch; most of them fit the buckets, as those of pages do."""
    nudge = chance.choice([0, 0, 1, 77, 151])
    edges = [
        chance.choice(SPELLS) + chance.randrange(-1, 5) * 300 + nudge * chance.randint(0, 1)
        for _ in range(2)
    ]
    end = max(edges) + 300 * (edges[0] == edges[1])
    anchor = START + timedelta(hours=-(-end // 3600), seconds=chance.choice([0, 0, 0, 77]))
    width, stretch = chance.choice(WIDTHS), chance.choice([600, 1000, 21_600])
    return min(edges), end, width, chance.choice([None, anchor]), stretch


@settings(max_examples=12)
@given(st.integers(0, 2**32))
def test_rolled_numbers_are_those_of_the_samples(seed):
    """Resets, gaps, late and repeated points, dirty buckets, cut ranges: the same answers."""
    chance = random.Random(seed)  # noqa: S311 - reproducible
    with open_store() as database:
        for number in range(chance.randint(1, 4)):
            model, points = chance.choice("ab"), some_points(chance)
            add(database, points, model=model)
            add(database, points, "counter", COUNTERS[0], model)
            add_histogram(database, points, (0.5, 1.0 + number % 2), model)
            refresh_due(database.writer, START + timedelta(hours=chance.choice([1, 27, 40])))
        add(database, some_points(chance)[:5], "counter", COUNTERS[0])
        for _ in range(8):
            same_either_way(database, *some_range(chance))


def scraped(database, hours=26, step=15, **gaps):
    """A gauge, a counter with a restart, and a histogram with one."""
    stamps = range(0, hours * 3600, step)
    add(database, [(t, t % 97) for t in stamps])
    add(database, [(t, t % 40_000) for t in stamps], "counter", COUNTERS[0])
    add_histogram(database, [(t, t % 30_000) for t in stamps])


def test_a_day_is_answered_from_roll_ups_alone(database):
    """Whole buckets need no sample at all, and the answers are those of the samples."""
    scraped(database)
    refresh_due(database.writer, LATER)
    with database.reader.snapshot() as snapshot:
        found = split(snapshot, at(3600), at(25 * 3600))
    assert (found.raw, found.rolled) == ((), ((at(3600), at(25 * 3600)),))
    raw = same_either_way(database, 3600, 25 * 3600, 300)
    assert raw["bins"].height == 288
    assert raw["lines"]["series"].to_list() == [1] * 288
    database.writer.run(lambda con: con.execute("DELETE FROM sample")).result()
    assert answers(database, "auto", 3600, 25 * 3600, 300)["bins"].equals(raw["bins"])


def test_a_late_sample_changes_the_step_of_the_next_bucket(database):
    """The last point of a bucket is what the next one starts from, also when it comes late."""
    add(database, [(t, t) for t in range(0, 1800, 15)], "counter", COUNTERS[0])
    refresh_due(database.writer, LATER)
    add(database, [(598, 5.0)], "counter", COUNTERS[0])
    late = same_either_way(database, 0, 1800, 300)["counters"]
    assert late["increase"].sum() == 585 + 5 + (1785 - 5)
    refresh_due(database.writer, LATER)
    rolled = answers(database, "rollup", 0, 1800, 300)["counters"]
    assert_frame_equal(rolled, late)


def test_rates_of_scrapes_further_apart_than_buckets(database):
    """Each step leads over a bucket without a point, and none of them is lost."""
    add(database, [(t, t % 50_000) for t in range(0, 86_400, 700)], "counter", COUNTERS[0])
    refresh_due(database.writer, LATER)
    raw = same_either_way(database, 0, 86_400, 3600)
    assert raw["counters"]["increase"].sum() > 80_000
    assert raw["known"]["seconds"].max() <= 3600 + 700


def test_a_hole_in_the_record_is_no_slow_rate(database):
    """What was counted while nobody looked is unknown when the caller says so."""
    points = [(t, t) for t in (*range(0, 3000, 15), *range(9000, 12_000, 15))]
    add(database, points, "counter", COUNTERS[0])
    refresh_due(database.writer, LATER)
    raw = same_either_way(database, 0, 12_000, 600)
    assert raw["counters"]["increase"].sum() == 11_985
    assert raw["known"]["increase"].sum() == 2 * 2985
    assert raw["rates"]["rate_per_second"].to_list() == pytest.approx([1.0] * 10)


def test_one_point_is_no_rate(database):
    """A counter that was seen once is shown, and what it counted is unknown."""
    add(database, [(10, 7)], "counter", COUNTERS[0])
    refresh_due(database.writer, LATER)
    raw = same_either_way(database, 0, 600, 300)
    assert raw["counters"].select("increase", "seconds").rows() == [(None, None)]
    assert raw["rates"].is_empty()


@pytest.mark.parametrize(("start", "end"), [(3737, 7200), (3737, 25 * 3600), (463, 26 * 3600 - 63)])
def test_a_range_may_cut_buckets(database, start, end):
    """Where it begins, where it ends, and where the last day begins, samples are read."""
    scraped(database)
    refresh_due(database.writer, LATER)
    same_either_way(database, start, end, 300, START + timedelta(hours=26))


def test_few_rows_are_kept(database):
    """Twenty samples of a bucket become one row, and two of a histogram, or so."""
    scraped(database, hours=10, step=15)
    refresh_due(database.writer, LATER)
    gauges, of_counters, histograms = rolled_rows(database)
    assert (gauges, of_counters) == (120, 120)
    assert 240 <= histograms <= 242


def test_both_sides_of_new_edges_are_kept(database):
    """Other edges in the midst of a bucket make a new histogram, though its count goes on."""
    add_histogram(database, [(t, t) for t in range(0, 150, 15)])
    add_histogram(database, [(t, t) for t in range(150, 300, 15)], (0.5, 2.0))
    refresh_due(database.writer, LATER)
    raw = same_either_way(database, 0, 300, 300)["histograms"]
    assert raw["at"].to_list() == [at(0), at(135), at(150), at(285)]


def test_a_late_sample_counts_at_once_and_is_rolled_up_next_time(database):
    """Its bucket is read from the samples until it is counted again."""
    scraped(database)
    refresh_due(database.writer, LATER)
    before = rolled_rows(database)
    assert add(database, [(7201, 1000.0)]) == 1
    dirty = "SELECT bucket_at FROM rollup_sample_dirty"
    assert database.reader.frame(dirty).rows() == [(at(7200),)]
    assert same_either_way(database, 0, 86_400, 300)["bins"]["maximum"].max() == 1000.0
    assert refresh_due(database.writer, LATER).buckets == 1
    assert database.reader.frame(dirty).is_empty()
    assert rolled_rows(database) == before
    assert same_either_way(database, 0, 86_400, 300)["bins"]["maximum"].max() == 1000.0


# Of each bucket the first point, the last, and both sides of every drop, as schema 7 kept them.
OLD_POINTS = """
CREATE OR REPLACE TABLE rollup_counter AS
SELECT series_id, sampled_at, value FROM (
  SELECT *, lag(value) OVER w AS earlier, lead(value) OVER w AS later
  FROM (SELECT p.*, time_bucket(INTERVAL 5 MINUTES, sampled_at) AS bucket_at
    FROM sample AS p JOIN series USING (series_id) WHERE kind = 'counter')
  WINDOW w AS (PARTITION BY series_id, bucket_at ORDER BY sampled_at))
WHERE earlier IS NULL OR later IS NULL OR earlier > value OR later < value
"""


@pytest.mark.parametrize("seed", range(5))
def test_a_store_of_before_is_brought_up_to_date(database, seed):
    """Roll-ups that outlived their samples become what the samples would give today."""
    chance = random.Random(seed)  # noqa: S311 - reproducible
    for model in "ab":
        add(database, some_points(chance), "counter", COUNTERS[0], model)
    refresh_due(database.writer, LATER)
    everything = "SELECT * FROM rollup_counter ORDER BY ALL"
    today = database.reader.frame(everything)
    (step,) = [step for step in migrations() if step.version == 8]
    database.writer.run(lambda con: con.execute(OLD_POINTS)).result()
    database.writer.run(lambda con: con.execute(step.sql)).result()
    assert_frame_equal(database.reader.frame(everything), today)


def test_what_is_sent_again_makes_no_work(database):
    """A resend adds no row and no dirty bucket."""
    add(database, [(t, t) for t in range(0, 7200, 60)])
    refresh_due(database.writer, LATER)
    assert add(database, [(t, t) for t in range(0, 7200, 60)]) == 0
    assert refresh_due(database.writer, LATER).buckets == 0


def test_a_bucket_is_left_alone_until_it_is_over(database):
    """What still comes in is read from the samples."""
    scraped(database, hours=1)
    assert refresh_due(database.writer, START + timedelta(seconds=659)).buckets == 1
    assert refresh_due(database.writer, START + timedelta(seconds=660)).buckets == 1
    assert rolled_rows(database)[0] == 2
    same_either_way(database, 0, 3600, 300)


def test_many_dirty_stretches_are_one_pass_over_the_samples(database):
    """Beyond a number of pieces the roll-up would cost more than it saves."""
    scraped(database)
    refresh_due(database.writer, LATER)
    add(database, [(n * 900 + 1, 7.0) for n in range(MOST_RAW_PIECES + 1)])
    with database.reader.snapshot() as snapshot:
        assert split(snapshot, at(0), at(86_400)).rolled == ()
    same_either_way(database, 0, 86_400, 300)


def test_an_empty_stretch_is_skipped(database):
    """A year without samples is no year of work."""
    add(database, [(0, 1.0), (365 * 86_400, 2.0)])
    writer = database.writer
    portions = [
        writer.run(lambda con: refresh(con, now=LATER + timedelta(days=400))).result()
        for _ in range(4)
    ]
    assert [done.buckets for done in portions] == [1, 1, 0, 0]
    assert refresh_due(database.writer, LATER).buckets == 0


def test_work_comes_in_portions(database):
    """A store that was never rolled up is so bit by bit, oldest first."""
    scraped(database, hours=4)
    one = database.writer.run(lambda con: refresh(con, now=LATER, most_samples=1)).result()
    assert (one.buckets, one.buckets_left) == (1, True)
    same_either_way(database, 0, 4 * 3600, 300)
    more = database.writer.run(lambda con: refresh(con, now=LATER)).result()
    assert more.buckets == PORTION_BUCKETS
    same_either_way(database, 0, 4 * 3600, 300)


def test_a_failed_portion_leaves_nothing_behind(database):
    """One transaction: what was cut short is done again, and nothing is counted twice."""
    scraped(database, hours=2)

    def cut_short(connection):
        refresh(connection, now=LATER)
        raise KeyError("stop")

    with pytest.raises(KeyError):
        database.writer.run(cut_short).result()
    assert rolled_rows(database) == [0, 0, 0]
    refresh_due(database.writer, LATER)
    add(database, [(30 * 60 + 1, 3.0)])
    assert database.reader.scalar("SELECT count(*) FROM rollup_sample_dirty") == 1
    same_either_way(database, 0, 7200, 300)


def test_an_empty_store_has_nothing_to_roll_up(database):
    """Without a sample nothing is done and nothing is shown."""
    assert refresh_due(database.writer, LATER).buckets == 0
    assert same_either_way(database, 0, 3600, 300)["bins"].is_empty()


def test_roll_ups_outlive_the_samples(database):
    """Raw samples may go; panels of before look the same, whatever their bins."""
    keep = StoreSettings(sample_retention_days=5, sample_rollup_retention_days=20)
    scraped(database)
    now = START + timedelta(days=7)
    before = answers(database, "raw", 3600, 25 * 3600, 300)
    assert delete_old(database.writer, keep, now).sample > 0
    assert database.reader.scalar("SELECT count(*) FROM sample") == 0
    after = answers(database, "auto", 3600, 25 * 3600, 300)
    for name, frame in before.items():
        assert_frame_equal(after[name], frame)
    odd = answers(database, "raw", 3600 + 7, 25 * 3600 + 7, 600)
    assert odd["bins"].height == 144
    assert odd["counters"].height > 100
    assert delete_old(database.writer, keep, START + timedelta(days=30)).rollup_gauge > 0
    assert rolled_rows(database) == [0, 0, 0]


def test_a_straggler_does_not_undo_what_was_counted(database):
    """A point older than the samples there are cannot replace a bucket that held many."""
    keep = StoreSettings(sample_retention_days=5)
    add(database, [(t, 10.0) for t in range(0, 600, 15)])
    now = START + timedelta(days=7)
    delete_old(database.writer, keep, now)
    add(database, [(31, 99.0), (4 * 3600, 5.0)])
    delete_old(database.writer, keep, now)
    assert database.reader.scalar("SELECT count(*) FROM rollup_sample_dirty") == 0
    bins = answers(database, "auto", 0, 86_400, 300)["bins"].sort("latest_at")
    assert bins["mean"].to_list() == [10.0, 10.0, 5.0]


def test_roll_ups_are_kept_at_least_as_long_as_samples(database):
    """A setting that would leave a hole is read as the samples' own."""
    keep = StoreSettings(sample_retention_days=5, sample_rollup_retention_days=1)
    now = START + timedelta(days=3)
    scraped(database, hours=2)
    assert delete_old(database.writer, keep, now).total == 0
    assert rolled_rows(database)[0] == 24


# Some batches are late, and fall into buckets that are rolled up already.
CHILD = """
import random, sys
from datetime import timedelta
from pathlib import Path
sys.path.insert(0, {here!r})
from test_sample_rollup import START, add
from store.clock import WallClock
from store.database import Database
from store.sample_rollup import refresh_due
from store.settings import StoreSettings
from store.targets import register
chance = random.Random({seed})
database = Database.open(Path({path!r}), StoreSettings(), WallClock())
register(database.writer, "http://gpu-1:8000/metrics", START).result()
now = database.reader.scalar("SELECT count(*) FROM sample") * 20
while True:
    now += 400
    late = now - chance.choice([0, 0, 3600]) - chance.random()
    add(database, [(late + t, t % 7) for t in range(0, 400, 20)])
    add(database, [(late + t, t % 90) for t in range(0, 400, 20)], "counter", "prompt_tokens_total")
    refresh_due(database.writer, START + timedelta(seconds=now - 700))
    print(now, flush=True)
"""


def gauges_and_counters(database, use):
    span = (START, START + timedelta(hours=23), 600)
    gauges = telemetry.gauge_lines(database.reader, ["requests_running"], *span, use=use)
    return gauges, counters.counter_steps(database.reader, ["prompt_tokens_total"], *span, use=use)


@pytest.mark.slow
def test_roll_ups_survive_a_kill(tmp_path):
    """Whatever was cut short, the answers are those of the samples, before and after the rest."""
    path = tmp_path / "a.duckdb"
    chance = random.Random(7)  # noqa: S311 - reproducible
    for seed in range(3):
        code = CHILD.format(here=str(Path(__file__).parent), path=str(path), seed=seed)
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
            for _ in range(20):
                assert child.stdout.readline()
            try:
                child.wait(chance.uniform(0.0, 0.4))
            except subprocess.TimeoutExpired:
                child.kill()
        with Database.open(path, StoreSettings(), WallClock()) as database:
            for _ in range(2):
                pairs = [gauges_and_counters(database, use) for use in ("rollup", "raw")]
                for rolled, raw in zip(*pairs, strict=True):
                    assert raw.height > 0
                    assert_frame_equal(rolled, raw, check_exact=False)
                refresh_due(database.writer, LATER)
