"""Replicas that are wanted beside those that serve; ways to fail; the course of each model."""

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from analysis.fleet import fleet
from analysis.fleet_models import fleet_models
from store import decisions
from store.decisions import DecisionRow, ObservationRow
from store.queries.scope import Scope

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def decide(database, pool="chat", instances=("gpu-1:8000",), *, ago=10.0, starting=1, target=3):
    """One step of the controller that sees these replicas."""
    at = (NOW - timedelta(seconds=ago)).replace(tzinfo=None)
    replicas = [[name, "ready", 5.0] for name in instances]
    content = json.dumps({"observation": {"pools": [{"name": pool, "replicas": replicas}]}})
    number = decide.number = getattr(decide, "number", 0) + 1
    seen = ObservationRow(number, at, "f", "risk", "{}", "c", None, None, content, "{}")
    row = DecisionRow(
        number, number, at, pool, "risk", "dry-run", "up", target, 9, 9, len(instances), starting,
        0, "", "rate", "41 requests/s",
    )  # fmt: skip
    decisions.keep(database.writer, [seen, row]).result()


def test_wanted_replicas_stand_beside_those_that_serve(database, add_target, live_scope):
    """What a rehearsed policy would like is not what anybody asked for."""
    add_target("http://gpu-1:8000/metrics", requests_running=1)
    add_target("http://gpu-2:8000/metrics", model="other")
    decide(database)
    view = fleet(database.reader, live_scope, slos=[])
    assert view.measures["replicas_target"].value == 3.0
    assert view.measures["replicas_starting"].value == 1.0
    models = fleet_models(database.reader, live_scope, slos=[]).frames["models"]
    models = {row["workload"]: row for row in models.to_dicts()}
    mine, other = models["m"], models["other"]
    assert (mine["instances_ready"], mine["replicas_starting"], mine["replicas_target"]) == (
        1,
        1,
        3,
    )
    assert (other["instances_ready"], other["replicas_target"]) == (1, None)
    only = Scope((1,), live_scope.start, NOW, models=("other",))
    measure = fleet(database.reader, only, slos=[]).measures["replicas_target"]
    assert (measure.value, measure.why) == (None, "no pool of replicas is under the controller")


def test_a_model_that_others_serve_too_has_no_known_target(database, add_target, live_scope):
    """Three wanted in the pool are not three wanted of the model."""
    for number in (1, 2):
        add_target(f"http://gpu-{number}:8000/metrics", requests_running=1)
    decide(database)
    (model,) = fleet_models(database.reader, live_scope, slos=[]).frames["models"].to_dicts()
    assert (model["instances_ready"], model["instances_known"]) == (2, 2)
    assert model["replicas_target"] is None


def test_a_pool_that_nobody_looks_after_any_more_wants_nothing(database, add_target, live_scope):
    """A decision of yesterday is no target of today."""
    add_target("http://gpu-1:8000/metrics", requests_running=1)
    decide(database, ago=7200.0)
    assert fleet(database.reader, live_scope, slos=[]).measures["replicas_target"].value is None


def test_failures_are_told_apart(database, add_requests, live_scope):
    """Faults, refusals and clients that left add up to all that came to nothing."""
    add_requests([10.0 + i for i in range(80)], model="m")
    for status, count in (("failed", 10), ("refused", 8), ("aborted", 2)):
        add_requests([20.0 + i for i in range(count)], model="m", status=status)
    view = fleet(database.reader, live_scope, slos=[])
    names = ("failed_ratio", "refused_ratio", "aborted_ratio")
    assert [view.measures[name].value for name in names] == [0.1, 0.08, 0.02]
    assert view.measures["error_ratio"].value == pytest.approx(0.2)
    assert view.measures["failed_ratio"].low < 0.1 < view.measures["failed_ratio"].high
    lines = view.frames["sparklines"].drop_nulls("error_ratio")
    parts = sum(lines[name] for name in names)
    assert parts.to_list() == pytest.approx(lines["error_ratio"].to_list())


def test_a_way_to_fail_that_no_engine_counts_is_unknown(database, add_target, live_scope):
    """An engine that counts aborted requests only has no known share of faults."""
    add_target("http://gpu-1:8000/metrics", requests_finished_total__stop=18,
               requests_finished_total__abort=2)  # fmt: skip
    view = fleet(database.reader, live_scope, slos=[])
    assert view.measures["aborted_ratio"].value == pytest.approx(0.1)
    assert view.measures["failed_ratio"].value is None
    assert view.measures["failed_ratio"].why == "no engine here counts these apart"
    assert view.frames["sparklines"]["refused_ratio"].null_count() == len(view.frames["sparklines"])
    assert view.frames["sparklines"]["aborted_ratio"].drop_nulls().max() == pytest.approx(0.1)


def test_each_model_has_a_course(database, add_requests, add_target, live_scope):
    """From rows where there are any, else from counters; a quiet model is at a true zero."""
    add_requests([1.0 + i for i in range(1000)], model=["a", "b"] * 500)
    add_requests([1.0], model="c")
    add_target("http://gpu-1:8000/metrics", model="d", requests_finished_total__stop=20)
    lines = fleet_models(database.reader, live_scope, slos=[]).frames["model_lines"]
    courses = {name[0]: part["requests_per_second"] for name, part in lines.group_by("workload")}
    assert set(courses) == {"a", "b", "c", "d"}
    assert courses["a"][-2] == pytest.approx(0.5, rel=0.01)
    assert courses["c"][-2] == 0.0
    assert courses["a"][0] is None
    assert courses["d"][-2] == pytest.approx(2.0)


def test_requests_tell_the_model_of_an_engine_that_does_not(
    database, add_requests, add_target, live_scope
):
    """Its replicas count for that model."""
    add_target("http://gpu-1:8000/metrics", model=None, requests_running=1)
    add_requests([5.0, 6.0], model="m", instance="gpu-1:8000")
    models = fleet_models(database.reader, live_scope, slos=[]).frames["models"]
    (model,) = models.filter(pl.col("workload") == "m").to_dicts()
    assert (model["instances_ready"], model["instances_known"]) == (1, 1)


def test_both_views_of_the_page_read_the_scrapes_once(database, add_target, live_scope):
    """What one of them read the other takes, where somebody keeps it."""
    add_target("http://gpu-1:8000/metrics", requests_finished_total__stop=20)
    kept, made = {}, []

    def sharing(key, make, *, is_told=False):
        if key not in kept:
            made.append(key)
            kept[key] = make()
        return kept[key]

    fleet(database.reader, live_scope, slos=[], sharing=sharing)
    seen = len(made)
    view = fleet_models(database.reader, live_scope, slos=[], sharing=sharing)
    assert len(made) == seen
    alone = fleet_models(database.reader, live_scope, slos=[])
    assert view.frames["models"].equals(alone.frames["models"])
    assert alone.frames["models"]["requests_per_second"].to_list() == pytest.approx([2.0])


def test_events_of_the_page_are_those_of_its_charts(database, live_scope, add_requests):
    """Targets that came are told as well, and the newest thing stands first."""
    add_requests([5.0])
    decide(database)
    for version, ago in enumerate((600, 60)):
        at = (NOW - timedelta(seconds=ago)).replace(tzinfo=None)
        row = decisions.ChangeRow(
            version, at, "chat", "freeze", None, None, None, "ana", f"at {ago}"
        )
        decisions.keep(database.writer, [row]).result()
    events = fleet(database.reader, live_scope, slos=[]).frames["events"]
    assert events["kind"].to_list() == ["freeze", "freeze"]
    assert events["text"][0].endswith("at 60")
