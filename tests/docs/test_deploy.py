"""What is for Prometheus and Grafana is as the code says, and asks only for what there is."""

import asyncio
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from controller.gateway.doubles.engine import Engine, running
from servescope import deploying
from servescope.config import load
from servescope.jobs import JobRunner
from servescope.runtime import Beside, Runtime, SloBook
from servescope.server import create_app
from store.clock import WallClock
from store.database import Database

DEPLOY = Path(__file__).parents[2] / "deploy"
UNPACKED = Path.home() / ".cache" / "servescope" / "debian" / "usr" / "bin" / "promtool"
SELECTOR = re.compile(r"\b(servescope_[a-z0-9_]+)(?:\{([^}]*)\})?")
BY = re.compile(r"by \(([^)]*)\)")
SAMPLE = re.compile(r"^(servescope_[a-z0-9_]+)(?:\{(.*)\})? ", re.MULTILINE)
TYPE = re.compile(r"^# TYPE (servescope_[a-z0-9_]+) (\w+)", re.MULTILINE)
LABEL = re.compile(r"([a-z_]+)=~?\"|([a-z_]+)!=")


@pytest.mark.parametrize("name", sorted(deploying.files()))
def test_the_files_are_as_the_code_says(name):
    """`make docs` writes them."""
    written = (DEPLOY / name).read_text("utf-8")
    assert written == deploying.files()[name], f"deploy/{name} is stale: run `make docs`"


class Counts:
    """Scrapes that were made."""

    def __init__(self):
        self.scrapes = {"ok": 1}
        self.skipped = self.dropped = self.waiting = 0


class Collecting:
    """Something that scrapes."""

    def counts(self):
        return Counts()


def server_page(folder):
    """Metrics of a server that did a little of everything."""
    config, clock = load(None, {}, {"XDG_CONFIG_HOME": str(folder)}), WallClock()
    receiver = {"name": "pager", "url": "http://127.0.0.1:1"}
    config = load(None, {"alerts.receiver": (receiver,)}, {"XDG_CONFIG_HOME": str(folder)})
    with Database.open(folder / "s.duckdb", config.store, clock) as database:
        runtime = Runtime(config, database, clock, SloBook(None, clock))
        runtime.drops.add("http", "full")
        runtime.alerting.asking.failures["outage"] += 1
        runner = JobRunner([], database.writer, clock)
        runner.runs["rollup", "done"] = 1
        runtime.beside = Beside(runner, Collecting())
        with TestClient(create_app(runtime), base_url="http://127.0.0.1:8787") as client:
            client.get("/api/v1/health")
            return client.get("/metrics").text


def exposed(*pages):
    """Metric -> labels that its samples have; those of families without one have an empty set."""
    found = {}
    for page in pages:
        for name, kind in TYPE.findall(page):
            found.setdefault(f"{name}_total" if kind == "counter" else name, set())
        for name, labels in SAMPLE.findall(page):
            names = {label for pair in LABEL.findall(labels or "") for label in pair if label}
            found.setdefault(name, set()).update(names)
    return found


@pytest.fixture(scope="module")
def gateway_page():
    """Metrics of a gateway that answered one request."""
    place = Path(__file__).parents[1] / "controller" / "gateway" / "conftest.py"
    spec = importlib.util.spec_from_file_location("servescope_gateway_conftest", place)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return asyncio.run(asked(module.gateway))


async def asked(gateway):
    async with running(Engine()) as engine, gateway(engine, line={"name": "vtc"}) as one:
        client = await one.talk()
        client.post({"model": "tiny", "messages": []})
        assert (await client.answer()).status == 200
        client.post_raw(b"{")
        assert (await client.answer()).status == 400
        client.get("/metrics")
        return (await client.answer()).body.decode()


def test_every_metric_and_label_that_is_asked_for_is_exposed(tmp_path, gateway_page):
    """By the server or by the gateway; a renamed metric fails here, not in somebody's Grafana."""
    known = exposed(server_page(tmp_path), gateway_page)
    missing = []
    for expression in deploying.expressions():
        grouped = {name.strip() for names in BY.findall(expression) for name in names.split(",")}
        for metric, inside in SELECTOR.findall(expression):
            if metric not in known:
                missing.append(metric)
                continue
            wanted = {label for pair in LABEL.findall(inside) for label in pair if label}
            missing += [f"{metric}{{{one}}}" for one in (wanted | grouped) - known[metric]]
    assert missing == []


def test_promtool_takes_the_rules():
    """Prometheus's own checker."""
    program = shutil.which("promtool") or shutil.which(str(UNPACKED))
    if program is None:
        pytest.skip("no promtool here: the rules were NOT checked. `make alertmanager` fetches it")
    done = subprocess.run(
        [program, "check", "rules", str(DEPLOY / deploying.RULES)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(deploying.RECORDED) + len(deploying.WATCHED)} rules found" in done.stdout
