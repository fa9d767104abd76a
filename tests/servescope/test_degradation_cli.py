"""`servescope degradation` says what the page says."""

from __future__ import annotations

import importlib.util
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from servescope.cli.main import main
from store.clock import WallClock
from store.database import Database
from store.settings import StoreSettings

END = datetime(2026, 3, 1, 12, tzinfo=UTC)
AT = ("--at", "2026-03-01T12:00:00Z", "--from", "2026-03-01T06:00:00Z")
SCRIPT = Path(__file__).parents[1] / "data" / "degraded_fleet.py"


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A store with a made-up fleet of which one instance is slowed."""
    spec = importlib.util.spec_from_file_location("servescope_degraded_fleet_cli", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    path = tmp_path_factory.mktemp("degraded") / "store.duckdb"
    with Database.open(path, StoreSettings(memory_limit_bytes=256 << 20), WallClock()) as database:
        module.fill(database, END)
    return path


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run a command in a home of its own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_it_prints_who_is_slow_with_suspects_and_what_was_like_it(run, filled):
    code, out, _ = run("degradation", "--store", filled, *AT)
    assert code == 0
    for words in (
        "gpu-1:8000 takes 1.7 times as long per token",
        "Suspects of gpu-1:8000@2026-03-01T11:35:00 (association, not cause)",
        "Processes that want to run rose from 2 to 12",
        "Similar to",
        "recovered by itself",
        "it wrote nothing for 2 h",
    ):
        assert words in out


def test_json_is_one_document_and_an_incident_can_be_chosen(run, filled):
    _, out, _ = run("degradation", "--store", filled, *AT, "--json")
    found = json.loads(out)["data"]
    keys = [row["incident"] for row in found["frames"]["incidents"]["rows"]]
    assert len(keys) == 3
    of_clock = next(key for key in keys if key.startswith("gpu-2"))
    _, out, _ = run("degradation", "--store", filled, *AT, "--incident", of_clock, "--json")
    chosen = json.loads(out)["data"]["frames"]
    assert chosen["suspects"]["rows"][0]["resource"] == "GPU clock"


def test_an_earlier_time_shows_what_was_known_then(run, filled):
    _, out, _ = run("degradation", "--store", filled, "--at", "2026-03-01T08:05:00Z")
    assert "gpu-1:8000 takes 1.5" in out or "gpu-1:8000 takes 1.6" in out


def test_an_unknown_incident_is_refused(run, filled):
    code, _, err = run("degradation", "--store", filled, *AT, "--incident", "nobody@never")
    assert code == 2
    assert "no incident 'nobody@never'" in err
