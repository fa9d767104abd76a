"""Whatever changes something leaves a row in the record, with the name of who signed in."""

import pytest

from servescope.access.scopes import DOORS
from servescope.api.access import KEY
from servescope.page_services import page_services
from servescope.reference import openapi

SLOS = '[[slo]]\nname = "chat"\nkind = "availability"\ntarget_ratio = 0.9\nwindow = "1h"\n'
SOMEBODY = {"by": "somebody else"}
# Kept by the controller, the replays, the training and the reports, each tested there.
OF_OTHERS = (
    "/controller/", "/replays", "/predictors/", "/reports/schedules/{name}/{verb}",
    "/receivers/", "/gateway/policy",
)  # fmt: skip
READS = {("post", "/sql"), ("post", "/objectives/preview")}


@pytest.fixture
def ada(dressed, client, monkeypatch, tmp_path):
    """An admin's client, with things to change."""

    class Collecting:
        async def add(self, url):
            return url

        remove = add

    _, secret = dressed.people.desk.token_add("ada", ["admin"], None, "test")
    client.headers["Authorization"] = f"Bearer {secret}"
    slos = tmp_path / "slo.toml"
    slos.write_text(SLOS)
    monkeypatch.setattr(dressed, "collecting", Collecting)
    monkeypatch.setattr(dressed.slos, "path", slos)
    return client


def recorded(runtime):
    """(action, actor) of every change, in order."""
    frame = runtime.database.reader.frame("SELECT action, actor FROM audit ORDER BY happened_at")
    return frame.rows()


def requests_of(runtime, client):
    """(operation, request, action): what can be asked for in a store with nothing in it."""
    yield ("post", "/targets"), {"json": {"url": "http://gpu:8000"}}, "targets.watch"
    yield ("delete", "/targets"), {"params": {"url": "http://gpu:8000"}}, "targets.unwatch"
    yield ("post", "/backup"), {}, "backup"
    user = {"name": "new", "role": "viewer", "password": "correct horse battery", **SOMEBODY}
    yield ("post", "/access/users"), {"json": user}, "access.user-add"
    change = {"role": "operator", **SOMEBODY}
    yield ("patch", "/access/users/new"), {"json": change}, "access.user-change"
    yield ("delete", "/access/users/new"), {"params": SOMEBODY}, "access.user-remove"
    token = {"name": "job", "scopes": ["viewer"], **SOMEBODY}
    yield ("post", "/access/tokens"), {"json": token}, "access.token-add"
    yield ("delete", "/access/tokens/job"), {"params": SOMEBODY}, "access.token-end"
    silence = {"matchers": ['model="a"'], "createdBy": "x", "comment": "why", "seconds": 60}
    yield ("post", "/alerts/silences"), {"json": silence}, "alerts.silence"
    (silence_id,) = runtime.alerting.book.silences
    end = f"/alerts/silences/{silence_id}/end"
    yield ("post", end), {"json": SOMEBODY}, "alerts.unsilence"
    seen = client.get("/api/v1/objectives").json()
    text = {"text": SLOS.replace("0.9", "0.95"), "seen": seen["version"], **SOMEBODY}
    yield ("put", "/objectives"), {"json": text}, "slo.edit"
    schedule = {"name": "w", "template": "weekly", "when": "weekly mon 08:00"}
    yield ("post", "/reports/schedules"), {"json": {**schedule, **SOMEBODY}}, "reports.schedule.set"
    yield ("delete", "/reports/schedules/w"), {}, "reports.schedule.remove"


def test_every_change_leaves_a_row_with_the_name_that_signed_in(dressed, ada):
    """Whatever `by` says."""
    done = set()
    for (method, path), request, action in requests_of(dressed, ada):
        before = len(recorded(dressed))
        answer = ada.request(method, f"/api/v1{path}", **request)
        assert answer.status_code < 300, (method, path, answer.text)
        assert recorded(dressed)[before:] == [(action, "token ada")], (method, path)
        done.add((method, path.split("/")[1]))
    assert len(done) > 6


def test_every_unsafe_operation_is_accounted_for():
    """A new one that changes something is either asked for above or named here."""
    asked = {("post", "/imports"), ("delete", "/agents/{name}"), ("delete", "/gateways/{name}"),
             ("delete", "/access/sessions/{session_id}")}  # fmt: skip
    known = {"/targets", "/backup", "/access/", "/alerts/silences", "/objectives",
             "/reports/schedules"}  # fmt: skip
    for path, methods in openapi()["paths"].items():
        short = path.removeprefix("/api/v1")
        for method, operation in methods.items():
            if method == "get" or operation[KEY] in DOORS or (method, short) in READS | asked:
                continue
            places = (*known, *OF_OTHERS)
            assert short.startswith(places) or any(one in short for one in OF_OTHERS), (
                method,
                path,
            )


def test_what_pages_change_is_recorded_too(dressed, monkeypatch, tmp_path):
    """Saved views and silences through the pages' own desks."""
    services = page_services(dressed)
    monkeypatch.setattr(services.saved, "folder", tmp_path / "views")
    services.saved.save("night", ("slo",), {})
    services.saved.delete("night")
    services.alerts.silence(['model="a"'], 60.0, "ada", "why")

    assert recorded(dressed)[-3:] == [
        ("views.save", "dashboard"), ("views.delete", "dashboard"), ("alerts.silence", "ada")
    ]  # fmt: skip
