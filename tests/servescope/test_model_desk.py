"""Making a model champion from a page: who, why, and not over somebody who was faster."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace

import pytest

from servescope.predicting.desk import ModelDesk
from servescope.training import promote
from store import models
from store.clock import VirtualClock
from store.database import Database
from store.errors import InputError
from store.settings import StoreSettings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def database():
    """A store with two models of one predictor; the first answers."""
    with Database.open(None, StoreSettings(threads=1), VirtualClock(NOW)) as opened:
        for name in ("length-1", "length-2"):
            row = models.ModelRow(name, "output-tokens", NOW, NOW, "0", {"rows": 9})
            models.add(opened.writer, row).result()
        models.promote(opened.writer, "length-1", NOW, "test", "first").result()
        yield opened


@pytest.fixture
def desk(database):
    """The desk over a service that promotes as the server's does."""
    later = VirtualClock(NOW + timedelta(minutes=1))
    return ModelDesk(SimpleNamespace(promote=partial(promote, database, later)), database)


def _audit(database):
    sql = "SELECT actor, action, subject, before, after, origin, comment FROM audit"
    return [
        {**row, "before": json.loads(row["before"]), "after": json.loads(row["after"])}
        for row in database.reader.frame(sql).to_dicts()
    ]


def test_the_change_is_kept_with_who_and_why(database, desk):
    told = desk.promote("length-2", "length-1", "ana", "better since Monday")
    assert told["before"] == "length-1"
    (row,) = _audit(database)
    assert row == {
        "actor": "ana", "action": "predictors.promote", "subject": "length-2",
        "before": {"model_id": "length-1"}, "after": {"model_id": "length-2"},
        "origin": "dashboard", "comment": "better since Monday",
    }  # fmt: skip
    champions = models.listed(database.reader).filter("is_champion")["model_id"].to_list()
    assert champions == ["length-2"]


def test_who_saw_another_champion_is_refused(database, desk):
    with pytest.raises(InputError, match="length-1 answers by now"):
        desk.promote("length-2", "length-0", "ana", "x")
    assert _audit(database) == []


def test_models_without_their_files_are_told_beforehand(tmp_path):
    """Those of which the folder is gone; the others may answer."""
    path = tmp_path / "a.duckdb"
    with Database.open(path, StoreSettings(threads=1), VirtualClock(NOW)) as database:
        for name in ("here", "gone"):
            row = models.ModelRow(name, "output-tokens", NOW, NOW, "0", {"rows": 9})
            models.add(database.writer, row).result()
        (models.models_folder(path) / "here").mkdir(parents=True)
        told = ModelDesk(SimpleNamespace(), database).refused()
        with pytest.raises(InputError, match="were deleted"):
            promote(database, VirtualClock(NOW), "gone", "ana", "x", "cli")
    assert list(told) == ["gone"]
    assert told["gone"].startswith("the files were deleted; train it again")
