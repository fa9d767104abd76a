"""`servescope lab`: what is printed, what is written, and how it ends."""

import json
from datetime import datetime, timedelta

import polars as pl
import pytest

from collector.lab.sampler import Row
from servescope.cli import laboratory
from servescope.cli.main import main
from servescope.lab import check
from servescope.lab.dataset import Folder
from store.clock import WallClock
from store.errors import CollectError

RECORD = {
    "block": 1,
    "load": "full",
    "shape": "static",
    "copies": 1,
    "label_ttft_p": None,
    "rows": 9,
}


@pytest.fixture
def run(capsys):
    def call(*arguments):
        code = main(["lab", *(str(argument) for argument in arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def folder(tmp_path):
    """A laboratory with a run alone, one beside a neighbour, and a noisy one."""
    made = Folder(tmp_path / "lab")
    made.open(WallClock().now())
    records, frames = [], []
    for number, (aggressor, ratio, noise) in enumerate(
        [("none", 0.98, ""), ("spin", 0.5, ""), ("spin", 0.4, "background used 20% of the cores")]
    ):
        of_run = RECORD | {
            "run_id": f"b00001-r{number:02d}",
            "victim": "json",
            "family": "python",
            "aggressor": aggressor,
            "placement": "same" if number else "",
            "phase": "beside" if number else "alone",
            "label_p": ratio,
            "label_raw": ratio,
            "achieved_per_s": 100 * ratio,
            "noise": noise,
        }
        records.append(of_run)
        seconds = range(1, 10)
        start = datetime(2026, 1, 1, 12, number)
        frames.append(
            pl.DataFrame([of_run | {"second": second} for second in seconds]).with_columns(
                pl.Series("at", [start + timedelta(seconds=second) for second in seconds]),
                pl.lit(ratio).alias("second_p"),
                pl.lit(1.0).alias("busy_seconds"),
                pl.lit(1 - ratio).alias("self.waiting_ratio"),
                pl.lit(0.5).alias("host.cpu_ratio"),
                pl.lit(None, pl.Float64).alias("label_ttft_p"),
            )
        )
    made.add(1, pl.concat(frames), records)
    return made.path


def test_the_report_says_who_loses_and_what_was_thrown_away(run, folder):
    """Floor, victims, neighbours and noise, for people and as JSON."""
    code, out, _ = run("report", "--folder", folder)
    assert code == 0
    assert "beside_per_s" in out
    assert "2 of 3 runs can be trusted" in out
    assert "differ by 2.0 points" in out
    assert "discarded: 1 runs, background used … of the cores" in out
    data = json.loads(run("report", "--folder", folder, "--json")[1])["data"]
    assert data["aggressors"] == [
        {"aggressor": "spin", "placement": "same", "runs": 1, "p_mean": 0.5, "p_lowest": 0.5}
    ]


def test_the_export_is_rows_and_a_card(run, folder, tmp_path):
    """Trusted rows only, unless all are asked for; the card says what they are."""
    to = tmp_path / "rows.parquet"
    assert run("export", to, "--folder", folder)[0] == 0
    assert set(pl.read_parquet(to)["label_p"]) == {0.98, 0.5}
    card = json.loads(to.with_suffix(".json").read_text("utf-8"))
    assert card["metrics"] == ["self.waiting_ratio", "host.cpu_ratio"]
    assert card["floor_points"] == pytest.approx(2.0)
    assert card["session"]["cores"] >= 1
    run("export", to, "--folder", folder, "--noisy")
    assert pl.read_parquet(to).height == 27
    code, _, err = run("export", tmp_path / "no" / "rows.parquet", "--folder", folder)
    assert code == 2
    assert "cannot be written" in err


def test_the_export_can_be_trained_on(run, folder, tmp_path):
    """Whole runs and stretches, as the degradation predictor takes them."""
    to = tmp_path / "train.parquet"
    code, out, _ = run("export", to, "--folder", folder, "--for-training")
    assert code == 0
    assert out.startswith("4 rows of 2 runs")
    rows = pl.read_parquet(to)
    assert {"metrics", "window", "step_seconds", "outcome", "group"} <= set(rows.columns)
    assert rows.height == 4
    assert set(rows["outcome"].round(2)) == {0.98, 0.5}


def test_nothing_measured_is_one_line_that_says_what_to_do(run, tmp_path):
    """No traceback, no empty file."""
    code, out, err = run("report", "--folder", tmp_path / "none")
    assert (code, out) == (2, "")
    assert "nothing was measured here" in err
    assert "servescope lab run" in err
    assert run("export", tmp_path / "x.parquet", "--folder", tmp_path / "none")[0] == 2
    assert not (tmp_path / "x.parquet").exists()


def test_what_cannot_be_run_is_refused_before_anything_starts(run, tmp_path):
    """Names and times are checked first."""
    for arguments, text in (
        (("--victim", "nobody"), "no victim is called 'nobody'"),
        (("--aggressor", "nobody"), "no aggressor is called 'nobody'"),
        (("--minutes", "0.1"), "one block takes about"),
        (("--run-seconds", "1"), "a run takes 3 to 600 seconds"),
    ):
        code, _, err = run("run", "--folder", tmp_path / "lab", *arguments)
        assert code == 2, arguments
        assert text in err
    assert not (tmp_path / "lab").exists()


def test_a_run_that_measured_nothing_fails(run, tmp_path, monkeypatch):
    """The exit code tells a script."""

    class Broken:
        def __init__(self, *_):
            pass

        def measure(self, _):
            raise CollectError("it fell over")

    monkeypatch.setattr(laboratory, "Bench", Broken)
    code, out, err = run("run", "--folder", tmp_path / "lab", "--victim", "json")
    assert code == 1
    assert "no victim can run" in out
    assert "json cannot run: it fell over" in err


@pytest.mark.parametrize(("background", "code"), [(0.0, 0), (0.5, 3)])
def test_check_ends_with_3_on_a_host_that_is_not_quiet(run, monkeypatch, background, code):
    """A script can wait for a quiet host."""
    row = Row(0.0, 1.0, {"self.cpu_ratio": 0.1}, background, 0.0)
    monkeypatch.setattr(check, "_looked", lambda *_: row)
    monkeypatch.setattr(check.os, "sched_getaffinity", lambda _: {0, 1})
    ended, out, _ = run("check")
    assert ended == code
    assert "victims" in out
    assert ("others use 50% of the cores" in out) == (code == 3)
    data = json.loads(run("check", "--json")[1])["data"]
    assert data["background_ratio"] == background
