"""One number wherever it is asked for, and the number that plain numpy finds in the raw file."""

import csv
import gzip
import io
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from analysis.views import VIEWS
from servescope.config import load
from servescope.importing import example_files
from servescope.runtime import Runtime, SloBook
from servescope.server import create_app
from store.clock import WallClock
from store.database import Database

pytestmark = pytest.mark.slow

TRACES = Path(__file__).parents[1] / "data" / "traces"
VTC = TRACES / "FCFS" / "all_results_overload.jsonl"
OTHERS = (
    TRACES / "conversation_trace.jsonl",
    TRACES / "BurstGPT_invented.csv",
    TRACES / "BurstGPT_sessions_invented.csv",
    *sorted((TRACES / "m-small").glob("*.csv")),
)
# Ratios of two quantities rather than shares of one, and a budget, which may be overspent.
BEYOND_ONE = (
    "budget_left_ratio",
    "lowest_budget_left_ratio",
    "output_to_input_ratio",
    "peak_to_mean_ratio",
    "peak_to_mean_day_ratio",
)
UNITS = {"requests", "requests/s", "tokens", "tokens/s", "s", "ratio", "bytes", "instances",
         "objectives", "replicas", "rows", "starts", "signals", "x", "times", ""}  # fmt: skip
WORKLOAD = ("arrivals", "burstiness", "lengths", "clients", "failures")
SLOS = """
[[slo]]
name = "first"
kind = "ttft"
threshold_seconds = 5.0
target_ratio = 0.5
window = "1d"

[[slo]]
name = "steady"
kind = "goodput"
ttft_seconds = 8.0
tpot_seconds = 0.06
target_ratio = 0.5
window = "1d"
[slo.match]
tenant = "dummy-lora-7b-rank-8-1"
"""


def call(*arguments, cwd):
    done = subprocess.run(
        [sys.executable, "-m", "servescope", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
        env={**os.environ, "XDG_CONFIG_HOME": str(cwd)},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["data"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A store with both Azure traces and a VTC run, an SLO file, and what the CLI says of them."""
    place = tmp_path_factory.mktemp("one_number")
    (place / "slo.toml").write_text(SLOS, "utf-8")
    call("import", *example_files(), VTC, *OTHERS, "--store", "s.duckdb", "--json", cwd=place)
    return place


@pytest.fixture(scope="module")
def client(folder, commands):
    """A server on the store; after the commands, which need it free, whatever test comes first."""
    config = load(None, {}, {"XDG_CONFIG_HOME": str(folder)})
    clock = WallClock()
    with Database.open(folder / "s.duckdb", config.store, clock) as database:
        slos = SloBook(folder / "slo.toml", clock)
        runtime = Runtime(config, database, clock, slos, "http://127.0.0.1:8787")
        with TestClient(create_app(runtime), base_url="http://127.0.0.1:8787") as opened:
            opened.runtime = runtime
            yield opened


@pytest.fixture(scope="module")
def commands(folder):
    """What the commands say; asked before a server holds the store."""
    sources = ("azure-2023-conv", "azure-2023-code", "vtc-fcfs-overload")
    said = {name: call("analyze", name, "--store", "s.duckdb", "--json", cwd=folder)
            for name in sources}  # fmt: skip
    listed = call(
        "slo", "list", "--store", "s.duckdb", "--file", "slo.toml", "--source",
        "vtc-fcfs-overload", "--json", cwd=folder,
    )  # fmt: skip
    return said, listed


def azure(route):
    """Seconds, input and output tokens of a packaged trace, read by hand."""
    (file,) = [file for file in example_files() if f"_{route}." in str(file)]
    with gzip.open(file, "rt") as text:
        rows = list(csv.DictReader(text))
    stamps = []
    for row in rows:
        # The file has seven decimals, a microsecond has six.
        at = datetime.fromisoformat(row["TIMESTAMP"][:26]).replace(tzinfo=UTC)
        stamps.append(round(at.timestamp() * 1e6))
    columns = ("ContextTokens", "GeneratedTokens")
    lengths = [np.array([int(row[name]) for row in rows]) for name in columns]
    return np.sort(np.array(stamps)) / 1e6 - min(stamps) / 1e6, *lengths


def vtc():
    (line,) = VTC.read_text("utf-8").splitlines()
    responses = json.loads(line)["result"]["responses"]
    return {name: np.array([r[name] for r in responses]) for name in responses[0]}


def gini(amounts):
    ordered = np.sort(amounts)
    shares = np.concatenate([[0.0], np.cumsum(ordered) / ordered.sum()])
    return 1 - float((shares[1:] + shares[:-1]).sum()) / ordered.size


def dispersion(seconds, width):
    full = int((seconds[-1] - seconds[0]) // width)
    places = ((seconds - seconds[0]) // width).astype(int)
    counts = np.bincount(places[places < full], minlength=full)
    return counts.var(ddof=1) / counts.mean()


def views_of(client, source):
    """Views by name, as the API and as the function behind it gives them."""
    told, computed = {}, {}
    for aspect in WORKLOAD:
        name = f"workload_{aspect}"
        told[name] = client.get(f"/api/v1/views/{name}", params={"source": source}).json()
        computed[name] = client.runtime.view(name, {"source": source}, {})
    return told, computed


@pytest.mark.parametrize("source", ["azure-2023-conv", "azure-2023-code", "vtc-fcfs-overload"])
def test_command_api_and_function_say_the_same(commands, client, source):
    """To the last digit, measures and tables alike; CSV and JSON hold the same rows."""
    said = commands[0][source]["views"]
    told, computed = views_of(client, source)
    for name, view in computed.items():
        for key, measure in view.measures.items():
            values = (
                measure.value,
                told[name]["measures"][key]["value"],
                said[name]["measures"][key]["value"],
            )
            assert values[0] == values[1] == values[2], (name, key)
        for frame in view.frames:
            path = f"/api/v1/views/{name}/{frame}"
            rows = client.get(path, params={"source": source, "format": "json"}).json()["rows"]
            text = client.get(path, params={"source": source, "format": "csv"}).text
            lines = list(csv.DictReader(io.StringIO(text)))
            assert len(rows) == len(lines) == view.frames[frame].height
            for row, line in zip(rows, lines, strict=True):
                for column, value in row.items():
                    if isinstance(value, float):
                        assert float(line[column]) == value, (name, frame, column)


@pytest.mark.parametrize("route", ["conv", "code"])
def test_azure_is_what_numpy_finds_in_the_file(commands, client, route):
    """Counts, moments, quantiles and dispersion of the packaged traces."""
    seconds, inputs, outputs = azure(route)
    _, views = views_of(client, f"azure-2023-{route}")
    arrivals = views["workload_arrivals"].measures
    gaps = np.diff(seconds)
    expected = {
        ("workload_arrivals", "requests"): seconds.size,
        ("workload_arrivals", "requests_per_second"): seconds.size / (seconds[-1] + 1e-6),
        ("workload_arrivals", "interarrival_cv"): gaps.std() / gaps.mean(),
        ("workload_lengths", "output_to_input_ratio"): outputs.sum() / inputs.sum(),
    }
    for name, values in (("input", inputs), ("output", outputs)):
        expected["workload_lengths", f"{name}_tokens_mean"] = values.mean()
        for percent in (50, 90, 99):
            key = ("workload_lengths", f"{name}_tokens_p{percent}")
            expected[key] = np.percentile(values, percent)
    for width in (1, 10, 60, 600):
        expected["workload_burstiness", f"idc_{width}s"] = dispersion(seconds, width)
    for (name, key), value in expected.items():
        # Stamps are rounded to a microsecond, which gaps of milliseconds feel in the ninth digit.
        assert views[name].measures[key].value == pytest.approx(value, rel=1e-7), key
    # The files hold what succeeded only: how much failed is unknown, not 0.
    assert views["workload_failures"].measures["failed"].value is None
    counts = np.bincount(seconds.astype(int))
    assert arrivals["peak_1s"].value == counts[: int(seconds[-1])].max()
    fleet = client.get("/api/v1/views/fleet", params={"source": f"azure-2023-{route}"}).json()
    covered = seconds[-1] + 1e-6
    for key, total in (
        ("requests_per_second", seconds.size),
        ("input_tokens_per_second", inputs.sum()),
        ("output_tokens_per_second", outputs.sum()),
    ):
        assert fleet["measures"][key]["value"] == pytest.approx(total / covered, rel=1e-9)
    source = {"source": f"azure-2023-{route}"}
    models = client.get("/api/v1/views/fleet_models", params=source).json()
    (model,) = models["frames"]["models"]["rows"]
    assert (model["workload"], model["requests"]) == (route, seconds.size)
    assert model["input_tokens_mean"] == pytest.approx(inputs.mean(), rel=1e-9)


def test_vtc_is_what_numpy_finds_in_the_file(commands, client):
    """Latencies to 2.2 %, tenants, shares and objectives exactly."""
    raw = vtc()
    source = {"source": "vtc-fcfs-overload"}
    served = raw["first_token_latency"] >= 0
    ttft = raw["first_token_latency"][served]
    tpot = (raw["request_latency"][served] - ttft) / (raw["output_len"][served] - 1)
    fleet = client.get("/api/v1/views/fleet", params=source).json()["measures"]
    for name, values in (("ttft", ttft), ("tpot", tpot)):
        exact = np.sort(values)[int(np.ceil(0.95 * values.size)) - 1]
        assert fleet[f"{name}_p95_seconds"]["value"] == pytest.approx(exact, rel=0.022)
        assert fleet[f"{name}_p95_seconds"]["n"] == values.size
    assert fleet["error_ratio"]["value"] == (~served).sum() / served.size
    clients = client.runtime.view("workload_clients", source, {})
    tenants, requests = np.unique(raw["adapter_dir"], return_counts=True)
    tokens = [
        (raw["prompt_len"] + np.where(served, raw["output_len"], 0))[raw["adapter_dir"] == t].sum()
        for t in tenants
    ]
    assert clients.measures["clients"].value == tenants.size
    assert clients.measures["gini_requests"].value == pytest.approx(gini(requests))
    assert clients.measures["gini_tokens"].value == pytest.approx(gini(np.array(tokens)))
    assert clients.measures["top1_share_ratio"].value == requests.max() / requests.sum()
    for row in clients.frames["clients"].iter_rows(named=True):
        mine = np.sort(raw["req_time"][raw["adapter_dir"] == row["client"]])
        gaps = np.diff(mine)
        assert row["requests"] == mine.size
        assert row["interarrival_cv"] == pytest.approx(
            gaps.std() / gaps.mean(),
            rel=1e-5,
            abs=1e-5,  # stamps are kept to the microsecond
        )


def test_objectives_are_one_number_too(commands, client):
    """The list of the command, of the API, its CSV, its detail page and a count by hand."""
    source = {"source": "vtc-fcfs-overload"}
    listed = {row["name"]: row for row in commands[1]["slos"]}
    told = {row["name"]: row for row in client.get("/api/v1/slo", params=source).json()["rows"]}
    text = client.get("/api/v1/slo", params={**source, "format": "csv"}).text
    lines = {row["name"]: row for row in csv.DictReader(io.StringIO(text))}
    raw = vtc()
    ttft = raw["first_token_latency"]
    tpot = (raw["request_latency"] - ttft) / (raw["output_len"] - 1)
    mine = raw["adapter_dir"] == "dummy-lora-7b-rank-8-1"
    good = {
        "first": (ttft >= 0) & (ttft <= 5.0),
        "steady": ((ttft >= 0) & (ttft <= 8.0) & (tpot <= 0.06))[mine],
    }
    for name, kept in good.items():
        ratio = kept.sum() / kept.size
        detail = client.get("/api/v1/views/slo_detail", params={**source, "slo": name}).json()
        assert listed[name]["attainment_ratio"] == told[name]["attainment_ratio"] == ratio
        assert float(lines[name]["attainment_ratio"]) == ratio
        assert detail["measures"]["attainment_ratio"]["value"] == ratio
        assert (
            detail["measures"]["budget_left_ratio"]["value"] == (listed[name]["budget_left_ratio"])
        )
        assert listed[name]["budget_left_ratio"] == pytest.approx(1 - (1 - ratio) / 0.5)
        assert told[name] == listed[name]


def all_views(client):
    """Every view of every source, the comparison with another source among them."""
    for source in client.runtime.catalog():
        for name in VIEWS:
            options = {
                "slo_detail": {"slo": "first"},
                "workload_compare": {"against": "previous"},
                "candidate_course": {"candidate": "1"},
            }
            given = options.get(name, {})
            if name == "workload_compare" and source.name != "azure-2023-conv":
                given = {"against": "azure-2023-conv"}
            yield source.name, client.runtime.view(name, {"source": source.name}, given)


def assert_measure(key, measure, about):
    assert measure.unit in UNITS, about
    if measure.value is None:
        bounded = measure.low is not None or measure.high is not None
        assert bounded or len((measure.why or "").split()) >= 3, about
        return
    if measure.unit == "ratio" and key not in BEYOND_ONE:
        assert 0 <= measure.value <= 1, about
    low, high = (measure.value if end is None else end for end in (measure.low, measure.high))
    assert low - 1e-12 <= measure.value <= high + 1e-12, about


def assert_column(values, about):
    name = values.name
    assert not name.endswith(("_ms", "_milliseconds")), about
    known = values.drop_nulls()
    if not known.dtype.is_float() or known.is_empty():
        return
    assert known.is_finite().all(), about
    if name.endswith("_ratio") and name not in BEYOND_ONE:
        assert -1e-12 <= known.min() <= known.max() <= 1 + 1e-12, about


def test_every_unit_and_every_reason(commands, client):
    """Shares lie in 0 to 1, no number is without a unit or a reason, nothing is NaN or in ms."""
    for source, view in all_views(client):
        for key, measure in view.measures.items():
            assert_measure(key, measure, (source, view.name, key, measure))
        for frame_name, frame in view.frames.items():
            for values in frame:
                assert_column(values, (source, view.name, frame_name, values.name))


def test_traces_that_record_no_failures_can_be_compared(client):
    """The demo's first finding is also what a comparison of its two traces begins with."""
    answer = client.get(
        "/api/v1/views/workload_compare",
        params={"source": "azure-2023-conv", "against": "azure-2023-code"},
    ).json()
    assert answer["empty"] is None
    assert answer["sentences"][0].startswith("code arrives 10x burstier than conv")
    quantities = {row["quantity"] for row in answer["frames"]["differences"]["rows"]}
    assert {"output_tokens", "requests_per_second"} <= quantities
    assert "failure_ratio" not in quantities
