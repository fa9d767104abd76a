"""The list of saved views beside the navigation, and what saving and deleting say."""

from __future__ import annotations

import json

import pytest

from dashboard.acting import answered
from dashboard.saved import menu
from dashboard.saved_views import SavedView
from dashboard.scene import scene_of
from dashboard.url_state import parse


def shown(services, path="/ui/slo/chat-ttft", search="?from=now-1h"):
    scene = scene_of(services, parse(path, search, "/ui/"), "/ui/")
    return json.dumps(menu(services, scene), default=lambda part: part.to_plotly_json())


def test_a_saved_view_is_a_link_to_the_same_state(fake):
    """What the form sends is what the link shows."""
    services = fake.services()
    wish = {"act": "save-view", "path": ["slo", "chat-ttft"], "params": {"from": "now-1h"},
            "fields": {"title": "night shift"}}  # fmt: skip
    told = answered(services, wish)
    assert told.is_done
    assert "night shift" in told.text
    assert '"href": "/ui/slo/chat-ttft?from=now-1h"' in shown(services)
    assert answered(services, {"act": "delete-view", "name": "night-shift"}).is_done
    assert "night shift" not in shown(services).replace('placeholder": "night shift', "")


def test_a_file_with_a_mistake_is_no_link_and_says_why(fake):
    """It can still be deleted."""
    fake.saved.views.append(SavedView("broken", "broken", problem="broken.toml is no saved view"))
    text = shown(fake.services())
    assert "broken.toml is no saved view" in text
    assert "Delete the saved view broken" in text


@pytest.mark.parametrize(
    "wish",
    [
        {"act": "save-view", "path": [], "params": {}, "fields": {"title": "taken"}},
        {"act": "save-view", "path": [], "fields": {"title": "x"}},
        {"act": "save-view", "path": 3, "params": "x", "fields": {"title": "x"}},
    ],
)
def test_a_refusal_or_a_forged_wish_is_words(fake, wish):
    """Nothing is saved, nothing breaks."""
    told = answered(fake.services(), wish)
    assert not told.is_done
    assert told.text
    assert fake.saved.views == []


def test_without_a_place_there_is_no_menu(fake):
    """A server that cannot keep files shows no form."""
    from dataclasses import replace

    services = replace(fake.services(), saved=None)
    assert shown(services) == "[]"
    assert not answered(services, {"act": "delete-view", "name": "x"}).is_done
