"""Back-tests as people see them: by horizon, by window, beside the rival on the same rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from analysis.predictors_backtest import LEAST_BLOCKS, predictors_backtest
from predictors.rolling import SCHEMA
from store import backtests
from store.clock import WallClock
from store.database import Database
from store.errors import InputError
from store.queries.scope import Scope
from store.settings import StoreSettings

START = datetime(2026, 3, 1)
SCOPE = Scope((1,), START.replace(tzinfo=UTC), (START + timedelta(hours=1)).replace(tzinfo=UTC))


@pytest.fixture
def database():
    with Database.open(None, StoreSettings(memory_limit_bytes=128 << 20), WallClock()) as opened:
        yield opened


def cell(window, horizon, block, loss, rival, n=10, season=None, **more):
    row = {
        "window": window, "learnt_until": START + timedelta(hours=window),
        "judged_until": START + timedelta(hours=window + 1), "learnt_rows": 100 * window,
        "horizon_seconds": horizon, "block": block, "n": n, "loss": loss, "rival_loss": rival,
        "season_loss": season, "absolute_error": 2 * loss, "rival_absolute_error": 2 * rival,
        "outcome_sum": 10.0 * n, "below_q90": n - 1, "inside_90": n - 1, "fallbacks": 0,
    }  # fmt: skip
    return row | more


def keep(database, cells, number=0, predictor="demand-rate"):
    at = datetime(2026, 4, 1) + timedelta(minutes=number)
    row = backtests.BacktestRow(
        f"b{number}", predictor, at, "cli", "live", START, START + timedelta(hours=9), 900, 3,
        "requests/s", "demand-rate-last-value", 12.5,
    )  # fmt: skip
    backtests.add(database.writer, row, pl.DataFrame(cells, schema=SCHEMA)).result()


def cells(horizons=(600.0, 3600.0), season=None):
    """Near by half the rival's loss, far away a third more than it."""
    return [
        cell(window, horizon, block, 5.0 if horizon == 600.0 else 20.0,
             10.0 if horizon == 600.0 else 15.0, season=season)
        for window in (1, 2, 3) for horizon in horizons for block in range(6)
    ]  # fmt: skip


def test_nothing_yet_names_the_command(database):
    """Who opens the page learns what makes it."""
    view = predictors_backtest(database.reader, SCOPE)
    assert view.empty is not None
    assert "servescope predictors backtest NAME" in view.empty.text


def test_error_by_horizon_stands_beside_the_rival_on_the_same_rows(database):
    """Means a row, skill, and the ends of our error where the rival's is held."""
    keep(database, cells())
    view = predictors_backtest(database.reader, SCOPE)
    near, far = view.frames["horizons"].iter_rows(named=True)
    assert (near["horizon_seconds"], far["horizon_seconds"]) == (600.0, 3600.0)
    assert (near["n"], near["pinball"], near["rival_pinball"]) == (180, 0.5, 1.0)
    assert near["skill_ratio"] == pytest.approx(0.5)
    assert far["skill_ratio"] == pytest.approx(-1 / 3)
    # All runs alike: drawing them again changes nothing.
    assert (near["skill_low"], near["skill_high"]) == pytest.approx((0.5, 0.5))
    assert (near["error_low"], near["error_high"]) == pytest.approx((0.5, 0.5))
    assert near["wmape_ratio"] == pytest.approx(0.1)
    assert near["rival_wmape_ratio"] == pytest.approx(0.2)
    assert near["season_pinball"] is None
    assert "least at 60 min ahead" in view.sentences[0]


def test_windows_and_the_table_of_all(database):
    """One row a window, and one a predictor, horizon and window; few runs give no interval."""
    keep(database, cells())
    keep(database, cells(horizons=(None,)), 1, "latency-ttft")
    view = predictors_backtest(database.reader, SCOPE, predictor="demand-rate")
    windows = view.frames["windows"]
    assert windows["window"].to_list() == [1, 2, 3]
    assert windows["learnt_rows"].to_list() == [100, 200, 300]
    assert LEAST_BLOCKS > 6
    assert windows["skill_low"].null_count() == 3
    table = view.frames["cells"]
    assert table.height == 9
    assert table.filter(pl.col("predictor") == "latency-ttft")["horizon_seconds"].is_null().all()
    # Without a wish it is about the one that was judged last.
    assert predictors_backtest(database.reader, SCOPE).frames["horizons"].height == 1
    with pytest.raises(InputError, match="was not back-tested"):
        predictors_backtest(database.reader, SCOPE, predictor="length-text")


def test_runs_that_differ_make_an_interval(database):
    """It holds the value and reaches to both sides of it."""
    given = [cell(w, 600.0, b, 4.0 + (w + b) % 5, 10.0) for w in (1, 2, 3) for b in range(6)]
    keep(database, given)
    (row,) = predictors_backtest(database.reader, SCOPE).frames["horizons"].iter_rows(named=True)
    assert row["skill_low"] < row["skill_ratio"] < row["skill_high"]
    assert row["error_low"] < row["pinball"] < row["error_high"]


def test_yesterday_is_compared_on_the_rows_that_have_one(database):
    """Cells without it count on neither side."""
    given = [cell(1, 600.0, b, 5.0, 10.0, season=20.0 if b < 4 else None) for b in range(6)]
    keep(database, given)
    (row,) = predictors_backtest(database.reader, SCOPE).frames["horizons"].iter_rows(named=True)
    assert row["season_skill_ratio"] == pytest.approx(0.75)
    assert row["season_pinball"] is None


def test_few_outcomes_state_no_skill(database):
    """An accident of a few rows is no skill."""
    keep(database, [cell(1, 600.0, 0, 5.0, 10.0, n=29)])
    view = predictors_backtest(database.reader, SCOPE)
    assert view.frames["horizons"]["skill_ratio"][0] is None
    assert view.measures["skill_ratio"].why == "29 outcomes are too few: 30 are needed"
    assert "too few outcomes" in view.sentences[0]


def test_a_model_that_learnt_nothing_says_so(database):
    """Where the rival answered, both are equal for a reason."""
    keep(database, [row | {"fallbacks": row["n"]} for row in cells()])
    assert "its rival answered" in predictors_backtest(database.reader, SCOPE).sentences[0]


def test_the_newest_few_of_each_predictor_are_kept(database):
    """Old ones go with their cells; another predictor's stay."""
    keep(database, cells(), 0, "latency-ttft")
    for number in range(1, backtests.KEPT + 3):
        keep(database, cells(), number)
    kept = database.reader.frame("SELECT backtest_id FROM backtest ORDER BY made_at")
    assert kept["backtest_id"].to_list() == ["b0", "b3", "b4", "b5", "b6", "b7"]
    cells_of = database.reader.frame("SELECT DISTINCT backtest_id FROM backtest_cell")
    assert cells_of.height == kept.height
    assert backtests.newest(database.reader)["backtest_id"].to_list() == ["b7", "b0"]
