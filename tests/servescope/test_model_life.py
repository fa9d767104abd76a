"""The life of a model: trained from the store, answering live, trained again, its files deleted."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from predictors import catalog
from predictors.settings import PredictSettings
from servescope.predicting import retraining
from servescope.predicting.service import Predicting
from store import models
from store.clock import VirtualClock, WallClock
from store.database import Database
from store.queries.scope import Scope
from store.settings import StoreSettings

START = datetime(2026, 3, 1)


def finished(first, n, ratio=5):
    """Requests whose length follows their prompt, so that there is something to learn."""
    random = np.random.default_rng(first)
    sizes = random.integers(10, 4000, n)
    tokens = np.maximum(sizes / ratio * random.lognormal(0, 0.1, n), 1).astype(int)
    return pl.DataFrame(
        {
            "request_id": [f"r{first + i}" for i in range(n)],
            "arrived_at": [START + timedelta(seconds=first + i) for i in range(n)],
            "status": ["ok"] * n,
            "model": ["m"] * n,
            "route": ["chat"] * n,
            "input_tokens": sizes,
            "output_tokens": tokens,
            "ttft_seconds": [0.1] * n,
            "e2e_seconds": 0.1 + 0.001 * tokens,
        }
    )


@pytest.fixture
def database(tmp_path):
    settings = StoreSettings(memory_limit_bytes=128 << 20)
    with Database.open(tmp_path / "store.duckdb", settings, WallClock()) as opened:
        yield opened


@pytest.fixture
def clock():
    return VirtualClock(START.replace(tzinfo=UTC))


@pytest.fixture
def predicting(database, clock):
    return Predicting(database, clock, PredictSettings(retrain_least_rows=200))


def ends(database, clock, first, n, **more):
    database.writer.append("request", finished(first, n, **more)).result()
    clock.advance(n + 10 if not first else n)


def everything():
    return Scope((1,), START.replace(tzinfo=UTC), START.replace(tzinfo=UTC) + timedelta(days=1))


def test_a_trained_model_answers_live_and_is_better_than_its_rival(database, clock, predicting):
    """From rows to a champion, whose predictions of new requests beat the history's."""
    pytest.importorskip("sklearn")
    ends(database, clock, 0, 1000)
    done = predicting.train("length-metadata", everything(), by="me")
    assert done.became_champion
    record = database.reader.frame("SELECT actor, action, subject, after, comment FROM audit")
    ((*who_and_what, after, why),) = record.rows()
    assert who_and_what == ["me", "predictors.train", "length-metadata"]
    assert (json.loads(after)["model_id"], why) == (done.row.model_id, done.why)
    predicting.settle()
    ends(database, clock, 1000, 400)
    predicting.settle()
    said = database.reader.frame(
        """SELECT p.model_id, p.was_fallback, r.output_tokens AS real,
          p.predicted[list_position(p.levels, 0.5)] AS ours,
          p.rival[list_position(p.levels, 0.5)] AS naive
        FROM prediction AS p JOIN request AS r USING (source_id, arrived_at, request_key)
        WHERE p.quantity = 'output_tokens' AND p.arrived_at >= $since""",
        since=START + timedelta(seconds=1000),
    )
    assert said.height >= 380
    assert said["model_id"].unique().to_list() == [done.row.model_id]
    assert not said["was_fallback"].any()
    ours, naive = ((said["real"] - said[name]).abs().mean() for name in ("ours", "naive"))
    assert ours < 0.5 * naive
    told = predicting.document()
    assert told["answering"]["output_tokens"] == done.row.model_id
    assert told["models"][0]["is_champion"]


@pytest.mark.slow
def test_a_challenger_that_is_better_live_takes_over(database, clock, predicting):
    """Answers grew: a model trained since answers unheard, wins, and is promoted with the score."""
    pytest.importorskip("sklearn")
    ends(database, clock, 0, 400)
    first = predicting.train("length-metadata", everything())
    predicting.settle()
    ends(database, clock, 400, 500, ratio=1)
    predicting.settle()
    rows = Scope((1,), (START + timedelta(seconds=400)).replace(tzinfo=UTC), everything().end)
    second = predicting.train("length-metadata", rows)
    assert not second.became_champion
    promoted = []
    for first_of_part in range(900, 1700, 200):
        ends(database, clock, first_of_part, 200, ratio=1)
        promoted += predicting.settle()["promoted"]
    assert promoted == [second.row.model_id]
    assert models.champions(database.reader) == {"length-metadata": second.row.model_id}
    reason, score = database.reader.frame(
        """SELECT p.reason, e.value < e.baseline_value AS is_better
        FROM promotion AS p JOIN evaluation AS e USING (model_id)
        WHERE p.promoted_by = 'shadow' AND e.split = 'live requests'"""
    ).row(0)
    assert "live requests" in reason
    assert score
    assert first.row.model_id != second.row.model_id
    ends(database, clock, 1700, 50, ratio=1)
    predicting.settle()
    newest = database.reader.scalar(
        "SELECT arg_max(model_id, arrived_at) FROM prediction WHERE quantity = 'output_tokens'"
    )
    assert newest == second.row.model_id


def test_a_model_whose_files_changed_is_not_used_and_the_history_answers(
    database, clock, predicting
):
    """One byte of the arrays is other: the reason is told, and answers go on."""
    pytest.importorskip("sklearn")
    ends(database, clock, 0, 400)
    done = predicting.train("length-metadata", everything())
    arrays = models.models_folder(database.path) / done.row.model_id / "arrays.safetensors"
    body = bytearray(arrays.read_bytes())
    body[-1] ^= 1
    arrays.write_bytes(bytes(body))
    told = predicting.ask(
        "length-metadata", pl.DataFrame({"model": ["m"], "input_tokens": [100.0]})
    )
    assert told["predictions"][0]["was_fallback"]
    assert "not the bytes" in predicting.document()["problems"]["length-metadata"]


def test_a_model_of_another_version_is_not_used_and_the_history_answers(
    database, clock, predicting, monkeypatch
):
    """Whole files without an array that this version wants stop nothing: the ledger goes on."""
    pytest.importorskip("sklearn")
    ends(database, clock, 0, 400)
    predicting.train("length-metadata", everything())

    def wants_more(folder):
        raise KeyError("ratios")

    monkeypatch.setattr("predictors.length.metadata.load", wants_more)
    assert predicting.settle() is not None
    told = predicting.document()["problems"]["length-metadata"]
    assert "another version" in told
    assert "ratios" in told


def registered(database, name, at, predictor="length-metadata"):
    row = models.ModelRow(name, predictor, at, at, "0", {"rows": 1})
    models.add(database.writer, row).result()
    folder = models.models_folder(database.path) / name
    folder.mkdir(parents=True)
    return folder


def test_files_of_old_models_go_and_the_champion_stays(database, clock, predicting):
    """The newest stay and whoever answers; what is no model of ours is not touched."""
    now = clock.now()
    folders = [registered(database, f"m{k}", now - timedelta(days=k)) for k in range(9)]
    models.promote(database.writer, "m8", now, "me", "good").result()
    other = models.models_folder(database.path) / "notes"
    other.mkdir()
    assert predicting.forget() == {"rows": 0, "models": 3}
    assert [folder.exists() for folder in folders] == [True] * 5 + [False] * 3 + [True]
    assert other.exists()
    assert predicting.forget() is None


def test_old_predictions_are_deleted(database, clock):
    """After the days of the settings; younger ones stay."""
    predicting = Predicting(database, clock, PredictSettings(retention_days=1))
    ends(database, clock, 0, 100)
    predicting.settle()
    clock.advance(3600)
    assert predicting.forget() is None
    clock.advance(86_400)
    assert predicting.forget()["rows"] > 100
    assert database.reader.scalar("SELECT count(*) FROM prediction") == 0


def test_a_training_is_due_when_there_are_rows_and_the_last_is_old(database, clock):
    """Too few rows: none. Then the one never trained; then none for a day, unless it drifted."""
    settings = PredictSettings(retrain_least_rows=200)
    now = (START + timedelta(hours=1)).replace(tzinfo=UTC)
    naive = now.replace(tzinfo=None)
    reader = database.reader
    assert retraining.due(reader, settings, naive, {}, {}) is None
    ends(database, clock, 0, 300)
    names = {retraining.due(reader, settings, naive, {}, {})}
    tried = {}
    while (name := retraining.due(reader, settings, naive, tried, {})) is not None:
        names.add(name)
        tried[name] = naive
    assert "length-metadata" in names
    assert "length-text" not in names
    registered(database, "new", now - timedelta(hours=2))
    others = {name: naive for name in tried if name != "length-metadata"}
    assert retraining.due(reader, settings, naive, others, {}) is None
    drifted = {"length-metadata": naive - timedelta(minutes=5)}
    assert retraining.due(reader, settings, naive, others, drifted) == "length-metadata"
    later = naive + timedelta(days=2)
    others = dict.fromkeys(others, later)
    assert retraining.due(reader, settings, later, others, {}) == "length-metadata"


def test_a_scheduled_training_that_is_refused_makes_room_for_the_next(database, clock, predicting):
    """Rows of requests are there, starts are not: the record tells it, and something is trained."""
    # What is due stays the two: a model of each other predictor is young.
    for name in set(catalog.PREDICTORS) - {"cold-start", "length-metadata"}:
        registered(database, f"young-{name}", clock.now(), name)
    ends(database, clock, 0, 300)
    told = predicting.retrain()
    assert "too few" in told["refused"]["cold-start"]
    assert told["predictor"] not in told["refused"]
    assert told["model_id"].startswith(told["predictor"])
