"""Courses of two tiles of the Fleet page: the budget that is left, and replicas that answered."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from analysis.fleet import fleet
from analysis.slo_model import Slo
from analysis.slo_views import slo_detail
from store.queries.scope import Scope
from store.targets import remove

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = Scope((1,), NOW - timedelta(hours=1), NOW)
ANSWERS = Slo("answers", "availability", 0.9, 7200.0)
CALM = Slo("calm", "availability", 0.5, 7200.0)


def test_the_budget_line_is_the_end_of_that_on_the_page_of_the_objective(database, add_requests):
    """Of the one that has least left; its last point is the number of the tile."""
    ago = [20.0 * i + 1 for i in range(360)]
    add_requests(ago, status=["failed" if a < 1800 and i % 3 == 0 else "ok"
                              for i, a in enumerate(ago)])  # fmt: skip
    view = fleet(database.reader, HOUR, slos=[CALM, ANSWERS])
    line = view.frames["budget_line"]
    assert line.height > 10
    assert line["at"].to_list()[0] > datetime(2026, 3, 1, 11)
    left = view.measures["lowest_budget_left_ratio"].value
    assert line["budget_left_ratio"].to_list()[-1] == pytest.approx(left)
    shown = slo_detail(database.reader, HOUR, slos=[ANSWERS], slo="answers").frames["budget"]
    both = line.join(shown, on="at", suffix="_shown")
    assert both.height > 1
    assert both["budget_left_ratio"].to_list() == pytest.approx(
        both["budget_left_ratio_shown"].to_list()
    )
    assert fleet(database.reader, HOUR, slos=[]).frames["budget_line"].is_empty()


def test_replicas_are_counted_while_they_answered(database, add_target):
    """Told through two doors it is one; one that was removed since did answer until then."""
    add_target("http://gpu-1:8000/metrics", requests_running=1)
    add_target("remote-write://vllm/gpu-1:8000", requests_running=1)
    gone = "http://gpu-2:8000/metrics"
    add_target(gone, requests_running=1, last_failed=180)
    remove(database.writer, gone, NOW - timedelta(minutes=20)).result()
    add_target("gpu://node-1", engine=None, model=None, gpu_power_watts=400.0)
    line = fleet(database.reader, HOUR, slos=[]).frames["ready_line"]
    assert line["instances_ready"].to_list() == [2] * 6 + [1] * 6
    assert line.schema == {"at": pl.Datetime("us"), "instances_ready": pl.Int64}
    # An hour before, nobody was asked: a gap, and no line over it.
    longer = Scope((1,), HOUR.start - timedelta(minutes=10), NOW)
    before = fleet(database.reader, longer, slos=[]).frames["ready_line"]
    assert before["instances_ready"].to_list()[:3] == [None, None, 2]
    # What the range cuts in two would look like an outage.
    cut = Scope((1,), HOUR.start + timedelta(minutes=2), NOW - timedelta(minutes=2))
    assert fleet(database.reader, cut, slos=[]).frames["ready_line"].height == 10


def test_rows_alone_tell_of_no_replica(database, add_requests):
    """A fleet that nobody scrapes has no such course."""
    add_requests([10.0, 20.0], instance="gpu-1:8000")
    assert fleet(database.reader, HOUR, slos=[]).frames["ready_line"].is_empty()
