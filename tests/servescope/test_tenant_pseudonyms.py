"""Tenants by pseudonyms: one for each tenant of a store, everywhere, and never a name."""

from __future__ import annotations

import stat
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from servescope.config import load
from servescope.runtime import Runtime
from servescope.server import create_app
from servescope.settings import DashboardSettings
from servescope.veil import Veil
from store.database import Database
from store.errors import ConfigError, InputError, StoreError
from store.pseudonyms import pseudonym, secret_of, secret_path

NAMES = ("acme-internal", "zx")


@pytest.fixture
def hidden(runtime, more_requests):
    """The runtime of the other tests with two more tenants, their names hidden."""
    for name in NAMES:
        runtime.database.writer.append("request", more_requests(40, tenant=name)).result()
    config = replace(runtime.config, dashboard=DashboardSettings("pseudonyms"))
    return Runtime(config, runtime.database, runtime.clock, runtime.slos, runtime.url)


@pytest.fixture
def client(hidden):
    app = create_app(hidden)
    with TestClient(app, base_url="http://127.0.0.1:8787") as opened:
        yield opened


PLACES = (
    "/api/v1/views/fairness", "/api/v1/views/fairness/tenants?format=csv",
    "/api/v1/views/fairness_interference",
    "/api/v1/views/workload_clients", "/api/v1/views/workload_findings",
    "/api/v1/views/workload_failures", "/api/v1/views/slo_detail?slo=chat",
    "/api/v1/views/latency_requests", "/api/v1/requests", "/api/v1/workload",
    "/api/v1/workload?lines=true", "/api/v1/export/requests",
)  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_no_answer_holds_a_name(client, hidden, place):
    """Views, their tables, raw rows, the report: pseudonyms or a refusal."""
    text = client.get(place).text

    assert "acme-internal" not in text
    assert '"zx"' not in text
    assert ",zx," not in text
    assert " zx " not in text


def test_the_same_tenant_has_the_same_pseudonym_everywhere(client, hidden):
    """In the view, the filters and the rows."""
    shown = hidden.veils.kept.of("acme-internal")

    view = client.get("/api/v1/views/fairness").json()
    rows = client.get("/api/v1/requests?limit=1000").json()["rows"]

    assert shown in [row["tenant"] for row in view["frames"]["tenants"]["rows"]]
    assert shown in {row["tenant"] for row in rows}
    assert shown in hidden.label_values({})["tenant"]


def test_a_pseudonym_filters_and_a_name_does_not(client, hidden):
    """Addresses carry pseudonyms; asking by name tells nothing."""
    shown = hidden.veils.kept.of("acme-internal")

    found = client.get(f"/api/v1/views/fairness?tenant={shown}").json()
    refused = client.get("/api/v1/views/fairness?tenant=acme-internal")

    assert found["scope"]["tenant"] == [shown]
    assert [row["tenant"] for row in found["frames"]["tenants"]["rows"]] == [shown]
    assert refused.status_code == 400
    assert "no tenant is called" in refused.text
    weighted = client.get(f"/api/v1/views/fairness?weights={shown}:2").json()
    weights = {row["tenant"]: row["weight"] for row in weighted["frames"]["tenants"]["rows"]}
    assert weights[shown] == 2


def test_a_report_schedule_shows_no_name(hidden):
    """Whoever writes the file knows the name; whoever asks the server sees and gives pseudonyms."""
    shown = hidden.veils.kept.of("acme-internal")
    table = {"name": "big", "template": "weekly", "when": "weekly mon 08:00",
             "scope": {"tenant": "acme-internal"}}  # fmt: skip
    config = replace(hidden.config, reports=replace(hidden.config.reports, schedule=(table,)))
    runtime = Runtime(config, hidden.database, hidden.clock, hidden.slos, hidden.url)
    runtime.reporting.book.keep_written()
    with TestClient(create_app(runtime), base_url="http://127.0.0.1:8787") as client:
        client.post("/api/v1/reports/schedules/big/run", json={})
        for place in ("", "/schedules/big", f"/runs/{runtime.reporting.open_runs()[0]['run_id']}"):
            text = client.get(f"/api/v1/reports{place}").text
            assert "acme-internal" not in text
            assert shown in text or not place
        add = "/api/v1/reports/schedules"
        refused = client.post(add, json={**table, "name": "named"})
        assert (refused.status_code, "no tenant is called" in refused.text) == (400, True)
        hidden_one = {**table, "name": "hidden", "scope": {"tenant": shown}}
        assert client.post(add, json=hidden_one).json()["scope"] == f"tenant {shown}"


def test_sql_would_show_names_and_is_refused(client):
    """With the setting that would allow it."""
    answer = client.post("/api/v1/sql", json={"sql": "SELECT tenant FROM requests"})

    assert answer.status_code >= 400
    assert "dashboard.tenant_names" in answer.text


def test_names_are_shown_unless_hidden(runtime, more_requests):
    """The default changes nothing."""
    runtime.database.writer.append("request", more_requests(5, tenant="acme")).result()

    assert runtime.veils.now is None
    assert "acme" in runtime.label_values({})["tenant"]


def test_the_secret_stays_with_the_store_and_is_nobody_elses(tmp_path, clock):
    """Made once, for its owner only, not in the store; another store has another one."""
    store = tmp_path / "a.duckdb"

    first, again = secret_of(store), secret_of(store)

    assert first == again
    assert stat.S_IMODE(secret_path(store).stat().st_mode) == 0o600
    assert secret_of(tmp_path / "b.duckdb") != first
    assert pseudonym(first, "a") == pseudonym(first, "a") != pseudonym(first, "b")
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("a.duckdb.secret.")] == []
    with Database.open(None, load(None, {}, {}).store, clock) as memory:
        assert Veil(memory).of("a").startswith("tenant-")


def test_a_damaged_secret_is_said(tmp_path):
    """What it is, where, and what removing it costs."""
    store = tmp_path / "a.duckdb"
    secret_path(store).write_text("abc")

    with pytest.raises(StoreError, match="damaged") as caught:
        secret_of(store)
    assert "other pseudonyms" in str(caught.value.hint)


def test_the_setting_takes_two_values(tmp_path):
    """A typo is told when the process starts."""
    file = tmp_path / "servescope.toml"
    file.write_text('[dashboard]\ntenant_names = "hidden"\n')

    with pytest.raises(ConfigError, match="shown, pseudonyms or pseudonyms-for-viewers"):
        load(file, {}, {})


def test_words_of_other_things_are_not_taken_for_tenants(hidden):
    """A short name is one only behind the word tenant; a name inside a word never is."""
    said = hidden.veils.kept.speech(hidden.veils.kept.known())

    assert said("zx of azx") == "zx of azx"
    assert said("tenant zx") == f"tenant {hidden.veils.kept.of('zx')}"
    assert said("acme-internal-2 acme-internal.") == (
        f"acme-internal-2 {hidden.veils.kept.of('acme-internal')}."
    )
    with pytest.raises(InputError):
        hidden.veils.kept.params({"tenant": "zx"})
