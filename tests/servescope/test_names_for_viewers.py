"""Names of tenants for operators, pseudonyms for viewers and for all that is kept or sent."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from starlette.testclient import TestClient

from analysis.views import VIEWS
from dashboard import saved
from dashboard.navigation import NAVIGATION
from dashboard.panels import answer
from dashboard.routes import page_of
from dashboard.scene import scene_of
from dashboard.url_state import Address
from servescope.access.caller import Caller, calling
from servescope.config import load
from servescope.page_services import page_services
from servescope.reference import openapi
from servescope.runtime import Runtime, SloBook
from servescope.server import create_app
from store.access import ROLES, Rights
from store.clock import VirtualClock
from store.database import Database

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
URL = "http://127.0.0.1:8787"
NAMES = ("acme-internal", "Initech AG")
PROBLEM = "a silence of tenant acme-internal, which Initech AG asked for"
SLOS = """
[[slo]]
name = "chat"
kind = "availability"
target_ratio = 0.9
window = "1h"

[[slo]]
name = "big-one"
kind = "ttft"
threshold_seconds = 0.2
target_ratio = 0.9
window = "1h"
match = { tenant = ["acme-internal", "Initech AG"] }
"""
OPTIONS = {"slo": "big-one", "request": "1"}
SETTINGS = {"access.sign_in": "on", "dashboard.tenant_names": "pseudonyms-for-viewers"}


def requests(tenant, count=40):
    """Live requests of a tenant, one a minute."""
    start = NOW.replace(tzinfo=None) - timedelta(minutes=count)
    rows = [
        {"source_id": 1, "arrived_at": start + timedelta(minutes=minute), "tenant": tenant,
         "status": "failed" if minute % 10 == 9 else "ok", "model": "llama", "input_tokens": minute,
         "output_tokens": 10, "ttft_seconds": 0.1 + minute / 100}
        for minute in range(count)
    ]  # fmt: skip
    return pl.DataFrame(rows)


def settled(future):
    """Wait for a write."""
    return future.result()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with two tenants whose names stand in what people write; no test changes it."""
    tmp_path, clock = tmp_path_factory.mktemp("names"), VirtualClock(NOW)
    (tmp_path / "servescope.toml").write_text("")  # saved views lie beside it
    config = load(tmp_path / "servescope.toml", SETTINGS, {})
    (tmp_path / "slo.toml").write_text(SLOS, "utf-8")
    with Database.open(tmp_path / "store.duckdb", config.store, clock) as database:
        made = Runtime(config, database, clock, SloBook(tmp_path / "slo.toml", clock), URL)
        for name in NAMES:
            settled(database.writer.append("request", requests(name)))
        services = page_services(made)
        services.saved.save("big", ("fairness",), {"tenant": NAMES[0], "weights": f"{NAMES[0]}:2"})
        services.alerts.silence([f'tenant="{NAMES[0]}"'], 3600.0, "otto", PROBLEM)
        yield made


@pytest.fixture
def as_role(store):
    """Gives a client of a role."""
    with TestClient(create_app(store), base_url=URL) as client:

        def become(role):
            _, token = store.people.desk.token_add(f"a {role}", [role], None, "test")
            client.headers["Authorization"] = f"Bearer {token}"
            return client

        yield become


def named(text):
    """Which names a text holds."""
    return [name for name in NAMES if name in text]


def get_paths():
    """Every path of the API that only reads, with something in its places."""
    for path, methods in openapi()["paths"].items():
        if "get" in methods:
            words = dict.fromkeys(path.replace("}", "{").split("{")[1::2], "1")
            yield path.format_map(words | {"name": "fairness", "view": "fairness"})


def test_no_view_shows_a_viewer_a_name_in_any_form(as_role):
    """Documents and all their frames as CSV, JSON and Parquet."""
    viewer = as_role("viewer")
    for name, spec in VIEWS.items():
        params = {key: value for key, value in OPTIONS.items() if key in spec.options}
        answered = viewer.get(f"/api/v1/views/{name}", params=params)
        assert named(answered.text) == [], name
        for frame in answered.json().get("frames", {}):
            for form in ("csv", "parquet"):
                told = viewer.get(
                    f"/api/v1/views/{name}/{frame}", params={**params, "format": form}
                )
                is_file = form == "parquet" and told.status_code == 200
                text = str(pl.read_parquet(io.BytesIO(told.content)).to_dicts()) if is_file else ""
                assert named(text or told.text) == [], (name, frame, form)


def test_no_route_shows_a_viewer_a_name(as_role):
    """Whatever it answers, refusals included."""
    viewer = as_role("viewer")
    for path in get_paths():
        told = viewer.get(path)
        assert named(told.text) == [], path


def test_no_page_shows_a_viewer_a_name_and_operators_see_them(store):
    """Every panel of every page, its filters and the saved views."""
    services, seen = page_services(store), {}
    pages = [item.path for _, items in NAVIGATION for item in items if item.path is not None]
    pages += [("slo", "chat"), ("slo", "big-one"), ("workload", "tenants")]
    for role in ("viewer", "operator"):
        with calling(Caller("person", "x", Rights(ROLES[role], "test"))):
            for path in pages:
                scene = scene_of(services, Address(path, {}), "/ui/")
                page = page_of(scene.address)
                shown = [answer(p, scene, services, None, beat=False)[0]
                         for p in (page.panels if page else ())]  # fmt: skip
                shown += [saved.menu(services, scene), services.label_values({})]
                text = json.dumps(shown, default=str)
                seen[role, path] = named(text)
    assert {path: names for (role, path), names in seen.items() if role == "viewer" and names} == {}
    assert seen["operator", ("fairness",)] == list(NAMES)


def test_a_viewer_gets_no_rows_and_no_sql_and_an_operator_does(as_role):
    """Both hold names by their nature."""
    for role, wanted in (("viewer", 403), ("operator", 200)):
        client = as_role(role)
        asked = client.post("/api/v1/sql", json={"sql": "SELECT DISTINCT tenant FROM requests"})
        rows = client.get("/api/v1/export/requests?format=parquet")
        assert rows.status_code == wanted
        assert asked.status_code == wanted or asked.json()["code"] == "query_refused"
        assert bool(named(client.get("/api/v1/requests").text)) == (wanted == 200)


def test_whoever_sees_names_may_ask_by_either_and_others_by_pseudonyms(store, as_role):
    """Addresses in alerts hold pseudonyms; a viewer cannot find out who is there."""
    shown, operator = store.veils.kept.of(NAMES[0]), as_role("operator")
    for asked in (NAMES[0], shown):
        found = operator.get("/api/v1/views/fairness", params={"tenant": asked}).json()
        assert found["scope"]["tenant"] == [NAMES[0]]

    viewer = as_role("viewer")
    known, unknown = (
        viewer.get("/api/v1/views/fairness", params={"tenant": name}) for name in (NAMES[0], "none")
    )
    assert known.status_code == unknown.status_code == 400
    assert known.text.replace(NAMES[0], "none") == unknown.text


def test_one_cache_keeps_both_apart(store):
    """Whoever asks second does not get what the first was shown."""

    def tenants(role):
        with calling(Caller("person", "x", Rights(ROLES[role], "test"))):
            return set(store.view("fairness", {}).frames["tenants"]["tenant"])

    assert tenants("operator") == set(NAMES)
    assert not tenants("viewer") & set(NAMES)
    assert tenants("operator") == set(NAMES)


def test_what_the_server_does_by_itself_goes_by_pseudonyms(store):
    """Reports and alerts are read by everybody later; so is what a command prints."""
    assert not set(store.view("fairness", {}).frames["tenants"]["tenant"]) & set(NAMES)
    with calling(Caller("local", "", Rights(ROLES["admin"], "own user"))):
        assert not set(store.label_values({})["tenant"]) & set(NAMES)
        store.veils.refuse("SQL")
