"""The same question on a page, in the API, by a command and in a report: the same number."""

import contextlib
import io
import json

import pytest
from starlette.testclient import TestClient

from dashboard.panels import answer
from dashboard.report import render
from dashboard.routes import page_of
from dashboard.scene import scene_of
from dashboard.services import DataAge, Services
from dashboard.text import unit_text
from dashboard.url_state import parse
from servescope.cli.access import ServerAccess
from servescope.cli.main import main
from servescope.reporting.asked import Asked
from servescope.reporting.making import asked_document
from servescope.server import create_app
from store.units import percent_text

WEEK = {"from": "2026-01-19T00:00:00Z", "to": "2026-01-26T00:00:00Z"}
SEARCH = "?" + "&".join(f"{key}={value}" for key, value in WEEK.items())
URL = "http://127.0.0.1:8787"
SQL = """SELECT count(*) AS counted, count(*) / (7 * 86400.0) AS a_second FROM requests
WHERE arrived_at >= '2026-01-19' AND arrived_at < '2026-01-26'"""
# section and key in the report; view and measure; page; command, and where its document has it.
QUESTIONS = {
    "requests": (
        ("traffic", "requests"), ("workload_arrivals", "requests"), "/ui/workload", "query",
        ("rows", 0, "counted"),
    ),
    "requests a second": (
        ("traffic", "requests_per_second"), ("workload_arrivals", "requests_per_second"),
        "/ui/workload", "query", ("rows", 0, "a_second"),
    ),
    "TTFT p95": (
        ("latency", "ttft_p95_seconds"), ("latency", "ttft_p95_seconds"),
        "/ui/latency", "latency", ("latency", "measures", "ttft_p95_seconds"),
    ),
    "share of service evenness": (
        ("fairness", "jain_index"), ("fairness", "jain_index"),
        "/ui/fairness", "fairness", ("measures", "jain_index"),
    ),
    "starts": (
        ("cold_starts", "starts"), ("cold_starts", "starts"),
        "/ui/cold-starts", "starts", ("measures", "starts"),
    ),
    "GPU-hours": (
        ("cost", "gpu_hours"), ("cost", "gpu_hours"), "/ui/cost", "cost", ("measures", "gpu_hours"),
    ),
    "money": (
        ("cost", "cost"), ("cost", "cost"), "/ui/cost", "cost", ("measures", "cost"),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def commands(place):
    """What commands print; asked before a runtime holds the store."""
    shared = ["--store", str(place / "store.duckdb"), "--config", str(place / "servescope.toml"),
              "--json"]  # fmt: skip
    week = ["--from", WEEK["from"], "--to", WEEK["to"]]
    asked = {
        "latency": ["latency", *week],
        "fairness": ["fairness", *week],
        "cost": ["cost", *week],
        "slo": ["slo", "list", "--file", str(place / "slo.toml"), *week],
        "starts": ["starts", "list", *week],
        "query": ["query", SQL],
    }
    said = {}
    for name, arguments in asked.items():
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            assert main([*arguments, *shared]) == 0
        said[name] = json.loads(out.getvalue())["data"]
    return said


@pytest.fixture(scope="module")
def report(commands, client):
    """The report over the API, read back from its JSON file."""
    way = ServerAccess(URL, client)
    runtime = client.runtime
    document = asked_document(
        Asked("weekly", period="2026-W04"), way, runtime.clock, lambda share, what: None
    )
    told = json.loads(render(document, "json").data)["data"]
    return {section["key"]: section for section in told["sections"]}


@pytest.fixture(scope="module")
def client(commands, rich):
    with TestClient(create_app(rich), base_url=URL) as opened:
        opened.runtime = rich
        yield opened


def page_text(runtime, path):
    """All panels of a page as JSON text."""
    services = Services(
        view=lambda name, params, **options: runtime.view(name, params, options),
        catalog=runtime.catalog, now=runtime.clock.now, data_age=DataAge,
        label_values=runtime.label_values, version="0",
    )  # fmt: skip
    scene = scene_of(services, parse(path, SEARCH, "/ui/"), "/ui/")
    bodies = [
        answer(panel, scene, services, None, beat=False)[0]
        for panel in page_of(scene.address).panels
        if panel.view
    ]
    return json.dumps(bodies, default=lambda part: part.to_plotly_json(), ensure_ascii=False)


def number_of(report, section, key):
    (found,) = (one for one in report[section]["numbers"] if one["key"] == key)
    return found


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_number_is_the_same_everywhere(question, report, client, commands):
    (section, key), (view, measure), page, command, place = QUESTIONS[question]
    in_report = number_of(report, section, key)
    in_api = client.get(f"/api/v1/views/{view}", params=WEEK).json()["measures"][measure]
    by_command = commands[command]
    for name in place:
        by_command = by_command[name]
    if command != "query":  # which gives bare values
        by_command = by_command["value"]
    assert in_report["value"] is not None
    assert in_report["value"] == in_api["value"] == by_command
    text = page_text(client.runtime, page)
    shown = unit_text(in_api["value"], in_api["unit"])
    assert shown.split(" ")[0] in text


def test_attainment_is_the_same_everywhere(report, client, commands):
    """The window of these objectives is a week: over the period and in their own window alike."""
    rows = client.get("/api/v1/views/slo_list", params=WEEK).json()["frames"]["slos"]["rows"]
    by_command = {row["name"]: row for row in commands["slo"]["slos"]}
    text = page_text(client.runtime, "/ui/slo")
    for row in rows:
        found = number_of(report, "slo", f"attainment.{row['name']}")
        assert found["value"] == row["attainment_ratio"]
        assert found["value"] == by_command[row["name"]]["attainment_ratio"]
        assert found["n"] == row["attempted"]
        assert percent_text(row["attainment_ratio"], 2) in text
