"""What sharing cores costs: read off the scheduler's counters, before anything is learnt."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictors.base import OUTCOME
from predictors.degradation import laboratory
from predictors.degradation.backtest import LAB_SAMPLE
from predictors.degradation.model import Degradation
from predictors.degradation.sharing import LEAST_SHARE, RUN, USED, WAITED, is_told, share
from predictors.degradation.windows import pack, unpack
from predictors.scoring import score

NAMES = (RUN, USED, WAITED)


def shares(*steps):
    return share(unpack(pack(NAMES, [np.array(steps)], 1.0)))[0]


def test_half_of_a_core_for_another_is_half_the_pace():
    """Always runnable, half of the time another runs in its place."""
    assert shares((0.5, 1.0, 0.5)) == pytest.approx(0.5)


def test_waiting_for_its_own_threads_is_no_degradation():
    """Nobody else used its core: alone it would have waited as much."""
    assert shares((1.0, 1.0, 3.0)) == 1.0


def test_a_neighbour_that_runs_while_it_sleeps_costs_nothing():
    """It was never runnable when the other ran."""
    assert shares((0.3, 1.0, 0.0)) == 1.0


def test_an_idle_victim_and_missing_counters_say_nothing():
    """1, not 0: nothing is known to be lost."""
    assert shares((0.0, 1.0, 0.0)) == 1.0
    assert shares((float("nan"), 1.0, 0.5)) == 1.0
    other = unpack(pack(("host.cpu_ratio",), [np.ones((3, 1))], 1.0))
    assert not is_told(other)
    assert share(other).tolist() == [1.0]


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 50)), min_size=1, max_size=20)
)
def test_it_is_always_a_share(steps):
    """Whatever the counters say."""
    assert LEAST_SHARE <= shares(*steps) <= 1.0


def test_on_the_shipped_sample_it_beats_trees_on_programs_never_seen(tmp_path):
    """By the margin that is asked for: 20 %; read back, it answers the same."""
    rows = laboratory.executions(laboratory.seconds(LAB_SAMPLE))
    _, learnt, judged = next(laboratory.unseen_programs(rows, 1))
    real = judged[OUTCOME].to_numpy()
    errors = {}
    for method in ("shared extra", "extra", "sharing"):
        model = Degradation(method, is_quick=True)
        model.fit(learnt)
        errors[method] = score(model.predict(judged).quantiles, real).mae
    assert errors["shared extra"] < 0.8 * errors["extra"]
    assert errors["sharing"] < 0.8 * errors["extra"]
    model.save(tmp_path)
    again = Degradation.load(tmp_path)
    assert np.array_equal(
        again.predict(judged).quantiles.values, model.predict(judged).quantiles.values
    )


def test_rows_without_the_counters_are_answered_as_before(tmp_path):
    """On hosts that do not tell them, sharing changes nothing."""
    random = np.random.default_rng(0)
    steps = [random.uniform(0, 1, (4, 1)) for _ in range(60)]
    rows = pack(("host.cpu_ratio",), steps, 1.0).with_columns(
        pl.Series(OUTCOME, [1 - float(one.mean()) / 2 for one in steps])
    )
    made = []
    for method in ("shared extra", "extra"):
        model = Degradation(method, is_quick=True)
        model.fit(rows)
        made.append(model.predict(rows).quantiles.values)
    assert np.allclose(*made)
