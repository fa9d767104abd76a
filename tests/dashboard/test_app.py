"""The application as the browser meets it."""

from __future__ import annotations

import gzip
import inspect
import re
from pathlib import Path

import pytest
from plotly.offline import get_plotlyjs_version

from dashboard import theme
from dashboard.app import create_dash
from store.errors import QueryTimeout

ASSETS = Path(theme.__file__).parent / "assets"


def panel_request(app, spot, pathname, search="") -> dict:
    """What the browser posts to fill one panel."""
    output = next(key for key in app.callback_map if "panel-body" in key)

    def own(part):
        return {"spot": spot, "type": f"panel-{part}"}

    targets = (
        ("body", "children"),
        ("note", "children"),
        ("shown", "data"),
        ("frame", "data-range"),
    )
    return {
        "output": output,
        "outputs": [{"id": own(part), "property": prop} for part, prop in targets],
        "inputs": [
            {"id": "shell-url", "property": "search", "value": search},
            {"id": "shell-pulse", "property": "data", "value": None},
        ],
        "state": [
            {"id": "shell-url", "property": "pathname", "value": pathname},
            {"id": own("shown"), "property": "id", "value": own("shown")},
            {"id": own("shown"), "property": "data", "value": None},
        ],
        "changedPropIds": ["shell-url.search"],
    }


@pytest.fixture(scope="module")
def app(fakes):
    """One dashboard."""
    return create_dash(fakes.FakeServices().services())


@pytest.fixture
def client(app):
    """A browser without a screen."""
    return app.server.test_client()


def test_the_page_has_a_language_a_skip_link_and_its_own_files_only(client):
    """Nothing is fetched from anywhere else, ever."""
    page = client.get("/").text
    assert '<html lang="en">' in page
    assert 'href="#main"' in page
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert sources
    assert all(source.startswith(("/ui/", "#")) for source in sources)


def test_own_assets_name_no_other_host():
    """Fonts, pictures and scripts are ours."""
    for path in ASSETS.glob("servescope.*"):
        addresses = re.findall(r"https?://[^\s\"')]+", path.read_text())
        assert set(addresses) <= {"http://www.w3.org/2000/svg'"[:-1]}, path


def test_deep_links_answer_with_the_application(client):
    """Reloading any page works."""
    assert client.get("/slo/chat-ttft?from=now-1h").status_code == 200


def test_static_files_travel_compressed(client):
    """The largest file shrinks to a third, and is packed once."""
    address = "/assets/plotly-cartesian.min.js"
    first = client.get(address, headers={"Accept-Encoding": "gzip"})
    assert first.headers["Content-Encoding"] == "gzip"
    assert len(first.data) < 560_000
    assert gzip.decompress(first.data) == (ASSETS / "plotly-cartesian.min.js").read_bytes()
    assert client.get(address, headers={"Accept-Encoding": "gzip"}).data == first.data


def test_versioned_files_are_fetched_once(client):
    """A second visit costs no bytes for scripts and styles."""
    with client.get("/assets/servescope.css?m=1.5") as versioned:
        assert "immutable" in versioned.headers["Cache-Control"]
    with client.get("/assets/servescope.css") as plain:
        assert "immutable" not in plain.headers["Cache-Control"]


def test_a_client_without_gzip_gets_plain_bytes(client):
    """Compression is offered, not forced."""
    with client.get("/assets/servescope.css") as answer:
        assert "Content-Encoding" not in answer.headers


def test_the_bundled_plotly_is_the_one_plotly_py_was_built_for():
    """Figures and the script that draws them agree; the full bundle is never loaded."""
    head = (ASSETS / "plotly-cartesian.min.js").read_bytes()[:200].decode()
    assert f"plotly.js (cartesian - minified) v{get_plotlyjs_version()}" in head
    assert "MIT" in (ASSETS / "plotly-LICENSE.txt").read_text()


def test_the_bundled_plotly_forgets_labels_that_nobody_draws():
    """It keeps the size of each label at each place it ever had: 500 of them instead of 10,000.

    With a refresh of 5 s that is what a tab grows by for its first two hours.
    """
    script = (ASSETS / "plotly-cartesian.min.js").read_text()
    assert script.count(".savedBBoxes={};var O4=0,E3e=500;") == 1
    assert script.count("O4>=E3e&&(") == 1


def test_the_bundled_plotly_is_compiled_beside_the_main_thread():
    """A first line that browsers know takes two thirds of its start off the page."""
    script = (ASSETS / "plotly-cartesian.min.js").read_bytes()
    assert script.startswith(b"//# allFunctionsCalledOnLoad\n")


def test_callbacks_are_plain_functions(app):
    """They run in threads that share no event loop."""
    for callback in app.callback_map.values():
        function = callback.get("callback")
        assert function is None or not inspect.iscoroutinefunction(inspect.unwrap(function))


def test_two_dashboards_live_in_one_process(fakes):
    """Callbacks belong to the application they were registered on."""
    one, two = (create_dash(fakes.FakeServices().services(), prefix=p) for p in ("/ui/", "/other/"))
    assert set(one.callback_map) == set(two.callback_map)
    assert len(one.callback_map) >= 5
    assert "/other/assets/servescope.js" in two.server.test_client().get("/").text


def test_nothing_is_published_as_a_tool(app, monkeypatch):
    """Callbacks are no MCP tools, even when the environment asks for it."""
    monkeypatch.setenv("DASH_MCP_ENABLED", "true")
    assert app.server.test_client().get("/_mcp").headers["Content-Type"].startswith("text/html")
    assert not any("mcp" in str(rule) for rule in app.server.url_map.iter_rules())


def test_the_stylesheet_and_the_theme_name_the_same_cards():
    """Contrast is checked against the colours that are really behind the figures."""
    cards = re.findall(r"--ss-card: (#[0-9a-f]{6})", (ASSETS / "servescope.css").read_text())
    assert cards == [theme.LIGHT_CARD, theme.DARK_CARD]


def test_an_unexpected_fault_is_said_and_keeps_the_picture(fake, caplog):
    """Our own bug ends in a sentence with an id, not in a blank page."""

    def broken(name, params, **options):
        raise ZeroDivisionError

    fake.view = broken
    app = create_dash(fake.services())
    body = panel_request(app, "fleet-main", "/ui/")
    answer = app.server.test_client().post("/_dash-update-component", json=body)
    assert answer.status_code in (200, 204)
    assert "failed on the server" in answer.text
    assert any(record.message == "callback_failed" for record in caplog.records)


def test_the_very_first_failure_is_an_answer_too(fake):
    """A page that opens on a failing query says so instead of waiting for ever."""
    fake.failing = QueryTimeout("the query passed its limit of 10 s")
    app = create_dash(fake.services())
    body = panel_request(app, "fleet-main", "/ui/")
    answer = app.server.test_client().post("/_dash-update-component", json=body)
    assert answer.status_code == 200
    assert "passed its limit" in answer.text
    assert "failed on the server" not in answer.text


def test_a_panel_is_filled_by_one_request(app, client):
    """One answer holds the whole page body, compressed."""
    body = panel_request(app, "fleet-main", "/ui/")
    answer = client.post("/_dash-update-component", json=body, headers={"Accept-Encoding": "gzip"})
    assert answer.status_code == 200
    assert answer.headers["Content-Encoding"] == "gzip"
    assert b"How long until the first token?" in gzip.decompress(answer.data)
    assert len(answer.data) < 40_000
