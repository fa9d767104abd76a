"""`servescope why` says what the Fleet page and the API say, with the exit code of a finding."""

import json

import pytest

from dashboard.panels import answer
from dashboard.routes import page_of
from dashboard.scene import scene_of
from dashboard.services import Services
from dashboard.url_state import parse
from servescope.cli import access
from servescope.cli.main import main

AT = "2026-01-31T12:00:00Z"
SLOS = """
[[slo]]
name = "first-token"
kind = "ttft"
threshold_seconds = 0.3
target_ratio = 0.9
window = "1h"
"""


@pytest.fixture
def burning(filled, tmp_path):
    """Two in three requests of the hour take too long to their first token."""
    (tmp_path / "slo.toml").write_text(SLOS, "utf-8")
    filled.slos.load()
    return filled


@pytest.fixture
def run(burning, monkeypatch, capsys):
    """Run a command on this store; gives its exit code and what it printed."""

    class Way:
        def __enter__(self):
            return access.FileAccess(burning)

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(access, "opened", lambda config: Way())

    def call(*arguments):
        code = main([str(argument) for argument in arguments])
        return code, capsys.readouterr().out

    return call


def page_text(runtime, query):
    """All words of the Fleet page as the server would send them."""
    services = Services(
        view=lambda name, params, **options: runtime.view(name, params, options),
        catalog=runtime.catalog, now=runtime.clock.now, data_age=runtime.data_age,
        label_values=runtime.label_values, version="test",
    )  # fmt: skip
    scene = scene_of(services, parse("/ui/", query, "/ui/"), "/ui/")
    parts = [answer(panel, scene, services, None, beat=False)[0]
             for panel in page_of(scene.address).panels]  # fmt: skip
    return json.dumps(parts, default=lambda part: part.to_plotly_json(), ensure_ascii=False)


def test_page_view_api_and_command_say_one_sentence(run, client, burning):
    """The verdict is the same wherever it is read, and the command ends with a finding."""
    computed = burning.view("why", {"to": AT}).sentences
    assert computed[0].startswith("first-token burns at ")
    told = client.get("/api/v1/views/why", params={"to": AT}).json()["sentences"]
    assert tuple(told) == computed
    assert computed[0] in page_text(burning, f"?to={AT}")
    code, out = run("why", "--at", AT)
    assert out.splitlines()[: len(computed)] == list(computed)
    assert code == 3
    code, out = run("why", "--at", AT, "--json")
    body = json.loads(out)
    assert (code, body["schema"]) == (3, "servescope.why/1")
    assert tuple(body["data"]["sentences"]) == computed


def test_the_evidence_is_printed_as_tables(run):
    """Objectives with both burns and the onset, and where to go on."""
    _, out = run("why", "--at", AT)
    assert "burn short" in out
    assert "2026-01-31T11:" in out
    assert "next: The objective, its burn and who spent it: servescope slo check first-token" in out


def test_a_past_time_without_trouble_is_no_finding(run):
    """Exit 0, and the sentence says how few requests there were."""
    code, out = run("why", "--at", "2026-01-31T11:10:00Z")
    assert code == 0
    assert "requests in the window" in out


def test_nothing_connected_says_so(runtime, monkeypatch, capsys):
    """An empty store is no healthy fleet."""

    class Way:
        def __enter__(self):
            return access.FileAccess(runtime)

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(access, "opened", lambda config: Way())
    assert main(["why"]) == 0
    assert capsys.readouterr().out == "No source yet.\n"
