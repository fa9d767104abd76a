"""`servescope calibrate` and `profiles`, on a recorded run of two real llama-servers."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from controller.profile import Profile
from servescope.cli.main import main

SAMPLES = Path(__file__).parents[1] / "data" / "calibration"
SAMPLE = SAMPLES / "two_llama_servers.parquet"
BUSY = SAMPLES / "two_busy_llama_servers.parquet"
KNOWN = ("--chunked", "--token-budget", 2048, "--sequences", 4, "--cache-tokens", 8192)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys):
    def call(*arguments):
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def imported(run):
    assert run("import", SAMPLE, "--name", "run")[0] == 0
    return run


def test_a_recorded_run_gives_a_validated_profile(imported, home):
    """The later half within 10 % in the median, nearer than any rule without a simulator."""
    code, out, err = imported("calibrate", "run", *KNOWN, "--out", "mine.json", "--json")
    assert code == 0, err
    told = json.loads(out)["data"]
    simulator, *rivals = told["judged"]
    error = simulator["misses"]["e2e"]["median_ratio"]
    assert error < 0.10
    assert all(error < rival["misses"]["e2e"]["median_ratio"] for rival in rivals)
    assert abs(simulator["attainment_points"]) <= 5
    assert told["is_validated"] is True
    assert told["rows_fitted"] + told["rows_judged"] == 1406
    assert told["limits"]["sequences"] == "given"
    profile = Profile.load(home / "mine.json")
    assert profile.error.median_ratio == error
    assert profile.notes == ()


def test_queues_are_what_rules_without_a_simulator_do_not_know(run):
    """Under load the simulator stays within its bound, and the rules are four times as far off."""
    assert run("import", BUSY, "--name", "busy")[0] == 0
    code, out, err = run(
        "calibrate", "busy", "--chunked", "--token-budget", 2048, "--out", "p.json", "--json"
    )
    assert code == 0, err
    told = json.loads(out)["data"]
    simulator, *rivals = told["judged"]
    error = simulator["misses"]["e2e"]["median_ratio"]
    assert error < 0.10
    assert min(rival["misses"]["e2e"]["median_ratio"] for rival in rivals) > 4 * error
    assert abs(simulator["attainment_points"]) <= 5
    assert min(abs(rival["attainment_points"]) for rival in rivals) > 10
    assert (told["limits"]["sequences"], told["profile"]["sequences"]) == ("shown", 4)


def test_beyond_the_bound_it_says_so_and_keeps_the_profile_in_the_data_folder(imported, home):
    """Not validated is an answer, no failure; `profiles` shows it."""
    code, out, _ = imported("calibrate", "run", *KNOWN, "--bound", "0.001", "--name", "My pool")
    assert code == 0
    assert "not validated: median E2E error" in out
    assert (home / "data" / "servescope" / "profiles" / "my-pool.json").exists()
    _, listed, _ = imported("profiles", "list")
    assert "my-pool" in listed
    assert "llama2-70b-4-x-h100" in listed
    code, shown, _ = imported("profiles", "show", "My pool", "--json")
    assert json.loads(shown)["data"]["is_validated"] is False


def test_a_shipped_profile_can_be_shown(run):
    """With its source, licence and error."""
    code, out, _ = run("profiles", "show", "llama2-70b, 4 x h100")
    assert code == 0
    assert "Splitwise" in out
    assert "MIT" in out
    assert "validated: median E2E error" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("calibrate", "nobody"), "no source is called 'nobody'"),
        (("calibrate", "run", "--pool", "a"), "no target has the label pool = 'a'"),
        (("calibrate", "run", "--model", "other"), "there is no request"),
        (("calibrate", "run", "--fit-share", "0.99"), "no part to fit to"),
        (("profiles", "show", "nobody"), "there is no profile 'nobody'"),
    ],
)
def test_what_cannot_be_done_is_one_line(imported, arguments, said):
    """With what to do."""
    code, _, err = imported(*arguments)
    assert code != 0
    assert said in err
    assert "Traceback" not in err


def test_rows_without_latencies_are_refused(run, home):
    """A trace can be replayed, but nothing can be fitted to it."""
    bare = pl.read_parquet(SAMPLE).drop("ttft_seconds", "tpot_seconds", "e2e_seconds")
    bare.write_parquet(home / "bare.parquet")
    assert run("import", home / "bare.parquet", "--name", "bare")[0] == 0
    code, _, err = run("calibrate", "bare")
    assert code != 0
    assert "none of 1,406 requests have the times" in err
