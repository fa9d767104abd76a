"""The fairness page: what it says first, what it draws, and what it leaves out."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta

import polars as pl
import pytest

from analysis.measure import Empty
from dashboard.figures import fairness as figures
from dashboard.figures.base import Look, Picture
from dashboard.pages import fairness_interference
from dashboard.panels import answer
from dashboard.routes import page_of
from dashboard.scene import scene_of
from dashboard.url_state import parse

AT = [datetime(2026, 3, 1) + timedelta(minutes=k) for k in range(4)]
LOOK = Look()


def drawn(fake, search="", view="fairness"):
    """One panel of the page as JSON text."""
    services = fake.services()
    scene = scene_of(services, parse("/ui/fairness", search, "/ui/"), "/ui/")
    (panel,) = (one for one in page_of(scene.address).panels if one.view == view)
    body = answer(panel, scene, services, None, beat=False)[0]
    return json.dumps(body, default=lambda c: c.to_plotly_json(), ensure_ascii=False)


def gap_frame(**columns):
    usual = {
        "at": AT, "gap_tokens": [None, 100.0, 300.0, None], "bound_tokens": [200.0] * 4,
        "is_breach": [None, False, True, None], "ahead": [None, "a", "a", None],
        "behind": [None, "b", "b", None],
    }  # fmt: skip
    return pl.DataFrame(usual | columns)


def test_the_verdict_comes_first(fake):
    """Who got too much and who waited, before any number."""
    text = drawn(fake)

    assert text.index("its fair share while") < text.index("Tenants with demand")
    assert "tone-bad" in text


def test_every_picture_has_its_table_definition_and_api(fake):
    """Cards of the page lead to the same numbers elsewhere."""
    text = drawn(fake)

    for key in ("service", "gap", "windowed", "jain", "tenants"):
        assert f"/api/v1/views/fairness/{key}" in text
    beside = drawn(fake, view="fairness_interference")
    assert "/api/v1/views/fairness_interference/interference" in beside
    assert "Association, not cause" in beside


def test_weights_in_the_address_reach_the_view_and_the_links(fake):
    """What was chosen is asked for, and stays in the links to the API."""
    text = drawn(fake, "?output_weight=3&weights=chat:2&stack=share")

    drawn(fake, "?output_weight=3&weights=chat:2", view="fairness_interference")
    beside = [options for name, options in fake.asked if name == "fairness_interference"]
    assert beside[-1] == {"output_weight": "3"}
    asked = [options for name, options in fake.asked if name == "fairness"]
    assert asked[-1] == {"output_weight": "3", "weights": "chat:2"}
    assert "output_weight=3" in text
    assert "Who gets which part?" in text


def test_nobody_named_tells_how_to_name_a_tenant(fake):
    """The reason comes from the view."""
    fake.empty = Empty("metric_absent", "No request names its tenant. Name it by an API key.")

    assert "Name it by an API key" in drawn(fake)


def test_a_stale_fleet_says_so_above_the_pictures(fake):
    """Old live data is shown with its age."""
    fake.newest_at = fake.now - timedelta(hours=1)
    services = fake.services()
    scene = scene_of(services, parse("/ui/fairness", "?source=live", "/ui/"), "/ui/")
    (panel,) = (one for one in page_of(scene.address).panels if one.view == "fairness")

    note = answer(panel, scene, services, None, beat=False)[1]

    assert "what you see ends there" in json.dumps(note, default=lambda c: c.to_plotly_json())


def test_a_gap_where_nobody_waits_is_a_hole_and_breaches_are_marked():
    """Unknown is no zero; beyond the bound there is a mark, and the summary counts them."""
    picture = figures.gap(gap_frame(), LOOK)

    assert isinstance(picture, Picture)
    course, bound, breaches = picture.figure["data"]
    assert course["y"] == [None, 100.0, 300.0, None]
    assert bound["y"] == [200.0, 200.0]
    assert breaches["y"] == [None, None, 300.0, None]
    assert "exceeded in 1 of 4 points" in picture.summary


def test_a_bound_far_above_does_not_flatten_the_gap():
    """It is named instead of drawn."""
    picture = figures.gap(gap_frame(bound_tokens=[9e6] * 4, is_breach=[False] * 4), LOOK)

    assert isinstance(picture, Picture)
    assert len(picture.figure["data"]) == 1
    assert "above this picture" in picture.figure["layout"]["annotations"][0]["text"]


def test_without_company_there_is_no_gap():
    """The reason says that it is not a gap of 0."""
    nothing = gap_frame(gap_tokens=pl.Series([None] * 4, dtype=pl.Float64))

    assert "not a gap of 0" in str(figures.gap(nothing, LOOK))


@pytest.mark.parametrize("as_share", [False, True])
def test_service_is_stacked_with_patterns(as_share):
    """The colour is never the only difference."""
    frame = pl.DataFrame({
        "at": AT * 2, "tenant": ["a"] * 4 + ["others"] * 4,
        "service_tokens_per_second": [10.0] * 8, "service_share_ratio": [0.5] * 8,
    })  # fmt: skip

    picture = figures.service(frame, LOOK, as_share=as_share)

    assert isinstance(picture, Picture)
    first, second = picture.figure["data"]
    assert first["stackgroup"] == second["stackgroup"]
    assert "fillpattern" not in first
    assert second["fillpattern"]["shape"]
    assert "a 50.0 %" in picture.summary


def test_interference_needs_two_points_of_a_tenant():
    """One bin compares nothing; two are joined, with their counts."""
    frame = pl.DataFrame({
        "tenant": ["a"], "share_low_ratio": [0.0], "share_high_ratio": [0.1],
        "others_ttft_p50_seconds": [1.0], "requests": [50], "windows": [3],
    })  # fmt: skip
    more = pl.concat([frame, frame.with_columns(share_low_ratio=0.1, share_high_ratio=0.25,
                                                others_ttft_p50_seconds=4.0)])  # fmt: skip

    assert "nothing to compare" in str(figures.interference(frame, LOOK))
    picture = figures.interference(more, LOOK)
    assert isinstance(picture, Picture)
    assert "longest, 4 s" in picture.summary
    assert picture.figure["data"][0]["customdata"] == ["n = 50", "n = 50"]


def test_who_took_longest_beside_alone_stands_first():
    """Ten bars at most; the summary says how many are left out."""
    names = [f"t{number:02}" for number in range(12)]
    frame = pl.DataFrame({"tenant": names, "finish_time_factor": [9.0 - k / 2 for k in range(12)]})

    picture = figures.over_alone(frame, LOOK)

    assert picture.figure["data"][0]["y"] == names[:10]
    assert picture.figure["layout"]["yaxis"]["autorange"] == "reversed"
    assert "alone: t00 9\N{MULTIPLICATION SIGN}, t01 8.5" in picture.summary
    assert "The 2 with the smallest" in picture.summary


def test_where_it_was_never_quiet_says_so(fake):
    """A reason instead of a picture, and the other card stays."""
    services = fake.services()
    scene = scene_of(services, parse("/ui/fairness", "", "/ui/"), "/ui/")
    view = services.view("fairness_interference", {})
    loaded = replace(view, frames={**view.frames, "alone": view.frames["alone"].clear()})

    parts = fairness_interference.body(loaded, scene, services)
    text = json.dumps(parts, default=lambda c: c.to_plotly_json())

    assert "came while next to nobody was served" in text
    assert "Do others wait longer" in text


def test_only_refusals_add_a_second_line_to_the_difference():
    """Without them both definitions are the same line."""
    frame = pl.DataFrame({"at": AT, "difference_tokens_per_second": [1.0, 2.0, None, 3.0],
                          "with_refused_tokens_per_second": [1.0, 2.0, None, 3.0]})  # fmt: skip
    other = frame.with_columns(with_refused_tokens_per_second=pl.lit(9.0))

    same, both = figures.difference(frame, LOOK), figures.difference(other, LOOK)
    assert isinstance(same, Picture)
    assert isinstance(both, Picture)
    assert (len(same.figure["data"]), len(both.figure["data"])) == (1, 2)


def test_jain_counts_its_tenants_in_the_hover():
    """n is printed, and windows in which nobody waited say so."""
    frame = pl.DataFrame({"at": AT, "jain_index": [None, 0.5, 0.9, 1.0],
                          "tenants_with_demand": [1, 2, 3, 3],
                          "is_contended": [False, True, True, False]})  # fmt: skip

    picture = figures.jain(frame, LOOK)

    assert isinstance(picture, Picture)
    hover = picture.figure["data"][0]["customdata"]
    assert hover[1:] == ["n = 2", "n = 3", "n = 3, nobody waited"]
    alone = frame.with_columns(jain_index=pl.lit(None, pl.Float64))
    assert figures.jain(alone, LOOK) == "No window has two tenants with demand."
