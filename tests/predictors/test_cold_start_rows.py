"""Rows of the store that cold-start predictors learn from, and the data sets of the back-test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from analysis.cold_start_starts import starts
from predictors import catalog
from predictors.cold_start.backtest import backtest
from predictors.cold_start.duration import ColdStart
from predictors.cold_start.forest import ForestSettings
from predictors.cold_start.phases import PhasedStart
from predictors.cold_start.rows import phase_rows, start_rows, window_rows
from store.clock import VirtualClock
from store.database import Database
from store.queries import cold_start as queries
from store.queries.scope import Scope
from store.settings import StoreSettings

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NAMES = [
    "model", "node", "cache_state", "evidence", "instance", "phase", "started_at", "ended_at",
]  # fmt: skip
SCOPE = Scope((1,), NOW - timedelta(hours=12), NOW)


@pytest.fixture
def database():
    with Database.open(None, StoreSettings(threads=1), VirtualClock(NOW)) as opened:
        yield opened


def observed(database, count=8):
    """Starts of one model on one node, every other with a warm cache, the last never ready."""
    rows = []
    for number in range(count):
        began = (NOW - timedelta(hours=10 - number)).replace(tzinfo=None)
        is_warm = number % 2 == 1
        seconds = 10 if is_warm else 60
        common = ("m", "node", "warm" if is_warm else "cold", "log", f"i{number}")
        marks = [("weights", 0, seconds)]
        marks += [("ready", seconds, seconds)] if number < count - 1 else []
        for phase, first, last in marks:
            at = [began + timedelta(seconds=s) for s in (first, last)]
            rows.append((*common, phase, *at))
    database.writer.append(
        "instance_start", pl.DataFrame(rows, schema=NAMES, orient="row")
    ).result()


def test_starts_of_the_store_become_rows_with_the_history_of_their_node(database):
    """Time to ready, cache state and history; one that never was ready is censored."""
    observed(database)
    rows = start_rows(database.reader, SCOPE)
    assert rows["outcome"].to_list()[:7] == [60, 10, 60, 10, 60, 10, 60]
    assert rows["is_censored"].to_list() == [False] * 7 + [True]
    assert rows["is_weights_cached"].to_list()[:2] == [0.0, 1.0]
    assert rows["own_loads"].to_list() == list(range(8))
    ours = ColdStart(settings=ForestSettings(trees=3))
    assert ours.fit(rows).rows == 7


def test_phases_of_the_store_are_learnt_and_added_up(database):
    """Half of the starts were warm, so both totals are possible until the cache is known."""
    observed(database)
    now = NOW.replace(tzinfo=None)
    found = starts(queries.observations(database.reader, SCOPE), now)
    phased = PhasedStart()
    phased.fit(phase_rows(found))
    asked = pl.DataFrame({"model": ["m", "m"], "is_cached_weights": [True, False]})
    assert phased.predict(asked)["total"].at(0.5) == pytest.approx([10, 60])


def test_a_phase_that_a_start_did_not_have_took_it_no_time(database):
    """One start of nine compiled: the sum of the others is not longer for it."""
    observed(database)
    began = (NOW - timedelta(hours=1)).replace(tzinfo=None)
    spans = [("compile", 0, 30), ("weights", 30, 40), ("compile", 40, 50), ("ready", 50, 50)]
    rows = [
        ("m", "node", "warm", "log", "late", phase, *(began + timedelta(seconds=s) for s in span))
        for phase, *span in spans
    ]
    database.writer.append(
        "instance_start", pl.DataFrame(rows, schema=NAMES, orient="row")
    ).result()
    made = phase_rows(
        starts(queries.observations(database.reader, SCOPE), NOW.replace(tzinfo=None))
    )
    compiled = made.filter(pl.col("phase") == "compile")["outcome"].to_list()
    assert sorted(compiled) == [0.0] * 7 + [40.0]


def test_an_empty_store_gives_no_rows(database):
    """Nothing observed is no error."""
    assert start_rows(database.reader, SCOPE).is_empty()
    assert window_rows(database.reader, SCOPE).is_empty()


def test_windows_of_the_store_are_those_of_model_and_tenant(database):
    """A tenant that asks each hour is busy in one window of six."""
    times = [(NOW - timedelta(hours=h)).replace(tzinfo=None) for h in range(1, 11)]
    frame = pl.DataFrame(
        {"arrived_at": times, "request_id": [str(n) for n in range(10)], "status": ["ok"] * 10,
         "model": ["m"] * 10, "tenant": ["t"] * 10}
    )  # fmt: skip
    database.writer.append("request", frame).result()
    rows = window_rows(database.reader, SCOPE)
    assert set(rows["client"]) == {"t"}
    assert rows.drop_nulls("outcome")["outcome"].mean() == pytest.approx(1 / 6, abs=0.02)


def test_the_catalogue_finds_both_predictors_and_their_rivals():
    """What training and serving go by."""
    for name in ("cold-start", "cold-start-busy"):
        entry = catalog.entry(name)
        assert entry.made().spec.name == name
        assert entry.made_rival().spec.quantity == entry.made().spec.quantity


def test_a_missing_data_set_is_told_and_the_rest_goes_on(tmp_path):
    """One line for each case without data, no figure, no crash."""
    told = []
    assert list(backtest(tmp_path, 0, quick=True, told=told.append)) == []
    assert any("alibaba_gentd26 is missing" in line for line in told)
    assert any("servegen is missing" in line for line in told)


@pytest.mark.slow
def test_the_back_test_gives_each_figure_with_its_rivals(tmp_path):
    """On invented data of the same shape: every method of a case judges the same rows."""
    invented(tmp_path)
    told = []
    cells = list(backtest(tmp_path, 0, quick=True, told=told.append))
    base = [
        c for c in cells if c.case == "GenTD26 base model, last 30 % of time" and c.metric == "mae"
    ]
    assert {"previous load", "boosted trees", "ours"} <= {c.method for c in base}
    assert len({c.n for c in base}) == 1
    assert all(np.isfinite(c.value) for c in base)
    assert any("lambda_perf is missing" in line for line in told)


def invented(folder):
    """A day of loads of six containers, in the files of the trace."""
    home = folder / "alibaba_gentd26"
    home.mkdir()
    random = np.random.default_rng(0)
    at = np.sort(random.choice(500, 300)) * 57 + 1_662_858_720
    who = [f"c{n}" for n in random.integers(6, size=300)]
    columns = {
        "basemodel_load": "load_duration_ms", "lora_load": "load_duration_ms",
        "controlnet_load": "load_duration_ms", "pipeline_switch": "switch_duration_ms",
        "gpu_memory_used": "gpu_memory_used_bytes", "gpu_duty_cycle": "gpu_duty_cycle_pct",
        "pod_memory_util": "memory_util_ratio", "pipeline_inference": "e2e_duration_ms",
        "model_predict": "predict_duration_ms", "queue_wait": "queue_time_ms",
    }  # fmt: skip
    for name, column in columns.items():
        values = random.lognormal(8, 1, 300)
        frame = pl.DataFrame({"ts_s": at, column: values, "container_id": who})
        frame.unique(["ts_s", "container_id"], keep="first").write_parquet(home / f"{name}.parquet")
