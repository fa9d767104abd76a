"""A link that was shared shows the same pictures another day, on every page."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from dashboard.controls import share_search
from dashboard.navigation import NAVIGATION
from dashboard.panels import answer
from dashboard.routes import page_of
from dashboard.scene import scene_of
from dashboard.url_state import parse

PATHS = ["/".join(item.path) for _, items in NAVIGATION for item in items if item.path is not None]
PATHS += ["slo/chat-ttft", *(f"workload/{tab}" for tab in ("burstiness", "lengths", "clients"))]
NARROWED = "?from=now-2h&to=now-1h&model=qwen3-32b&tenant=acme&tz=Europe/Berlin"


def pictures(fake, path, search):
    """Numbers of every figure of a page, and the sentence of each, by chart."""
    services = fake.services()
    scene = scene_of(services, parse(path, search, "/ui/"), "/ui/")
    found = {}
    for panel in page_of(scene.address).panels:
        body = answer(panel, scene, services, None, beat=False)[0]
        _collect(json.loads(json.dumps(body, default=lambda c: c.to_plotly_json())), found)
    return found, share_search(scene)


def _collect(part, found):
    if isinstance(part, dict):
        own = part.get("id")
        if isinstance(own, dict) and own.get("type") == "graph":
            found[own["key"]] = part["figure"]["data"]
        if isinstance(own, dict) and own.get("type") == "picture":
            found[own["key"], "said"] = part["aria-label"]
        for inside in part.values():
            _collect(inside, found)
    elif isinstance(part, list):
        for inside in part:
            _collect(inside, found)


@pytest.mark.parametrize("path", PATHS)
def test_a_shared_link_shows_the_same_pictures_tomorrow(fake, path):
    """Filters, zone and range ride along; only the clock has moved."""
    shown, link = pictures(fake, f"/ui/{path}", NARROWED)
    address, _, search = link.partition("?")
    assert "now" not in search
    fake.now += timedelta(days=1)
    again, relinked = pictures(fake, address, f"?{search}")
    assert again == shown
    assert relinked == link
