"""The fleet page: its tiles, its models, its instances, and the checklist of the first day."""

from __future__ import annotations

import json
from dataclasses import replace

import polars as pl
import pytest

from analysis.first_steps import STEPS_SCHEMA
from analysis.measure import Empty, Measure
from dashboard.pages import first_steps, fleet, fleet_instances, fleet_models, fleet_tiles
from dashboard.scene import scene_of
from dashboard.url_state import parse


def words(component) -> str:
    """A component as text, for looking at."""
    return json.dumps(component, default=lambda c: c.to_plotly_json(), ensure_ascii=False)


@pytest.fixture
def scene(fake):
    """The page of the live fleet."""
    return scene_of(fake.services(), parse("/ui/", "", "/ui/"), "/ui/")


@pytest.fixture
def view(fake):
    """Its numbers."""
    return fake.view("fleet", {})


@pytest.fixture
def models(fake):
    """Its workloads."""
    return fake.view("fleet_models", {})


def with_measures(view, **changes):
    """The view with other numbers."""
    return replace(view, measures={**view.measures, **changes})


def test_there_are_eight_tiles_each_leading_on(view, scene):
    """Even rows, and one click from a number to the page that explains it."""
    tiles = fleet_tiles.row(view, scene).children
    assert len(tiles) == 8
    assert all(tile.href.startswith("/ui/") for tile in tiles)
    assert all("data:image/svg+xml" in words(tile) for tile in tiles)


def test_tokens_are_told_both_ways(view, scene):
    """Input beside output, in this order; a side that is unknown is no zero."""
    text = words(fleet_tiles.row(view, scene))
    assert "51.2k + 9,120" in text
    unknown = with_measures(
        view, input_tokens_per_second=Measure(None, "tokens/s", why="no input length")
    )
    text = words(fleet_tiles.row(unknown, scene))
    assert "? + 9,120" in text
    assert "input: no input length" in text


def test_failures_are_told_apart_where_they_are_known(view, scene):
    """Whose doing it was; what nothing counts apart is said, never 0 %."""
    text = words(fleet_tiles.row(view, scene))
    assert "0.1 % failed (5xx), 0.3 % refused (429), aborted by the client not told apart" in text
    blind = with_measures(
        view, error_ratio=Measure(None, "ratio", why="this format records no failures")
    )
    assert "not told apart" not in words(fleet_tiles.row(blind, scene))


def test_wanted_replicas_never_pass_for_running_ones(view, scene):
    """The number is of those that serve; what is wanted and starting stands below it."""
    text = words(fleet_tiles.row(view, scene))
    assert "of 6 instances, 1 starting, 7 wanted by the controller, 1 not ready" in text
    free = with_measures(
        view,
        replicas_starting=Measure(None, "replicas", why="no pool"),
        replicas_target=Measure(None, "replicas", why="no pool"),
    )
    tile = fleet_tiles.row(free, scene).children[6]
    assert "wanted" not in words(tile)
    assert tile.href.startswith("/ui/admin")


def test_models_have_a_course_and_their_replicas(fake, models, scene):
    """The picture says in words what it shows; unknown is a dash."""
    text = words(fleet_models.models_card(models, scene, fake.services()).card)
    assert "4 / 6, 1 starting" in text
    assert "1 / \N{EN DASH}" in text
    assert '"alt": "between' in text
    assert "Ready / wanted" in text


def test_a_trace_has_no_queues_and_no_replicas(fake, models):
    """Columns that only a live fleet can fill are not drawn empty."""
    scene = scene_of(fake.services(), parse("/ui/", "?source=azure-2023-conv", "/ui/"), "/ui/")
    text = words(fleet_models.models_card(models, scene, fake.services()).card)
    assert "Ready / wanted" not in text
    assert "Requests/s over time" in text


def test_an_instance_known_from_rows_is_not_called_down(view, scene):
    """Rows tell what it did; whether it answers now is another matter."""
    frame = view.frames["instances"].head(1).with_columns(state=pl.lit("recorded"))
    shown = replace(view, frames={**view.frames, "instances": frame})
    text = words(fleet_instances.instances_card(shown, scene).card)
    assert "is-down" not in text
    assert "recorded" in text


def test_all_ways_to_fail_are_lines_of_one_chart(view, scene):
    """A way that nothing counts has no line at zero."""
    chart = next(chart for chart in fleet.FURTHER_CHARTS if chart.key == "errors")
    picture = chart.draw(view.frames["sparklines"], scene.look)
    names = [trace["name"] for trace in picture.figure["data"]]
    assert names == ["all", "failed (5xx)", "refused (429)"]
    assert picture.figure["layout"]["yaxis"]["rangemode"] == "tozero"


def steps(view, *done):
    """The checklist after some steps."""
    rows = [(name, name in done, name) for name in ("source", "records", "objective")]
    left = Measure(float(3 - len(done)), "")
    frame = pl.DataFrame(rows, schema=STEPS_SCHEMA, orient="row")
    return replace(view, measures={"left": left}, frames={"steps": frame}, empty=None)


def test_the_checklist_ticks_itself_and_goes(fake, view, scene):
    """What comes next is marked, and has the link; all done leaves nothing behind."""
    services = fake.services()
    text = words(first_steps.body(steps(view), scene, services))
    assert text.count("(to do)") == 3
    text = words(first_steps.body(steps(view, "source", "records"), scene, services))
    assert text.count("(done)") == 2
    assert text.count("aria-current") == 1
    assert "/ui/slo" in text
    assert first_steps.body(steps(view, "source", "records", "objective"), scene, services) == []
    away = replace(view, measures={}, empty=Empty("nothing_connected", "No source yet."))
    assert first_steps.body(away, scene, services) == []
