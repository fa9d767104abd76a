"""`servescope predictors show` says what the page says."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from servescope.cli.main import main
from store.clock import WallClock
from store.database import Database
from store.settings import StoreSettings

END = datetime(2026, 3, 1, 12, tzinfo=UTC)
RANGE = ("--from", "2026-03-01T04:00:00Z", "--to", "2026-03-01T12:00:00Z")
SCRIPT = Path(__file__).parents[1] / "data" / "fill_predictions.py"


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A store with eight hours of made-up predictions."""
    spec = importlib.util.spec_from_file_location("servescope_fill_predictions", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    path = tmp_path_factory.mktemp("predicted") / "store.duckdb"
    with Database.open(path, StoreSettings(memory_limit_bytes=256 << 20), WallClock()) as database:
        module.fill(database, END, count=600, hours=8)
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


def test_it_prints_what_the_page_shows(run, filled):
    """Requests, demand, instances and models, each with its verdict and its numbers."""
    code, out, _ = run("predictors", "show", "--store", filled, *RANGE)
    assert code == 0
    for words in (
        "output_tokens",
        "better",
        "Requests are forecast",
        "gpu-2:8000 gets",
        "against the same time yesterday",
        "champion",
        "challenger",
    ):
        assert words in out, words


def test_json_is_the_views_themselves(run, filled):
    """Programs get the same numbers as the API."""
    _, out, _ = run("predictors", "show", "--store", filled, *RANGE, "--json")
    views = json.loads(out)["data"]
    assert set(views) == {
        "predictors",
        "predictors_inputs",
        "predictors_forecast",
        "degradation_now",
        "predictors_backtest",
        "predictors_models",
    }
    rows = views["predictors"]["frames"]["quantities"]["rows"]
    assert {row["quantity"] for row in rows} >= {"output_tokens", "ttft_seconds"}


def test_an_empty_range_says_so_and_still_lists_the_models(run, filled):
    """Outside the range there is no figure, but who answers is known."""
    code, out, _ = run(
        "predictors", "show", "--store", filled,
        "--from", "2026-04-01T00:00:00Z", "--to", "2026-04-02T00:00:00Z",
    )  # fmt: skip
    assert code == 0
    assert "The last prediction is of 01 Mar 2026" in out
    assert "champion" in out


def test_without_a_store_it_is_one_line(run):
    """No store is a mistake of the call, not a crash."""
    code, out, err = run("predictors", "show")
    assert (code, out) == (2, "")
    assert "there is no store yet" in err


def test_a_back_test_is_done_kept_and_shown_again(run, filled, tmp_path):
    """By horizon and window beside the rival; what is shown later is what was told then."""
    pytest.importorskip("sklearn")
    store = shutil.copy(filled, tmp_path / "own.duckdb")
    asked = ("predictors", "backtest", "length-metadata", "--windows", "2", "--json")
    code, out, err = run(*asked, *RANGE, "--store", store)
    assert code == 0, err
    assert "window 1 of 2 is judged" in err or "in 2 windows" in err
    told = json.loads(out)["data"]
    assert told["backtest"]["source"] == "live"
    cells = told["view"]["frames"]["cells"]["rows"]
    mine = [row for row in cells if row["predictor"] == "length-metadata"]
    assert [row["window"] for row in mine] == [1, 2]
    first, second = (row["learnt_until"] for row in mine)
    # Each window ends where the next begins, and the first learns from the earlier half.
    assert mine[0]["judged_until"] == second
    assert first < second
    assert mine[0]["learnt_rows"] < mine[1]["learnt_rows"]
    assert all(row["n"] > 30 and row["rival_pinball"] > 0 for row in mine)
    code, out, _ = run("predictors", "show", *RANGE, "--store", store)
    assert "Back-test:" in out
    assert "length-metadata" in out
    query = "SELECT actor, action, subject, after->>'windows' AS windows FROM audit"
    (noted,) = json.loads(run("query", query, "--json", "--store", store)[1])["data"]["rows"]
    assert tuple(noted.values()) == ("cli", "predictors.backtest", "length-metadata", "2")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("nonsense",), "no predictor 'nonsense'"),
        (("length-metadata", "--windows", "1"), "1 windows are no back-test"),
        (("length-text",), "prompts are not kept"),
        (("length-metadata", "--model", "none"), "too few to back-test"),
    ],
)
def test_what_cannot_be_back_tested_is_said_in_one_line(run, filled, tmp_path, more, said):
    """Before a process is started, and without a trace of it in the store."""
    store = shutil.copy(filled, tmp_path / "own.duckdb")
    code, out, err = run("predictors", "backtest", *more, *RANGE, "--store", store)
    assert (code, out) == (2, "")
    assert said in err
