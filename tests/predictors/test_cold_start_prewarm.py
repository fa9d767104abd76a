"""Pre-warming: P(busy), policies, utility of replicas, the import of cold-start traces."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from analysis.cold_start_utility import utility
from predictors.check import check_predictor
from predictors.cold_start import huawei
from predictors.cold_start.activity import FEATURES, with_activity
from predictors.cold_start.busy import Busy, SinceBusy
from predictors.cold_start.prewarm import (
    cold_at_idle,
    cold_costs,
    hybrid_histogram,
    judge,
    keep_alive,
    should_be_warm,
)
from predictors.distribution import LEVELS, Quantiles
from store.errors import InputError, PredictorError

START = datetime(2026, 1, 1)
busy_arrays = hnp.arrays(np.bool_, st.tuples(st.integers(2, 60), st.integers(1, 3)))


def windows(n=300, model="m"):
    """One client each six windows, one in long stretches, one never."""
    rows = []
    for number in range(n):
        at = START + timedelta(seconds=600 * number)
        rates = {
            "timer": float(number % 6 == 0),
            "day": float(number // 40 % 2),
            "dead": 0.0,
        }
        rows += [(model, client, at, rate) for client, rate in rates.items()]
    return pl.DataFrame(rows, schema=["model", "client", "at", "rate_per_second"], orient="row")


def small():
    return Busy(boosts=1, steps=30)


def test_every_promise_of_a_predictor_is_kept_by_busy_and_keep_alive():
    """Refusals, unknown features, one sample, constant labels, changed bytes, new clients."""
    rows = with_activity(windows(60)).drop_nulls("outcome")
    check_predictor(small, rows)
    check_predictor(SinceBusy, rows)


def test_a_timer_is_foreseen_where_keep_alive_cannot():
    """A client that comes each hour on the hour is warmed for its window only."""
    rows = with_activity(windows()).drop_nulls("outcome").filter(pl.col("client") == "timer")
    ours, rival = small(), SinceBusy()
    ours.fit(rows.head(200))
    rival.fit(rows.head(200))
    judged = rows.tail(90)
    real = judged["outcome"].to_numpy() > 0.5
    assert cold_at_idle(ours.probabilities(judged), real, 0.05).cold_ratio == 0
    assert cold_at_idle(rival.probabilities(judged), real, 0.05).cold_ratio > 0.5


def test_features_never_look_ahead():
    """Later windows change no feature of earlier ones."""
    both = windows(120)
    cut = START + timedelta(seconds=600 * 60)
    early = with_activity(both.filter(pl.col("at") < cut)).select("client", "at", *FEATURES)
    all_of = with_activity(both).select("client", "at", *FEATURES)
    late = all_of.filter(pl.col("at") <= cut)
    assert early.sort("client", "at").equals(late.sort("client", "at"), null_equal=True)


def test_the_outcome_is_what_comes_next_and_unknown_at_the_end():
    """One window ahead, or any of the next three."""
    timer = pl.col("client") == "timer"
    one = with_activity(windows(13)).filter(timer)["outcome"].to_list()
    three = with_activity(windows(13), ahead=3).filter(timer)["outcome"].to_list()
    assert one == [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, None]
    assert three == [0, 0, 0, 1, 1, 1, 0, 0, 0, 1, None, None, None]


def test_a_clock_that_jumps_leaves_idle_windows():
    """Windows that nobody reported are idle ones, in the right number."""
    rows = windows(10)
    later = rows.with_columns(pl.col("at") + timedelta(days=1))
    made = with_activity(pl.concat([rows, later])).filter(pl.col("client") == "timer")
    assert made.height == 144 + 10
    assert made["at"].is_sorted()
    with pytest.raises(PredictorError, match="client"):
        with_activity(rows.drop("client"))


def test_the_decision_weighs_waiting_against_idling():
    """P = 0.1 is worth warming when a cold start costs over nine idle windows."""
    assert should_be_warm([0.1, 0.1], [9.5, 8.5], 1.0).tolist() == [True, False]
    load = Quantiles.of(LEVELS, np.full((2, len(LEVELS)), 30.0))
    assert cold_costs(load, [2, 0]).tolist() == [60.0, 0.0]


@given(busy_arrays, st.integers(1, 20))
@settings(max_examples=40, deadline=None)
def test_longer_keep_alive_is_never_colder_and_never_less_idle(busy, kept):
    """The curve of keep-alive only falls."""
    short, long = judge(keep_alive(busy, kept), busy), judge(keep_alive(busy, kept + 3), busy)
    assert long.cold <= short.cold
    assert long.idle >= short.idle


@given(busy_arrays)
@settings(max_examples=40, deadline=None)
def test_policies_use_nothing_of_the_window_they_decide_about(busy):
    """The last window's requests change no decision."""
    other = busy.copy()
    other[-1] = ~other[-1]
    for policy in (lambda b: keep_alive(b, 3), lambda b: hybrid_histogram(b, least_gaps=2)):
        assert np.array_equal(policy(busy), policy(other))


def test_the_hybrid_histogram_waits_for_a_regular_client():
    """A client that comes each sixth window is warmed just then, not in between."""
    busy = (np.arange(120) % 6 == 0)[:, None]
    warm = hybrid_histogram(busy, least_gaps=5)
    late = slice(60, 120)
    assert judge(warm[late], busy[late]).cold == 0
    assert judge(warm[late], busy[late]).idle_ratio == pytest.approx(0.2)


def test_nothing_busy_and_nothing_idle_is_unknown_not_zero():
    """A ratio without a base is NaN."""
    nobody = np.zeros((4, 1), bool)
    assert np.isnan(judge(nobody, nobody).cold_ratio)
    assert np.isnan(judge(~nobody, ~nobody).idle_ratio)


def test_utility_says_which_starts_were_not_worth_it():
    """Useful time over start time; what was only kept alive is not useful."""
    found = utility(
        pl.DataFrame(
            {
                "started_at": [START] * 3,
                "stopped_at": [START + timedelta(seconds=s) for s in (110, 25)] + [None],
                "start_seconds": [10.0, 10.0, 10.0],
                "kept_alive_seconds": [0.0, 10.0, None],
                "model": ["m", "m", "m"],
            }
        ),
        by=("model",),
    ).row(0, named=True)
    assert found["replicas"] == 2
    assert found["utility_p50"] == pytest.approx(5.25)
    assert found["below_one_ratio"] == 0.5
    assert found["start_ratio"] == pytest.approx(20 / 135)
    assert found["still_running"] == 1
    with pytest.raises(InputError, match="start_seconds"):
        utility(pl.DataFrame({"started_at": [START], "stopped_at": [START]}))


HEADER = (
    "day,time,clusterName,funcName,userID,requestID,totalCost_cold_start,podAllocationCost,"
    "deployCodeCost,deployDependencyCost,schedulingCost,podID"
)


def test_cold_starts_in_the_schema_of_huawei_are_read(tmp_path):
    """Phases, pool, memory and time come out in our names and units."""
    path = tmp_path / "R9.csv"
    path.write_text(
        f"{HEADER}\n1,86400.5,2,7,8,abc,2.5,0.5,0.25,0.75,1.0,pool24-600-512-0000000001\n"
        "0,3.0,1,7,8,abd,nan,0,0,0,0,pool24-600-512-0000000002\n"
        "0,1.0,1,7,9,abe,0.2,0.1,0.0,0.0,0.1,odd\n"
    )
    rows = huawei.starts([path])
    assert rows["outcome"].to_list() == [0.2, 2.5]
    assert rows["model"].to_list() == ["7---9", "7---8---pool24-600-512"]
    last = rows.row(1, named=True)
    assert last["at"] == datetime(1970, 1, 2, 0, 0, 0, 500_000)
    assert last["dependency_seconds"] == 0.75
    assert last["memory_bytes"] == 512 * 2**20
    assert last["cpu_millicores"] == 600


def test_a_file_of_another_schema_is_refused_by_the_columns_that_are_missing(tmp_path):
    """One line: which columns, which file."""
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="podID"):
        huawei.starts([path])
    with pytest.raises(InputError, match="can be read"):
        huawei.starts([tmp_path / "absent.csv"])
    with pytest.raises(InputError, match="no file"):
        huawei.starts([])


def test_rows_to_train_from_are_written_with_their_history(tmp_path):
    """The second start of a function knows the first; functions are kept whole or not at all."""
    path, target = tmp_path / "R1.csv", tmp_path / "rows.parquet"
    lines = [
        f"0,{100 * n},1,{n % 2},8,r{n},{1 + n},0,0,0,0,pool24-600-512-000000000{n}"
        for n in range(4)
    ]
    path.write_text("\n".join([HEADER, *lines]))
    huawei.main([str(target), str(path)])
    rows = pl.read_parquet(target).sort("at")
    assert rows["own_loads"].to_list() == [0, 0, 1, 1]
    assert np.exp(rows["own_last_log"][2]) == pytest.approx(1.0)
    assert huawei.training_rows(huawei.starts([path]), most_rows=3).height == 2
    with pytest.raises(InputError, match="name the file"):
        huawei.main([])
