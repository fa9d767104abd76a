"""The page Cost says what ran, what was idle and what nobody told."""

import json

import pytest

from analysis.measure import Empty
from dashboard.panels import answer
from dashboard.routes import page_of
from dashboard.scene import scene_of
from dashboard.url_state import parse


@pytest.fixture
def shown(fake):
    def show(query=""):
        services = fake.services()
        scene = scene_of(services, parse("/ui/cost", query, "/ui/"), "/ui/")
        (panel,) = page_of(scene.address).panels
        body, note, _ = answer(panel, scene, services, None, beat=False)
        return json.dumps([body, note], default=lambda part: part.to_plotly_json(),
                          ensure_ascii=False)  # fmt: skip

    return show


def test_idle_time_stands_in_a_line_of_its_own(shown):
    """In the picture, among kinds and among tenants."""
    text = shown()
    assert "GPU-hours ran in 6 h, 53 % of them idle" in text
    assert text.count('"idle"') >= 3
    assert "GPU-hours in 5 min" in text  # what a point of the course counts
    assert "NVIDIA H100 80GB HBM3" in text
    assert "cost.gpu_hour *h100*" in text


def test_the_reason_why_it_is_empty_is_said(shown, fake):
    """Requests without engines are no fleet that costs nothing."""
    fake.empty = Empty("metric_absent", "No engine was scraped here.")
    assert "No engine was scraped here." in shown()
    assert "GPU-hours ran" not in shown()
