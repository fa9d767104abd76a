"""The alarm of gateways that break their bound: on Fairness and on Admin, in words and numbers."""

from __future__ import annotations

import json

from dashboard.pages import admin_gateways, fairness_alarm
from dashboard.panels import answer
from dashboard.routes import page_of
from dashboard.scene import scene_of
from dashboard.url_state import parse

BROKEN = {"is_broken": True, "apart_service": 6_543.0, "breaches": 3, "broken_seconds_ago": 0.5}


def drawn(fake, path="/ui/fairness", search="?source=live", panel=fairness_alarm.PANEL):
    """A panel as JSON text."""
    services = fake.services()
    scene = scene_of(services, parse(path, search, "/ui/"), "/ui/")
    assert panel in page_of(scene.address).panels
    body = answer(panel, scene, services, None, beat=False)[0]
    return json.dumps(body, default=lambda c: c.to_plotly_json(), ensure_ascii=False)


def test_a_broken_bound_is_an_alarm_on_fairness(fake):
    """With both numbers, how old it is, and where to look; an alarm to screen readers, too."""
    fake.gateways = [fake.gateway(**BROKEN)]
    text = drawn(fake)
    for words in ("Fairness alarm", "6,543 apart", "promises 4,040 at most", "Heard 1 s ago",
                  "is-error", '"role": "alert"', "/ui/admin"):  # fmt: skip
        assert words in text


def test_one_that_is_over_is_no_error(fake):
    """It is told, and that it is over."""
    fake.gateways = [fake.gateway(**{**BROKEN, "is_broken": False, "broken_seconds_ago": 60.0})]
    text = drawn(fake)
    assert "Fairness was broken" in text
    assert "is-stale" in text
    assert "is-error" not in text


def test_no_breach_no_banner(fake):
    """Nor where no gateway has reported, nor on the page of a trace."""
    assert drawn(fake) == "[]"
    fake.gateways = [fake.gateway()]
    assert drawn(fake) == "[]"
    fake.gateways = [fake.gateway(**BROKEN)]
    assert drawn(fake, search="?source=azure-2023-conv") == "[]"


def test_many_alarms_are_counted(fake):
    """The page stays readable."""
    fake.gateways = [fake.gateway(f"g{number}", **BROKEN) for number in range(9)]
    text = drawn(fake)
    assert text.count("Fairness alarm") == 4
    assert "5 more gateways did, too." in text


def test_admin_lists_gateways_with_their_bound(fake):
    """Gap, bound, breaches and state in a row; nothing where there is none."""
    panel = admin_gateways.PANEL
    assert drawn(fake, "/ui/admin", "", panel) == "[]"
    fake.gateways = [fake.gateway(**BROKEN),
                     fake.gateway("rear", bound_service=None, line="fcfs", seconds_ago=90.0,
                                  why_no_bound="the line fcfs promises none")]  # fmt: skip
    text = drawn(fake, "/ui/admin", "", panel)
    assert "Fairness alarm" in drawn(fake, "/ui/admin", "", admin_gateways.ALARM)
    for words in ("unfair", "▲ 3", "4,040", "late", "not heard of for 90 s",
                  "the line fcfs promises none"):  # fmt: skip
        assert words in text


def test_the_bound_stands_beside_the_gap(fake):
    """As a number of its own."""
    services = fake.services()
    scene = scene_of(services, parse("/ui/fairness", "", "/ui/"), "/ui/")
    (panel,) = (one for one in page_of(scene.address).panels if one.view == "fairness")
    body = answer(panel, scene, services, None, beat=False)[0]
    text = json.dumps(body, default=lambda c: c.to_plotly_json(), ensure_ascii=False)
    assert text.index("Widest gap") < text.index("Its bound") < text.index("Windowed difference")
