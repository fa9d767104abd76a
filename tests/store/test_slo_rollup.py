import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store import rollup, slo_rollup
from store.clock import VirtualClock
from store.database import Database
from store.queries import slo, slo_plan, slo_rolled
from store.queries.scope import Scope
from store.queries.slo import GoodRule
from store.queries.slo_cells import read_cells
from store.queries.slo_plan import Stretch
from store.settings import StoreSettings

NOW = datetime(2026, 3, 1, 12, 3, 27, tzinfo=UTC)
DAY = timedelta(days=1)
RULES = (
    GoodRule(),
    GoodRule({"ttft_seconds": 1.0}),
    GoodRule({"ttft_seconds": 1.0, "tpot_seconds": 0.05}, {"model": ("a",)}, (), False),
    GoodRule({"ttft_seconds": 1.0}, {}, (7,)),
)


@pytest.fixture
def database() -> Iterator[Database]:
    with Database.open(None, StoreSettings(threads=1), VirtualClock(NOW)) as opened:
        yield opened


call = itertools.count()


def add(database, ago_seconds):
    number = next(call)
    kinds = ["ok", "ok", "ok", "failed", "aborted"]
    rows = [
        {
            "request_id": f"{number}-{i}",
            "arrived_at": (NOW - timedelta(seconds=ago)).replace(tzinfo=None),
            "status": kinds[i % 5],
            "model": ["a", "b", None][i % 3],
            "tenant": f"t{i % 2}",
            "input_tokens": [10, 1000, None, 70_000][i % 4],
            "ttft_seconds": [0.5, 1.0, 1.5, None][i % 4],
            "tpot_seconds": [0.04, 0.06, None][i % 3],
            "is_counted": [True, None, False][i % 3],
        }
        for i, ago in enumerate(ago_seconds)
    ]
    database.writer.append("request", pl.DataFrame(rows, infer_schema_length=None)).result()


def roll(database):
    rollup.refresh_due(database.writer, NOW)
    return slo_rollup.refresh_due(database.writer, RULES)


def totals(frame):
    return frame.group_by("rule").agg(pl.all().exclude("bin").sum()).sort("rule").to_dicts()


def both(database, scope, window=3 * DAY, width=300):
    asked = (database.reader, scope, RULES, scope.end - window, scope.end, width)
    return slo.counts(*asked), slo_rolled.counts(*asked)


def scope(**labels):
    return Scope((1,), NOW - 3 * DAY, NOW, **labels)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(0.001, 5 * 86_400), min_size=1, max_size=80))
def test_totals_are_those_of_the_raw_rows(ago_seconds):
    """A budget from the roll-up is the budget from the rows, to the last request."""
    with Database.open(None, StoreSettings(threads=1), VirtualClock(NOW)) as database:
        add(database, ago_seconds)
        roll(database)
        for labels in ({}, {"models": ("a",)}, {"tenants": ("t1",)}):
            raw, rolled = both(database, scope(**labels))
            assert totals(raw) == totals(rolled)
            assert rolled.filter(pl.col("bin") < 60).equals(raw.filter(pl.col("bin") < 60))


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.floats(0.1, 4.5), st.floats(0.1, 30))
def test_what_one_counts_does_not_depend_on_who_else_asks(late, days, exact_hours):
    """A stretch read beside others has the counts that it has alone, bin by bin."""
    since = NOW - days * DAY
    stretches = [
        Stretch(NOW - 3 * DAY, (NOW - 2 * DAY, since)),
        Stretch(since),
        Stretch(NOW - 4 * DAY, (), NOW - timedelta(hours=exact_hours)),
    ]
    cells = read_cells(late.reader, scope(), RULES, stretches, NOW, 300)
    for place, one in enumerate(stretches):
        asked = (late.reader, scope(), RULES, one.start, NOW, 300)
        alone = slo_rolled.counts(*asked, edges=one.edges, raw_since=one.raw_since)
        assert cells.counts(place).equals(alone)
    anchor = NOW.replace(minute=10, second=0)
    asked = (late.reader, scope(), RULES, since, NOW, 600)
    assert cells.in_bins(1, anchor, 600).equals(slo.counts(*asked, anchor=anchor))


@pytest.fixture
def late(database):
    """A store with rows of five days, some of which came after the job."""
    add(database, [431.0 * i + 1 for i in range(1000)])
    roll(database)
    add(database, [86_400.0 + i for i in range(5)])
    return database


def test_a_bucket_counts_in_the_bin_of_its_middle(database):
    """In bins of whole buckets nothing moves: every bin is what the rows say."""
    add(database, [431.0 * i + 1 for i in range(500)])
    roll(database)
    whole = NOW.replace(minute=0, second=0)
    asked = (database.reader, scope(), RULES, whole - 2 * DAY, whole, 600)
    assert slo_rolled.counts(*asked).equals(slo.counts(*asked))


def test_the_roll_up_is_really_used(database):
    """After the job most of the window is no longer read from the rows."""
    add(database, [600.0 * i + 1 for i in range(700)])
    done = roll(database)
    assert (done.buckets > 0, done.more) == (True, False)
    with database.reader.snapshot() as snapshot:
        whole = Stretch(NOW - 3 * DAY)
        plan = slo_plan.plans_for(snapshot, scope(), RULES, [whole], NOW).read
    rolled = sum((high - low for low, high in plan.rolled), timedelta())
    assert rolled > timedelta(days=2.5)
    assert plan.raw[-1][1] == NOW.replace(tzinfo=None)


def test_late_rows_are_counted_at_once_and_after_the_next_job(database):
    """A request that arrives a day late is in the very next answer, rolled up or not."""
    add(database, [600.0 * i + 1 for i in range(400)])
    roll(database)
    before, _ = both(database, scope())
    add(database, [86_400.0 + i for i in range(5)])
    for _ in range(2):
        raw, rolled = both(database, scope())
        assert totals(raw) == totals(rolled) != totals(before)
        roll(database)


def test_a_new_objective_is_true_before_it_is_rolled_up(database):
    """Editing slo.toml never shows a half-counted budget."""
    add(database, [600.0 * i + 1 for i in range(400)])
    roll(database)
    new = [GoodRule({"ttft_seconds": 0.7})]
    asked = (database.reader, scope(), new, NOW - 3 * DAY, NOW, 300)
    assert totals(slo.counts(*asked)) == totals(slo_rolled.counts(*asked))


def test_counts_of_forgotten_objectives_are_dropped(database):
    """The table holds the rules in force and no others; a second run does nothing."""
    add(database, [600.0 * i + 1 for i in range(50)])
    roll(database)
    assert slo_rollup.refresh_due(database.writer, RULES).buckets == 0
    slo_rollup.refresh_due(database.writer, RULES[:1])
    keys = database.reader.frame("SELECT DISTINCT rule_key FROM rollup_slo")["rule_key"].to_list()
    assert keys == [slo_rollup.rule_key(RULES[0])]


def test_two_kinds_of_labels_are_answered_from_the_rows(database):
    """What the roll-up cannot tell is not guessed from it."""
    add(database, [600.0 * i + 1 for i in range(400)])
    roll(database)
    raw, rolled = both(database, scope(models=("a",), tenants=("t1",)))
    assert raw.equals(rolled)


def test_who_spent_it_is_the_same_from_both(database):
    """Shares by model, tenant, length and hour do not depend on where they were counted."""
    add(database, [600.0 * i + 1 for i in range(400)])
    asked = (database.reader, scope(), RULES, NOW - 3 * DAY, NOW)
    raw = slo_rolled.spent(*asked)
    roll(database)
    rolled = slo_rolled.spent(*asked)
    assert raw.equals(rolled)
    few = slo_rolled.spent(*asked, ("model",))
    assert few.equals(raw.filter(pl.col("dimension") == "model"))
    assert set(raw["dimension"]) == {"model", "tenant", "input_octave", "hour"}
    # What comes in counts at once, before and after it is rolled up, however young it is.
    add(database, [30.0, 700.0, 7000.0])
    late = slo_rolled.spent(*asked)
    assert late.filter(dimension="model")["good"].sum() != few["good"].sum()
    roll(database)
    assert slo_rolled.spent(*asked).equals(late)


def test_a_key_stands_for_the_meaning_of_a_rule():
    """Order of labels and the sources do not matter; thresholds do."""
    one = GoodRule({"ttft_seconds": 1.0}, {"model": ("a", "b")}, (1,))
    same = GoodRule({"ttft_seconds": 1.0}, {"model": ("b", "a")}, (2,))
    assert slo_rollup.rule_key(one) == slo_rollup.rule_key(same)
    assert slo_rollup.rule_key(one) != slo_rollup.rule_key(GoodRule({"ttft_seconds": 1.1}))
