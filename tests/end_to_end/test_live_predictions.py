"""A real engine serves; what its requests came to is predicted, and judged by it.

llama-server is the one that `servescope demo --live` would take; its model is made here.
"""

import asyncio
from datetime import timedelta

import polars as pl
import pytest

from analysis.predictors_view import predictors
from predictors.settings import PredictSettings
from servescope.live import obtain, tiny_model
from servescope.live.engine import LlamaServer
from servescope.live.sending import Load
from servescope.load.clients import Client
from servescope.predicting.service import Predicting
from store.clock import WallClock
from store.database import Database
from store.queries.scope import Scope
from store.settings import StoreSettings

pytestmark = pytest.mark.engine

CLIENTS = (Client("chat", 12.0, 10, 12), Client("batch", 6.0, 40, 30))


def load_of(engine, database, clock, name):
    """Asks the engine; each request becomes a row as its client measured it."""

    def keep(sent):
        database.writer.append("request", pl.DataFrame([load.row(sent)])).result()

    load = Load([engine.url], clock, keep, name)
    return load


def test_requests_through_an_engine_are_predicted_and_judged(tmp_path):
    """Lengths and times of real answers: said once each, with outcomes, coverage and fallback."""
    binary = obtain.find()
    if binary is None:
        pytest.skip("no llama-server: `make engine` builds one in minutes")
    model = tiny_model.write(obtain.cache_folder() / "model" / "servescope-tiny.gguf")
    clock = WallClock()
    settings = StoreSettings(memory_limit_bytes=256 << 20)
    with (
        LlamaServer(binary, model, log=tmp_path / "engine.log") as engine,
        Database.open(tmp_path / "store.duckdb", settings, clock) as database,
    ):
        predicting = Predicting(database, clock, PredictSettings())
        start = clock.now() - timedelta(seconds=1)
        for part in range(3):
            asyncio.run(load_of(engine, database, clock, f"part-{part}").clients(3.0, CLIENTS))
            predicting.settle()
        predicting.settle()
        assert predicting.settle() is None
        view = predictors(database.reader, Scope((1,), start, clock.now() + timedelta(hours=1)))
        found = {row["quantity"]: row for row in view.frames["quantities"].to_dicts()}
        ended = database.reader.scalar("SELECT count(*) FROM request WHERE status = 'ok'")
    assert ended > 60
    assert {"ttft_seconds", "e2e_seconds", "output_tokens"} <= set(found)
    for quantity in ("ttft_seconds", "e2e_seconds"):
        assert ended * 0.5 < found[quantity]["outcomes"] <= ended - 20
        assert found[quantity]["fallback_ratio"] == 1.0
    at_nine = view.frames["calibration"].filter(pl.col("level") == 0.9)
    covered = dict(at_nine.select("quantity", "coverage_ratio").iter_rows())
    assert 0.6 <= covered["ttft_seconds"] <= 1.0
