"""What happened is on every chart over time, and says what, who and how long."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from dashboard.figures.base import Look, Picture, axis, layout, line, time_axis
from dashboard.figures.marks import KINDS, Marks, marked
from dashboard.panels import answer
from dashboard.routes import page_of
from dashboard.scene import scene_of
from dashboard.url_state import parse

NOW = datetime(2026, 11, 20, 12)
LOOK = Look()


def picture(*, is_time=True, legend=False):
    x = time_axis(LOOK) if is_time else axis("replicas")
    made = layout(x, axis("requests/s"), legend=legend)
    return Picture(
        {"data": [line(["2026-11-20T11:00:00"], [1.0], "rate")], "layout": made}, "Rate."
    )


def freeze(minutes, length, pool="chat", by="bo", comment="rack 4"):
    since = NOW - timedelta(minutes=minutes)
    until = since + timedelta(minutes=length)
    return {
        "pool": pool, "from_at": since, "until_at": until, "changed_by": by, "comment": comment,
    }  # fmt: skip


def marks(freezes=(), changes=()):
    schema = {
        "pool": pl.String, "from_at": pl.Datetime("us"), "until_at": pl.Datetime("us"),
        "changed_by": pl.String, "comment": pl.String,
    }  # fmt: skip
    end = NOW.replace(tzinfo=UTC)
    rows = pl.DataFrame(list(freezes), schema=schema)
    return Marks(end - timedelta(hours=1), end, rows, pl.DataFrame(list(changes)))


def traces(made):
    return {trace["name"]: trace for trace in made.figure["data"]}


def test_a_freeze_is_a_band_with_who_and_until_when():
    """One that began before the range begins with it: an axis must not reach back."""
    made = marked(picture(), marks([freeze(90, 45), freeze(10, 2, by="<ana>")]), LOOK)
    first, second = made.figure["layout"]["shapes"]
    assert first["x0"] == "2026-11-20T11:00:00"
    assert first["x1"] == "2026-11-20T11:15:00"
    assert "frozen by bo" in first["label"]["text"]
    assert "label" not in second  # no room for words
    texts = traces(made)["frozen"]["text"]
    assert texts[0] == "chat frozen by bo, 11:00:00 to 11:15:00: rack 4"
    assert "&lt;ana>" in texts[1]
    assert "Frozen 2 times, by bo, <ana>." in made.summary


def test_the_legend_names_the_marks_and_not_a_line_that_needed_no_name():
    """One line alone has no legend; with marks only these are named."""
    shown = {
        name: trace.get("showlegend", True)
        for name, trace in traces(marked(picture(), marks([freeze(10, 2)]), LOOK)).items()
    }
    assert shown == {"rate": False, "frozen": True}


def test_pools_frozen_at_once_are_one_band():
    """All pools frozen by one press would else be as many bands on one another."""
    both = marks([freeze(10, 2), freeze(10, 2, pool="code")])
    made = marked(picture(), both, LOOK)
    assert len(made.figure["layout"]["shapes"]) == 1
    assert traces(made)["frozen"]["text"][0].startswith("chat, code frozen by bo")


def test_changes_of_replicas_point_up_and_down():
    """What the controller did and what somebody else set."""
    rows = [
        {"at": NOW, "pool": "chat", "before_replicas": 4, "after_replicas": 2,
         "changed_by": "the controller"},
        {"at": NOW, "pool": "chat", "before_replicas": None, "after_replicas": 7,
         "changed_by": "somebody else"},
    ]  # fmt: skip
    trace = traces(marked(picture(), marks(changes=rows), LOOK))["replicas changed"]
    assert trace["marker"]["symbol"] == ["triangle-down", "triangle-up"]
    assert trace["text"] == [
        "chat 4 to 2 replicas, by the controller", "chat 7 replicas, by somebody else",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("made", "found"),
    [(picture(is_time=False), marks([freeze(10, 2)])), (picture(), marks())],
    ids=["no time", "nothing happened"],
)
def test_a_chart_without_time_or_events_stays_as_it_is(made, found):
    """Marks add nothing where they mean nothing."""
    assert marked(made, found, LOOK) is made


@pytest.mark.parametrize(
    ("path", "search", "is_live"),
    [
        ("/ui/", "", True),
        ("/ui/latency", "", True),
        ("/ui/slo/chat-ttft", "", True),
        ("/ui/", "?source=azure-2023-conv", False),
    ],
)
def test_pages_of_the_live_fleet_show_them_and_traces_do_not(fake, path, search, is_live):
    """A trace has a clock of its own: a freeze of today never happened in it."""
    services = fake.services()
    scene = scene_of(services, parse(path, search, "/ui/"), "/ui/")
    bodies = [
        answer(panel, scene, services, None, beat=False)[0]
        for panel in page_of(scene.address).panels
    ]
    text = json.dumps(bodies, default=lambda part: part.to_plotly_json())
    assert ("chat frozen by bo" in text) is is_live


def test_each_kind_of_event_has_a_glyph_and_a_name_of_its_own():
    """Colour is never the only difference; what began before the range is drawn at its edge."""
    rows = [
        {"at": NOW - timedelta(minutes=minutes), "until_at": until, "kind": kind, "subject": "a",
         "text": f"{kind} of <a>"}
        for minutes, until, kind in [
            (90, NOW - timedelta(minutes=30), "outage"), (20, None, "deployment"),
            (10, None, "alert"), (5, None, "alert"), (4, None, "start"), (3, None, "fault"),
            (2, None, "drift"),
        ]
    ]  # fmt: skip
    end = NOW.replace(tzinfo=UTC)
    told = Marks(end - timedelta(hours=1), end, events=pl.DataFrame(rows))
    made = marked(picture(), told, LOOK)
    drawn = {name: trace for name, trace in traces(made).items() if name != "rate"}
    assert len({trace["marker"]["symbol"] for trace in drawn.values()}) == len(KINDS) == len(drawn)
    assert drawn["outage"]["x"] == ["2026-11-20T11:00:00"]
    assert drawn["outage"]["text"] == ["outage of &lt;a>, until 11:30:00"]
    assert "Alert 2 times." in made.summary
