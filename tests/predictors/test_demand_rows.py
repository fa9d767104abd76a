"""Demand of the store, and the back-test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from predictors import catalog
from predictors.demand.backtest import backtest
from predictors.demand.rows import questions, rate_rows, token_rows
from predictors.demand.windows import STEPS, TOTAL
from store.clock import VirtualClock
from store.database import Database
from store.queries.scope import Scope
from store.settings import StoreSettings

NOW = datetime(2026, 3, 1, 12, 3, 20, tzinfo=UTC)
SCOPE = Scope((1,), NOW - timedelta(hours=12), NOW)


@pytest.fixture
def database():
    with Database.open(None, StoreSettings(threads=1), VirtualClock(NOW)) as opened:
        yield opened


def asked(database, every_seconds=60, hours=8):
    """One request a minute of 100 + 50 tokens, tenants in turn, up to now."""
    count = hours * 3600 // every_seconds
    last = NOW.replace(tzinfo=None) - timedelta(seconds=1)
    frame = pl.DataFrame(
        {
            "arrived_at": [last - timedelta(seconds=every_seconds * n) for n in range(count)],
            "request_id": [str(n) for n in range(count)],
            "status": ["ok"] * count,
            "model": ["m"] * count,
            "tenant": ["a" if n % 2 else "b" for n in range(count)],
            "input_tokens": [100] * count,
            "output_tokens": [50] * count,
        }
    )
    database.writer.append("request", frame).result()


def test_an_empty_store_asks_nothing(database):
    """No request, no question, no row to learn from."""
    assert questions(database.reader, SCOPE, "requests_per_second").is_empty()
    assert rate_rows(database.reader, SCOPE).is_empty()


def test_windows_end_with_the_newest_whole_minute(database):
    """Ten requests in each ten minutes, counted up to the minute that has just ended."""
    asked(database)
    rows = questions(database.reader, SCOPE, "requests_per_second")
    assert set(rows["tenant"]) == {TOTAL, "a", "b"}
    assert rows["at"].unique().to_list() == [datetime(2026, 3, 1, 12, 3)]
    assert sorted(rows["horizon_seconds"].unique()) == [
        600.0 * step for step in range(1, STEPS + 1)
    ]
    whole = rows.filter(pl.col("tenant") == TOTAL)["recent"][0]
    assert whole[-6:].to_list() == pytest.approx([1 / 60] * 6)


def test_tokens_are_those_in_and_out(database):
    """150 tokens a minute."""
    asked(database)
    rows = token_rows(database.reader, SCOPE).filter(pl.col("tenant") == TOTAL)
    assert rows["outcome"].drop_nulls()[-1] == pytest.approx(150 / 60)


def test_rows_to_learn_from_hold_no_window_that_has_not_ended(database):
    """The last origins have outcomes only as far as windows have ended."""
    asked(database)
    rows = rate_rows(database.reader, SCOPE)
    ends = rows.with_columns(pl.col("at") + pl.duration(seconds="horizon_seconds"))
    known = ends.filter(pl.col("outcome").is_not_null())
    assert known["at"].max() == datetime(2026, 3, 1, 12, 3)
    assert (ends.filter(pl.col("outcome").is_null())["at"] > datetime(2026, 3, 1, 12, 3)).all()


def test_a_rival_fitted_on_the_store_answers_the_next_hour(database):
    """From rows of the store to a forecast of them."""
    asked(database)
    rival = catalog.entry("demand-rate").made_rival()
    rival.fit(rate_rows(database.reader, SCOPE))
    made = rival.predict(questions(database.reader, SCOPE, "requests_per_second"))
    assert np.allclose(made.quantiles.at(0.5)[:STEPS], 1 / 60, rtol=0.2)


def test_the_catalogue_finds_both_predictors_and_their_rivals():
    """What training and serving go by."""
    for name in ("demand-rate", "demand-tokens"):
        entry = catalog.entry(name)
        assert entry.made().spec.name == name
        assert entry.made_rival().spec.quantity == entry.made().spec.quantity


def test_a_missing_data_set_is_told(tmp_path):
    """One line for each data set, no figure, no crash."""
    told = []
    assert list(backtest(tmp_path, 0, quick=True, told=told.append)) == []
    assert any("servegen" in line for line in told)
    assert any("harmony_fisher" in line for line in told)


@pytest.mark.slow
def test_the_back_test_gives_each_figure_with_its_rivals(tmp_path):
    """On invented data of the same shape: every method of a case judges the same rows."""
    invented(tmp_path)
    cells = list(backtest(tmp_path, 0, quick=True, told=lambda line: None))
    case = [c for c in cells if c.case.startswith("servegen, last") and c.metric == "pinball_ratio"]
    assert {"last value", "boosted quantiles", "servescope"} <= {c.method for c in case}
    assert len({c.n for c in case}) == 1
    harmony = [c for c in cells if c.case.startswith("harmony") and c.metric == "crps"]
    assert {"last value", "ridge on lags", "pool of experts"} <= {c.method for c in harmony}


def invented(folder):
    """Seven days of three clients, and a week of two indicators."""
    random = np.random.default_rng(0)
    place = np.arange(7 * 144)
    day = 2 + np.sin(2 * np.pi * place / 144)
    (folder / "servegen").mkdir()
    pl.concat(
        pl.DataFrame(
            {
                "model": ["m"] * len(place),
                "client_id": [number] * len(place),
                "window_start_s": place * 600,
                "rate_req_per_s": (number + 1) * day * random.lognormal(0, 0.1, len(place)),
            }
        )
        for number in range(3)
    ).write_parquet(folder / "servegen" / "windows.parquet")
    (folder / "harmony_fisher").mkdir()
    pl.DataFrame(
        {
            "container": [1] * len(place),
            "time": [datetime(2026, 1, 1) + timedelta(seconds=600 * int(p)) for p in place],
            "load": day + random.normal(0, 0.1, len(place)),
            "blkio_read_bytes": random.choice([1.0, 2.0], len(place)),
        }
    ).write_parquet(folder / "harmony_fisher" / "containers.parquet")
