"""What is changed in the registry of models without a server is kept in the record all the same."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import polars as pl
import pytest

from predictors import worker
from servescope import training
from servescope.cli.main import main
from store import models
from store.clock import WallClock
from store.database import Database
from store.settings import StoreSettings

AT = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def path(tmp_path):
    """A store with a champion and a challenger, and the files of both."""
    path = tmp_path / "s.duckdb"
    with Database.open(path, StoreSettings(threads=1), WallClock()) as database:
        for name in ("length-1", "length-2"):
            (models.models_folder(path) / name).mkdir(parents=True)
            row = models.ModelRow(name, "length-metadata", AT, AT, "0", {"rows": 9})
            models.add(database.writer, row).result()
        models.promote(database.writer, "length-1", AT, "test", "first").result()
    return path


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run a command in a home of its own."""
    for name in ("DATA", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))

    def call(*arguments):
        code = main([str(argument) for argument in arguments])
        return (code, *capsys.readouterr())

    return call


def record(path):
    with Database.open(path, StoreSettings(threads=1), WallClock()) as database:
        return database.reader.frame("SELECT * EXCLUDE (happened_at) FROM audit").to_dicts()


def test_a_promotion_by_the_cli_is_kept(run, path):
    code, _, err = run(
        "predictors", "promote", "length-2", "--reason", "better since Monday", "--store", path
    )
    assert code == 0, err
    (row,) = record(path)
    assert (row["actor"], row["action"], row["subject"], row["origin"], row["comment"]) == (
        "cli", "predictors.promote", "length-2", "cli", "better since Monday",
    )  # fmt: skip
    assert json.loads(row["before"]) == {"model_id": "length-1"}
    assert json.loads(row["after"]) == {"model_id": "length-2"}


def test_a_training_by_the_cli_is_kept(run, path, tmp_path, monkeypatch):
    """What the process that trains would leave is put there; the rest is as it runs."""

    def work(folder, *_):
        for place in (folder / worker.MODEL, folder / f"{worker.MODEL}.rival"):
            place.mkdir()
            manifest = {"arrays_sha256": "0", "spec": {"features": []}}
            (place / "manifest.json").write_text(json.dumps(manifest))
        return {
            "model_id": "length-3", "rows": 500, "held_out_rows": 100, "seconds": 1.0,
            "notes": [], "rival_id": "history", "ours": None, "rival": None,
        }  # fmt: skip

    monkeypatch.setattr(training, "work", work)
    rows = tmp_path / "rows.parquet"
    pl.DataFrame({"at": [AT.replace(tzinfo=None)] * 500}).write_parquet(rows)
    code, _, err = run("train", "length-metadata", "--rows", rows, "--store", path)
    assert code == 0, err
    (row,) = record(path)
    assert (row["actor"], row["action"], row["subject"], row["origin"]) == (
        "cli", "predictors.train", "length-metadata", "cli",
    )  # fmt: skip
    assert json.loads(row["after"]) == {
        "model_id": "length-3", "is_champion": False, "rows": 500
    }  # fmt: skip
    assert "rival goes on answering" in row["comment"]
