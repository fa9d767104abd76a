"""What the server says about later times: the state of instances, demand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from analysis.cold_start import cold_starts
from analysis.degradation_view import degradation_now
from analysis.predictors_forecast import predictors_forecast
from predictors.settings import PredictSettings
from servescope.predicting.service import Predicting
from store.clock import VirtualClock, WallClock
from store.database import Database
from store.queries.scope import Scope
from store.settings import StoreSettings
from store.targets import describe, register

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def database():
    settings = StoreSettings(memory_limit_bytes=256 << 20)
    with Database.open(None, settings, WallClock()) as opened:
        yield opened


def sample(database, target, signal, values, end=NOW):
    """A point every ten seconds until `end`."""
    last = end.replace(tzinfo=None)
    times = [last - timedelta(seconds=10 * (len(values) - k) - 1) for k in range(len(values))]
    kind = "counter" if signal.endswith("_total") else "gauge"
    database.writer.append(
        "sample",
        pl.DataFrame({"sampled_at": times, "value": values}).with_columns(
            target_id=pl.lit(target, pl.Int32),
            signal=pl.lit(signal),
            labels=pl.lit("{}"),
            unit=pl.lit(""),
            kind=pl.lit(kind),
        ),
    ).result()


def engine(database, points=180):
    target = register(database.writer, "http://node-1:8000/metrics", NOW - timedelta(1)).result()
    describe(database.writer, target, engine="vllm", engine_version="1.0", model="m").result()
    sample(database, target, "requests_running", np.full(points, 4.0))
    pace = np.where(np.arange(points) % 40 < 30, 1000.0, 400.0)
    sample(database, target, "generation_tokens_total", pace.cumsum())
    sample(database, target, "requests_arrived_total", np.full(points, 5.0).cumsum())


def test_the_state_of_each_instance_becomes_rows(database):
    """Without a model its rival answers, and says so; the page finds the instance by its name."""
    engine(database)
    predicting = Predicting(database, VirtualClock(NOW), PredictSettings())
    told = predicting.estimate_degradation()
    assert told == {"degradation": 1, "degradation-ahead": 1}
    rows = database.reader.frame("SELECT * FROM forecast ORDER BY horizon_seconds")
    assert rows["horizon_seconds"].to_list() == [0.0, 30.0]
    assert rows["key"].to_list() == [["m", "node-1:8000"]] * 2
    assert rows["was_fallback"].all()
    view = degradation_now(
        database.reader, Scope((1,), NOW - timedelta(hours=1), NOW + timedelta(seconds=1))
    )
    assert view.frames["instances"]["instance"].to_list() == ["node-1:8000"]
    # Asked again at once nothing is said twice.
    predicting.estimate_degradation()
    assert database.reader.scalar("SELECT count(*) FROM forecast") == 2


def test_without_engines_there_is_nothing_to_say(database):
    """No samples, no rows, no failure."""
    predicting = Predicting(database, VirtualClock(NOW), PredictSettings())
    assert predicting.estimate_degradation() is None


def started(database, begin, seconds):
    """One start of m on node-1 that was ready after so many seconds."""
    rows = [
        (phase, begin + timedelta(seconds=first), begin + timedelta(seconds=last))
        for phase, first, last in (("container", 0, seconds), ("ready", seconds, seconds))
    ]
    database.writer.append(
        "instance_start",
        pl.DataFrame(rows, schema=("phase", "started_at", "ended_at"), orient="row").with_columns(
            instance=pl.lit("10.0.0.7:8000"),
            model=pl.lit("m"),
            node=pl.lit("node-1"),
            cache_state=pl.lit(None, pl.String),
            evidence=pl.lit("log"),
        ),
    ).result()


def test_a_start_is_expected_before_it_begins_and_stands_beside_what_it_took(database):
    """The place's previous start answers; the next start is shown with what was said of it."""
    clock = VirtualClock(NOW)
    predicting = Predicting(database, clock, PredictSettings())
    assert predicting.forecast_starts() is None
    naive = NOW.replace(tzinfo=None)
    for hours, seconds in ((6, 40.0), (4, 50.0), (2, 44.0)):
        started(database, naive - timedelta(hours=hours), seconds)
    clock.advance(700)
    assert predicting.forecast_starts() == {"cold-start": 1}
    row = database.reader.frame("SELECT * FROM forecast").row(0, named=True)
    assert (row["quantity"], row["key"]) == ("load_seconds", ["m", "m@node-1"])
    assert row["was_fallback"]
    started(database, clock.now().replace(tzinfo=None) + timedelta(seconds=60), 46.0)
    clock.advance(1200)
    view = cold_starts(database.reader, Scope((1,), NOW - timedelta(days=1), clock.now()))
    newest, before = view.frames["starts"].rows(named=True)[:2]
    assert newest["ready_seconds"] == 46.0
    assert newest["expected_p50_seconds"] == pytest.approx(44.0)
    # Three starts do not tell how far starts differ: the usual spread is there until more do.
    assert newest["expected_p90_seconds"] > 1.25 * 44.0
    assert before["expected_p50_seconds"] is None
    assert view.frames["ahead"]["place"].to_list() == ["m@node-1"]
    predicting.forecast_starts()
    state = database.reader.scalar(
        "SELECT state->>'$.learnt_until' FROM predictor_state WHERE predictor = 'cold-start'"
    )
    assert state is not None


def requests(database, first, n):
    """Requests of two tenants, one every ten seconds."""
    start = NOW.replace(tzinfo=None) + timedelta(seconds=10 * first)
    frame = pl.DataFrame(
        {
            "request_id": [f"r{first + i}" for i in range(n)],
            "arrived_at": [start + timedelta(seconds=10 * i) for i in range(n)],
            "status": ["ok"] * n,
            "model": ["m"] * n,
            "tenant": ["a" if i % 4 else "b" for i in range(n)],
            "input_tokens": [100] * n,
            "output_tokens": [50] * n,
        }
    )
    database.writer.append("request", frame).result()


def test_demand_is_forecast_an_hour_ahead_and_judged_when_it_has_come(database):
    """Six windows ahead, for the model and each tenant; later the page has outcomes for them."""
    clock = VirtualClock(NOW)
    predicting = Predicting(database, clock, PredictSettings())
    assert predicting.forecast_demand() is None
    requests(database, 0, 1080)
    clock.advance(10_800)
    told = predicting.forecast_demand()
    assert told == {"demand-rate": 18, "demand-tokens": 18}
    rows = database.reader.frame("SELECT * FROM forecast WHERE quantity = 'requests_per_second'")
    assert sorted({tuple(key) for key in rows["key"].to_list()}) == [
        ("m", "(all)"), ("m", "a"), ("m", "b"),
    ]  # fmt: skip
    assert sorted(rows["horizon_seconds"].unique()) == [600.0 * k for k in range(1, 7)]
    total = rows.filter(pl.col("key").list.get(1) == "(all)")
    medians = [
        values[levels.index(0.5)]
        for levels, values in total.select("levels", "predicted").iter_rows()
    ]
    assert medians == pytest.approx([0.1] * 6, rel=0.05)
    requests(database, 1080, 720)
    clock.advance(7200)
    predicting.forecast_demand()
    view = predictors_forecast(
        database.reader, Scope((1,), NOW, clock.now()), quantity="requests_per_second"
    )
    horizons = view.frames["horizons"]
    assert set(horizons["outcomes"]) == {3}
    state = database.reader.scalar(
        "SELECT state->>'$.learnt_until' FROM predictor_state WHERE predictor = 'demand-rate'"
    )
    assert state is not None


def test_demand_is_forecast_within_half_an_hour(database):
    """Three windows are enough for the last value; an hour later it has learnt from newer ones."""
    clock = VirtualClock(NOW)
    predicting = Predicting(database, clock, PredictSettings())
    requests(database, 0, 120)
    clock.advance(1200)
    assert predicting.forecast_demand() is None
    requests(database, 120, 60)
    clock.advance(601)
    assert predicting.forecast_demand() == {"demand-rate": 18, "demand-tokens": 18}
    names = "SELECT DISTINCT model_id FROM forecast WHERE quantity = 'requests_per_second'"
    assert database.reader.frame(names).height == 1
    requests(database, 180, 720)
    clock.advance(7200)
    predicting.forecast_demand()
    assert database.reader.frame(names).height == 2
    # A new process takes the intervals over, though its rival learnt from other rows.
    pair = "SELECT model_id FROM predictor_state WHERE predictor = 'demand-rate'"
    before = database.reader.scalar(pair)
    again = Predicting(database, clock, PredictSettings())
    clock.advance(600)
    again.forecast_demand()
    assert database.reader.scalar(pair) == before
