"""An objective that is new, and a store that takes too long to read for it."""

from datetime import UTC, datetime, timedelta

import pytest

from analysis.alerts.rules_slo import judged
from analysis.burn import AlertRule
from analysis.fleet import fleet
from analysis.fleet_models import fleet_models
from analysis.slo_counting import count, good_rule
from analysis.slo_model import Slo
from analysis.slo_views import slo_detail, slo_list
from store import rollup, slo_rollup
from store.errors import QueryTimeout
from store.queries import slo as raw_queries
from store.queries.scope import Scope

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DAY = 86_400.0
OLD = Slo("old", "ttft", 0.9, 3 * DAY, ttft_seconds=1.0)
PAGE = AlertRule("page", 3600.0, 300.0, 10.0)
NEW = Slo("new", "ttft", 0.9, 3 * DAY, ttft_seconds=0.7, alerts=(PAGE,))
SCOPE = Scope((1,), NOW - timedelta(days=3), NOW)


@pytest.fixture
def reader(database, add_requests):
    """Three days of requests, counted for one objective and not for the other."""
    add_requests([7000.0 * n + 1 for n in range(37)], ttft_seconds=0.8, model="chat")
    rollup.refresh_due(database.writer, NOW)
    slo_rollup.refresh_due(database.writer, [good_rule(OLD, {})])
    return database.reader


@pytest.fixture
def slow(reader, monkeypatch):
    """Rows of more than a day cannot be read in time."""

    def limited(name):
        read = getattr(raw_queries, name)

        def within_a_day(reader, scope, rules, spans, *others, **given):
            if any(raw_queries.naive_utc(b) - raw_queries.naive_utc(a) > timedelta(days=1)
                   for a, b in spans):  # fmt: skip
                raise QueryTimeout("the query was stopped after 10 s")
            return read(reader, scope, rules, spans, *others, **given)

        monkeypatch.setattr(raw_queries, name, within_a_day)

    limited("counted_by")
    limited("spenders")
    return reader


def test_a_new_objective_leaves_the_others_their_numbers(slow):
    """The list and the Fleet page stand; only the new one is still being counted."""
    alone = slo_list(slow, SCOPE, slos=[OLD]).frames["slos"].row(0, named=True)
    both = slo_list(slow, SCOPE, slos=[OLD, NEW]).frames["slos"]
    rows = {row["name"]: row for row in both.iter_rows(named=True)}
    assert rows["old"] == alone
    assert (alone["attempted"], alone["status"]) == (37, "healthy")
    assert rows["new"]["status"] == "no data"
    assert rows["new"]["why"].startswith("still being counted")
    assert rows["new"]["attainment_ratio"] is None
    view = fleet(slow, SCOPE, slos=[OLD, NEW])
    assert view.measures["lowest_budget_left_ratio"].value == 1.0
    models = fleet_models(slow, SCOPE, slos=[OLD, NEW]).frames["models"]
    assert models["attainment_ratio"].to_list() == [1.0]


def test_its_own_page_says_so_and_draws_no_zeros(slow):
    """Nothing that is not counted yet is shown as no requests."""
    view = slo_detail(slow, SCOPE, slos=[OLD, NEW], slo="new")
    assert "still being counted" in view.empty.text
    for name in ("budget", "burn", "events"):
        frame = view.frames[name]
        assert all(frame[column].null_count() == frame.height for column in frame.columns[1:])
    assert view.frames["spent_by"].is_empty()


def test_its_alerts_are_unknown(slow):
    """Nobody is told that it is calm."""
    (found,) = count(slow, [NEW], SCOPE)
    reading = judged(NEW, found, "page")
    assert reading.active is None
    assert "still being counted" in reading.summary


def test_where_rows_are_read_in_time_it_has_numbers_at_once(reader):
    """Among others and alone alike."""
    both = slo_list(reader, SCOPE, slos=[OLD, NEW]).frames["slos"]
    found = {row["name"]: (row["good"], row["attempted"]) for row in both.iter_rows(named=True)}
    assert found == {"old": (37, 37), "new": (0, 37)}
    view = slo_detail(reader, SCOPE, slos=[OLD, NEW], slo="new")
    assert view.frames["events"]["bad"].sum() == 37
    models = fleet_models(reader, SCOPE, slos=[OLD, NEW]).frames["models"]
    assert models["attainment_ratio"].to_list() == [0.0]
