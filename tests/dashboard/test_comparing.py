"""A page beside the period before, another model or another source."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.measure import Measure, View
from dashboard.cards import Chart, chart_card
from dashboard.comparing import Beside, Comparison, with_words
from dashboard.figures.base import Look, Picture, axis, layout, line, time_axis
from dashboard.figures.overlay import overlaid
from dashboard.figures.series import over_time
from dashboard.panels import answer
from dashboard.routes import page_of
from dashboard.rows_beside import rows_beside
from dashboard.scene import scene_of
from dashboard.url_state import parse
from store.queries.scope import Scope

NOON = datetime(2026, 11, 20, 12)


def scene_at(fake, path, search):
    return scene_of(fake.services(), parse(path, search, "/ui/"), "/ui/")


def text_of(bodies):
    return json.dumps(bodies, default=lambda part: part.to_plotly_json(), ensure_ascii=False)


def test_the_period_before_is_as_long_and_ends_where_this_one_begins(fake):
    """Its times are moved, so that both begin together."""
    scene = scene_at(fake, "/ui/", "?from=now-2h&to=now-1h&cmp=prev&model=qwen3-32b")
    other = scene.comparison.scope
    assert (other.start, other.end) == (scene.scope.start - timedelta(hours=1), scene.scope.start)
    assert other.models == ("qwen3-32b",)
    assert scene.comparison.shift == timedelta(hours=1)


def test_another_model_is_seen_over_the_same_range(fake):
    """Its name may hold a comma; the first series keeps its own filter."""
    scene = scene_at(fake, "/ui/", r"?model=qwen3-32b&tenant=acme&cmp=model:a,b")
    assert scene.comparison.scope.models == ("a,b",)
    assert scene.comparison.scope.tenants == ("acme",)
    assert scene.comparison.scope.start == scene.scope.start
    assert scene.scope.models == ("qwen3-32b",)


def test_another_source_begins_with_this_one_whatever_its_clock(fake):
    """A trace beside the live fleet: it has neither the range nor the labels of the fleet."""
    scene = scene_at(fake, "/ui/", "?from=now-1h&model=qwen3-32b&cmp=source:azure-2023-conv")
    other = scene.comparison.scope
    assert other.source_ids == (2,)
    assert other.models == ()
    assert other.start + scene.comparison.shift == scene.scope.start


@pytest.mark.parametrize("text", ["yesterday", "model:", "source:nobody"])
def test_what_cannot_be_compared_is_said(fake, text):
    """In the words of any other mistake in an address."""
    scene = scene_at(fake, "/ui/", f"?cmp={text}")
    assert scene.trouble is not None
    assert scene.trouble.hint


@pytest.mark.parametrize(
    ("path", "search"),
    [("/ui/", "?cmp=prev"), ("/ui/slo/chat-ttft", "?cmp=model:qwen3-32b"),
     ("/ui/workload", "?source=azure-2023-conv&cmp=source:azure-2023-code")],
)  # fmt: skip
def test_every_page_shows_the_second_series_in_pictures_tiles_and_tables(fake, path, search):
    """Dashed and named; each table has a column of its own for it; CSV and API stay ours."""
    services = fake.services()
    scene = scene_at(fake, path, f"{search}&table=rate")
    bodies = [
        answer(panel, scene, services, None, beat=False)[0]
        for panel in page_of(scene.address).panels
    ]
    name, text = scene.comparison.name, text_of(bodies)
    assert '"dash": "3px,3px"' in text
    assert f"Dashed, {name}" in text
    assert f'"children": "{name}"' in text  # the second head of a column
    assert f"{name}: " in text  # a tile's note


def picture(*, kind="time", **more):
    x = time_axis(Look()) if kind == "time" else axis("hour")
    trace = line(["2026-11-20T11:00:00", None], [1.0, 2.0], "rate") | more
    return Picture({"data": [trace], "layout": layout(x, axis("requests/s"))}, "Rate.")


def test_the_second_series_has_one_entry_in_the_legend_and_its_times_moved():
    """Its colours are those of the first: three lines need no six names."""
    made = overlaid(picture(fill="tozeroy"), picture(fill="tozeroy"), "before", timedelta(hours=1))
    first, second, key = made.figure["data"]
    assert second["x"] == ["2026-11-20T12:00:00", None]
    assert "fill" not in second
    assert [trace["showlegend"] for trace in (first, second)] == [False, False]
    assert (key["name"], key["line"]["dash"]) == ("before", second["line"]["dash"])
    assert made.summary == "Rate. Dashed, before: Rate."


@pytest.mark.parametrize("more", [{"stackgroup": "all"}, {"type": "heatmap"}])
def test_what_would_hide_the_other_is_not_laid_over_it(more):
    """Stacks and heat maps: their tables show both."""
    assert overlaid(picture(**more), picture(**more), "before", timedelta(0)) is None


def beside(own, other, frames=None):
    scope = Scope((1,), NOON, NOON + timedelta(hours=1))
    view = View("fleet", scope, measures=own, frames=frames or {})
    second = View("fleet", scope, measures=other)
    return view, Beside(Comparison("before", {}, scope), view.frames, second)


@pytest.mark.parametrize(
    ("own", "other", "words"),
    [
        ((0.2, 0.4), (0.4, 0.8), "lower now"),
        ((0.4, 0.8), (0.2, 0.4), "higher now"),
        ((0.2, 0.5), (0.4, 0.8), "the intervals overlap"),
        ((None, 0.3), (60.0, None), "lower now"),
        ((None, 0.3), (None, 0.5), "the intervals overlap"),
    ],
)
def test_two_intervals_overlap_or_do_not_and_never_differ_by_a_number(own, other, words):
    """Quantiles from buckets of two grids are known only between edges."""
    measures = [{"ttft": Measure(None, "s", *edges, why="buckets")} for edges in (own, other)]
    view, second = beside(*measures)
    said = with_words(view, second).measures["ttft"].why
    assert f"({words})" in said
    assert said.endswith("buckets")


def test_rows_are_put_beside_their_like_by_name_and_by_bin():
    """Bins of the second series may begin a little elsewhere; what has no like stays alone."""
    at = [NOON + timedelta(minutes=5 * i) for i in range(4)]
    frame = pl.DataFrame({"at": at, "model": ["a"] * 4, "n": [1, 2, 3, 4]})
    other = frame.with_columns(
        pl.col("at") - timedelta(hours=1, seconds=70), n=pl.col("n") * 10
    ).head(3)
    found = rows_beside(frame, other, timedelta(hours=1))
    assert [row and row["n"] for row in found] == [10, 20, 30, None]
    assert rows_beside(frame, other, timedelta(0)) is None


@given(st.lists(st.tuples(st.text(max_size=2), st.integers(0, 3), st.floats(0, 1)), max_size=12))
def test_a_table_is_its_own_like(rows):
    """Whatever it holds: each row finds a row that says the same, or no row is matched at all."""
    schema = {"model": pl.String, "hour": pl.Int64, "ratio": pl.Float64}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    found = rows_beside(frame, frame)
    if found is not None:
        keys = [(row["model"], row["hour"]) for row in frame.iter_rows(named=True)]
        assert [(row["model"], row["hour"]) for row in found] == keys


def test_a_chart_that_has_no_second_series_says_so(fake):
    """The page keeps its own picture."""
    scene = scene_at(fake, "/ui/", "?cmp=prev")
    frame = pl.DataFrame({"at": [NOON, NOON + timedelta(minutes=1)], "rate": [1.0, 2.0]})
    view = View("fleet", scene.scope, frames={"rate": frame})

    def draw(frame, look):
        return over_time(frame, "rate", "requests/s", "requests/s", look)

    card = chart_card(view, Chart("rate", "How much?", "rate", draw, "Rate."), scene)
    assert "Beside the period before: nothing to show here." in text_of(card.card)
