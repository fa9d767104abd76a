"""The registry of models, and how predictions enter the store."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from store import models, retention
from store.append_predictions import TIERS, tier_table
from store.clock import WallClock
from store.database import Database
from store.errors import InputError
from store.settings import StoreSettings

AT = datetime(2026, 1, 1, tzinfo=UTC)
LEVELS = [0.1, 0.5, 0.9]


@pytest.fixture
def database():
    with Database.open(None, StoreSettings(memory_limit_bytes=128 << 20), WallClock()) as opened:
        yield opened


def model(name, at=AT, pinball=1.0):
    scores = (
        models.Evaluation("last fifth", "pinball", pinball, 2.0, 50),
        models.Evaluation("last fifth", "coverage_q90", None, 0.9, 50),
    )
    return models.ModelRow(name, "length", at, at, "hash", {"rows": 10}, scores)


def test_the_newest_promotion_decides_who_answers(database):
    """Promoting names who answered before; promoting the same again changes nothing."""
    writer = database.writer
    assert models.add(writer, model("a")).result()
    assert models.add(writer, model("b", AT + timedelta(hours=1))).result()
    assert models.champions(database.reader) == {}
    assert models.promote(writer, "a", AT, "me", "first").result() is None
    assert models.promote(writer, "b", AT + timedelta(1), "me", "better").result() == "a"
    assert models.promote(writer, "b", AT + timedelta(2), "me", "again").result() == "b"
    assert models.champions(database.reader) == {"length": "b"}
    assert database.reader.scalar("SELECT count(*) FROM promotion") == 2


def test_a_model_is_registered_once_with_its_scores(database):
    """The same model again adds nothing; its scores stand beside the rival's; unknown is null."""
    assert models.add(database.writer, model("a")).result()
    assert not models.add(database.writer, model("a")).result()
    (row,) = models.listed(database.reader).to_dicts()
    assert (row["rows"], row["skill_ratio"], row["coverage_q90"]) == (10, 0.5, None)
    assert models.listed(database.reader, "demand").is_empty()


def test_a_model_nobody_registered_is_not_promoted(database):
    """The refusal says where to look."""
    with pytest.raises(InputError, match="no model 'x'"):
        models.promote(database.writer, "x", AT, "me", "").result()


def prediction(request_id, value=10.0, late_seconds=0):
    return pl.DataFrame(
        {
            "source_id": [1],
            "arrived_at": [AT.replace(tzinfo=None)],
            "request_id": [request_id],
            "quantity": ["output_tokens"],
            "predicted_at": [AT.replace(tzinfo=None) + timedelta(seconds=late_seconds)],
            "was_before": [True],
            "key": [["m"]],
            "levels": [LEVELS],
            "predicted": [[1.0, value, 20.0]],
            "rival": [[1.0, 5.0, 20.0]],
            "model_id": ["a"],
            "rival_id": ["r"],
            "calibration": ["raw"],
            "was_fallback": [False],
        }
    )


def test_every_fourth_prediction_and_so_on_is_kept_once_more(database):
    """By the key of its request; what is told twice and what has grown old is in none of them."""
    said = pl.concat([prediction(f"r{number}") for number in range(300)])
    for _ in range(2):
        database.writer.append("prediction", said).result()
    for one_in in TIERS:
        table, meant = tier_table(one_in), f"request_key % {one_in} = 0"
        kept, all_of_them = (
            database.reader.frame(f"SELECT * FROM {name} ORDER BY request_key")
            for name in (table, f"prediction WHERE {meant}")
        )
        assert kept.equals(all_of_them)
        assert kept.height or one_in > 64
    assert retention.delete_predictions(database.writer, 1.0, AT + timedelta(days=2)) == 300
    for one_in in TIERS:
        assert database.reader.scalar(f"SELECT count(*) FROM {tier_table(one_in)}") == 0


def test_a_prediction_finds_the_request_it_was_about(database):
    """Of two in one batch the first counts, and its outcome is the request with the same id."""
    twice = pl.concat([prediction("r1", 11.0, 1), prediction("r1"), prediction("r2")])
    assert database.writer.append("prediction", twice).result() == 2
    assert database.writer.append("prediction", prediction("r1")).result() == 0
    request = pl.DataFrame(
        {
            "request_id": ["r1"],
            "arrived_at": [AT.replace(tzinfo=None)],
            "status": ["ok"],
            "output_tokens": [12],
        }
    )
    database.writer.append("request", request).result()
    found = database.reader.frame(
        "SELECT predicted, output_tokens FROM prediction"
        " JOIN request USING (source_id, arrived_at, request_key)"
    )
    assert found.rows() == [([1.0, 10.0, 20.0], 12)]


def test_a_forecast_is_kept_once(database):
    """One of a time, quantity, key and horizon."""
    rows = prediction("x").drop("arrived_at", "request_id", "predicted_at", "was_before")
    rows = rows.with_columns(made_at=pl.lit(AT.replace(tzinfo=None)), horizon_seconds=pl.lit(600.0))
    assert database.writer.append("forecast", rows).result() == 1
    assert database.writer.append("forecast", rows).result() == 0
