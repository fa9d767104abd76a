"""`servescope report run`: files, exit codes and what is said where."""

import json

import polars as pl
import pytest

from servescope.cli.main import main
from store.clock import WallClock
from store.database import Database
from store.settings import StoreSettings

FIRST = "2026-01-19T00:00:00"


@pytest.fixture
def store(tmp_path):
    """A live week of one request an hour."""
    path = tmp_path / "store.duckdb"
    hours = pl.datetime_range(
        pl.datetime(2026, 1, 19), pl.datetime(2026, 1, 25, 23), "1h", eager=True
    )
    frame = pl.DataFrame({"arrived_at": hours, "request_id": [str(k) for k in range(len(hours))]})
    frame = frame.with_columns(
        source_id=pl.lit(1), status=pl.lit("ok"), model=pl.lit("llama"), input_tokens=pl.lit(10),
        output_tokens=pl.lit(5),
    )  # fmt: skip
    with Database.open(path, StoreSettings(), WallClock()) as database:
        database.writer.append("request", frame).result()
    return path


def run(store, folder, *arguments):
    return main(["report", "run", "--store", str(store), "--out", str(folder), *arguments])


def test_files_are_named_by_template_and_period_and_replaced(store, tmp_path, capsys):
    folder = tmp_path / "new" / "folder"
    asked = ("weekly", "--period", "2026-W04", "--format", "html,md,json,csv")
    assert run(store, folder, *asked) == 0
    names = sorted(path.name for path in folder.iterdir())
    assert names == [
        "weekly-2026-W04.csv.zip", "weekly-2026-W04.html", "weekly-2026-W04.json",
        "weekly-2026-W04.md",
    ]  # fmt: skip
    said = capsys.readouterr()
    assert said.out.startswith("Weekly report: week 4 of 2026, 19 Jan to 25 Jan 2026\n")
    assert "wrote " in said.err
    assert run(store, folder, *asked) == 0
    assert sorted(path.name for path in folder.iterdir()) == names  # and no draft beside them


def test_json_is_one_document_on_stdout(store, tmp_path, capsys):
    assert run(store, tmp_path / "out", "weekly", "--period", "2026-W04", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "servescope.report.run/1"
    assert told["data"]["outcome"] == "made"
    assert told["data"]["period"]["key"] == "2026-W04"
    (file,) = told["data"]["files"]
    assert file["path"].endswith("weekly-2026-W04.html")


def test_nothing_to_report_is_said_and_nothing_is_written(store, tmp_path, capsys):
    assert run(store, tmp_path / "out", "weekly", "--period", "2024-W04") == 3
    assert "Skipped: no section has anything to say" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--format", "htm"], "did you mean html"),
        (["--format", ","], "no format is named"),
        (["--period", "2026-02-30"], "2026-W46"),
        (["yearly"], "there is no report template"),
        (["incident"], "--from"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(store, tmp_path, capsys, arguments, said):
    assert run(store, tmp_path / "out", *arguments) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_said(store, tmp_path, capsys):
    (tmp_path / "out").write_text("a file", "utf-8")
    assert run(store, tmp_path / "out", "weekly", "--period", "2026-W04") == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_template_of_ones_own(store, tmp_path):
    (tmp_path / "board.toml").write_text(
        'kind = "weekly"\ntitle = "Board"\nsections = ["traffic"]\n', "utf-8"
    )
    asked = ("board", "--templates", str(tmp_path), "--period", "2026-W04", "--format", "json")
    assert run(store, tmp_path / "out", *asked) == 0
    told = json.loads((tmp_path / "out" / "board-2026-W04.json").read_bytes())["data"]
    assert told["title"] == "Board"
    assert [section["key"] for section in told["sections"]] == ["traffic"]
