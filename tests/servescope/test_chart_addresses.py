"""Every chart of every page is a table, a CSV, an answer of the API and six lines of Python."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from dashboard.navigation import NAVIGATION
from dashboard.pages.workload import PAGES as TABS
from dashboard.panels import answer
from dashboard.routes import page_of
from dashboard.scene import scene_of
from dashboard.url_state import parse

FAKES = Path(__file__).parents[1] / "dashboard" / "fakes.py"
PATHS = {
    "/".join(item.path): "" for _, items in NAVIGATION for item in items if item.path is not None
}
PATHS |= {f"workload/{tab}": "" for tab in TABS} | {"slo/chat": ""}
PATHS["latency"] = "?request=1:1790000000000000:7"
# What is compared has to be there: this store holds one hour only.
del PATHS["workload/compare"]


@pytest.fixture(scope="module")
def services():
    """Made-up rows of the dashboard's own tests, loaded by their path: tests are no package."""
    spec = importlib.util.spec_from_file_location("servescope_chart_fakes", FAKES)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.FakeServices().services()


def nodes(part):
    """Properties of every element of a page, from the top."""
    if isinstance(part, dict):
        yield part
        for inside in part.values():
            yield from nodes(inside)
    elif isinstance(part, list):
        for inside in part:
            yield from nodes(inside)


def drawn(services, path, search=""):
    """Keys of the charts of a page, and its links and menus by what they are called."""
    scene = scene_of(services, parse(f"/ui/{path}", search, "/ui/"), "/ui/")
    panels = page_of(scene.address).panels
    parts = [answer(panel, scene, services, None, beat=False)[0] for panel in panels]
    every = list(nodes(json.loads(json.dumps(parts, default=lambda c: c.to_plotly_json()))))
    ids = [node["id"] for node in every if isinstance(node.get("id"), dict)]
    labelled = {node["aria-label"]: node.get("href") for node in every if "aria-label" in node}
    return [own["key"] for own in ids if own["type"] == "graph"], labelled


def test_every_chart_can_be_had_as_numbers(services, client):
    """Toggled all are tables; the addresses on their cards answer with columns."""
    asked = 0
    for path, search in PATHS.items():
        keys, labelled = drawn(services, path, search)
        more = f"table={','.join(keys)}"
        no_charts, toggled = drawn(services, path, f"{search}&{more}" if search else f"?{more}")
        assert no_charts == [], path
        titles = [label[7:] for label in labelled if label.startswith("Table: ")]
        assert len(titles) == len(keys), path
        for title in set(titles):
            assert {f"Chart: {title}", f"Open in Python: {title}"} <= toggled.keys()
            for kind in ("CSV", "API"):
                assert has_columns(client, labelled[f"{kind}: {title}"]), (path, title, kind)
                asked += 1
    assert asked > 100


def has_columns(client, href):
    """Whether a table is there, or its view answers and has nothing for it in this store."""
    found = client.get(href)
    if found.status_code == 200:
        return found.text.splitlines()[0] if "csv" in href else found.json()["columns"]
    if "request=" in href:
        # The real store has other requests than the made-up one.
        return found.status_code in (400, 404) and "request" in found.json()["detail"]
    view, _, options = href.partition("?")
    whole = client.get(f"{view.rpartition('/')[0]}?{options}")
    return "has no table" in found.text and whole.status_code == 200
