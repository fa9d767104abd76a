"""Demand: rows of windows, the forecast beside its rivals, bad input, early warning."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from predictors import catalog
from predictors.base import OUTCOME
from predictors.check import check_predictor
from predictors.demand import model as demand_model
from predictors.demand import rivals, warning
from predictors.demand.model import DemandForecast, DemandSettings, TokenForecast
from predictors.demand.network import NetworkSettings
from predictors.demand.origins import origins_of, sampled, summed
from predictors.demand.windows import (
    DAY,
    HISTORY,
    STEPS,
    TOTAL,
    matrix,
    rows_of,
    series_of,
    steps_of,
)
from predictors.distribution import LEVELS, Quantiles
from predictors.scoring import pinball
from store.errors import PredictorError

START = datetime(2026, 1, 1)
QUICK = DemandSettings(
    networks=1,
    network=NetworkSettings(width=32, epochs=8, batch=32, drop_ratio=0.0, rate=5e-3),
    trees=40,
    made_up=4,
    least_origins=60,
)


def windows_of(days=5, tenants=("a", "b", "c"), seed=0, model="m"):
    """Tenants that wake with the day and alternate from window to window."""
    random = np.random.default_rng(seed)
    place = np.arange(days * DAY)
    frames = []
    for number, tenant in enumerate(tenants):
        day = 2 + np.sin(2 * np.pi * (place / DAY + number / 7))
        flips = np.where(place % 2 == 0, 0.7, 1.3)
        value = (number + 1) * 5 * day * flips * random.lognormal(0, 0.05, len(place))
        frames.append(
            pl.DataFrame(
                {
                    "model": [model] * len(place),
                    "tenant": [tenant] * len(place),
                    "at": [START + timedelta(seconds=600 * int(p)) for p in place],
                    "value": value,
                }
            )
        )
    return pl.concat(frames)


def rows_at(series, origins):
    return rows_of(series, {(one.model, one.tenant): origins for one in series}, START)


@pytest.fixture(scope="module")
def series():
    return series_of(windows_of())


@pytest.fixture(scope="module")
def fitted(series):
    model = DemandForecast(QUICK)
    model.learn(sampled(series, 2, {"m": 4 * DAY}))
    return model


@pytest.mark.parametrize("make", [rivals.LastValue, rivals.LastTokens])
def test_the_last_value_keeps_every_promise_of_a_predictor(make, series):
    """The rival, too, refuses and answers as the contract says."""
    check_predictor(make, rows_at(series, range(200, 230, 6)))


def test_the_forecast_keeps_every_promise_where_it_learnt(series):
    """Enough origins for networks and trees: still the same promises."""
    check_predictor(lambda: DemandForecast(QUICK), rows_at(series, range(160, 500, 12)))


def test_the_token_forecast_keeps_every_promise_with_little_to_learn_from(series):
    """Too few origins: the last value answers and says that it is a fallback."""
    rows = rows_at(series, range(200, 230, 6))
    check_predictor(TokenForecast, rows)
    model = TokenForecast()
    report = model.fit(rows)
    assert "last value" in report.notes[0]
    assert model.predict(rows).was_fallback.all()


def test_it_beats_the_last_value_where_there_is_something_to_learn(series, fitted):
    """A series that alternates is worst forecast by its last value."""
    rows = rows_at(series, range(4 * DAY, 5 * DAY - STEPS, 5))
    rival = rivals.LastValue()
    rival.fit(rows.head(60))
    real = rows[OUTCOME].to_numpy()
    ours = pinball(fitted.predict(rows).quantiles, real).mean()
    assert ours < 0.8 * pinball(rival.predict(rows).quantiles, real).mean()


def test_a_fit_on_rows_says_how_it_did_beside_its_rival(series):
    """The last fifth of the time is judged before it is learnt."""
    report = DemandForecast(QUICK).fit(rows_at(series, range(160, 640, 8)))
    assert report.held_out_rows > 0
    assert report.ours is not None
    assert report.rival is not None
    assert math.isfinite(report.ours.pinball)


@pytest.mark.parametrize("name", ["demand-rate", "demand-tokens"])
def test_what_a_back_test_teaches_learns_once(series, monkeypatch, name):
    """The windows that follow judge it, so it does not judge itself as the served one does."""
    taught, really = [], demand_model.learnt

    def learnt(origins, settings):
        taught.append(settings)
        return really(origins, replace(settings, least_origins=10**9))

    monkeypatch.setattr(demand_model, "learnt", learnt)
    rows = rows_at(series, range(160, 640, 4))
    entry = catalog.entry(name)
    assert entry.made_to_roll().fit(rows).held_out_rows == 0
    assert len(taught) == 1
    assert entry.made().fit(rows).held_out_rows > 0
    assert len(taught) == 3
    assert taught[0].trees < taught[2].trees


def test_the_first_outcomes_do_not_decide_where_it_goes():
    """Four windows that fell: the next may rise as far, and no step has an interval of its own."""
    rows = pl.DataFrame(
        {
            "model": ["m"] * 4,
            "tenant": ["(all)"] * 4,
            "steps_ahead": [1.0, 1.0, 1.0, 2.0],
            "horizon_seconds": [600.0, 600.0, 600.0, 1200.0],
            "recent": [[10.0, 10.0]] * 4,
            "fleet": [[10.0, 10.0]] * 4,
            "outcome": [9.0, 8.0, 9.5, 7.0],
        }
    )
    rival = rivals.LastValue()
    rival.fit(rows)
    quantiles = rival.predict(rows.drop("outcome")).quantiles
    low, high = quantiles.at(0.1), quantiles.at(0.9)
    assert np.allclose(10.0 - low, high - 10.0)
    assert (high > 11.5).all()
    assert len(set(high.round(6))) == 1


def test_windows_in_which_nobody_asked_anywhere_are_an_outage():
    """All tenants at zero at once is a gap in the record; one at zero is at rest."""
    windows = windows_of(days=1)
    dead = pl.col("at").is_between(START + timedelta(hours=5), START + timedelta(hours=6))
    alone = (pl.col("tenant") == "a") & (pl.col("at") < START + timedelta(hours=1))
    masked = windows.with_columns(pl.when(dead | alone).then(0.0).otherwise("value").alias("value"))
    by_name = {one.tenant: one.values for one in series_of(masked)}
    assert np.isnan(by_name[TOTAL][30:36]).all()
    assert np.isnan(by_name["b"][30:36]).all()
    assert (by_name["a"][:6] == 0).all()


def test_an_outage_in_the_history_does_not_become_a_forecast_of_zero(series, fitted):
    """Masked windows are unknown: the forecast stays near what was asked before."""
    rows = rows_at(series, [4 * DAY + 10])
    dark = [None] * 3
    recent = [list(one[: HISTORY - 3]) + dark for one in rows["recent"].to_list()]
    masked = rows.with_columns(pl.Series("recent", recent, pl.List(pl.Float64)))
    made = fitted.predict(masked)
    assert (made.quantiles.at(0.5) > 0.3 * rows[OUTCOME].to_numpy()).all()
    assert (made.features_age_seconds == 3 * 600).all()


def test_a_tenant_without_any_history_is_answered_by_all_others_and_marked(fitted):
    """A new tenant: a stated fallback, no crash and no silent zero."""
    new = pl.DataFrame(
        {"model": ["m"] * 3, "tenant": ["new"] * 3, "recent": [None, [], [None, None]]},
        schema_overrides={"recent": pl.List(pl.Float64)},
    )
    made = fitted.predict(new)
    assert made.was_fallback.all()
    assert np.isnan(made.features_age_seconds).all()
    assert (made.quantiles.at(0.9) > 0).all()


def test_one_known_window_is_enough_for_an_answer(fitted):
    """A single sample is the last value, spread by what other series did."""
    one = pl.DataFrame({"recent": [[7.0]], "steps_ahead": [1.0]})
    made = fitted.predict(one)
    assert made.quantiles.values[0, 0] >= 0
    assert 0.5 < made.quantiles.at(0.5)[0] < 50


def test_answers_scale_with_the_series(fitted, series):
    """A thousand times the traffic is forecast a thousand times as high, nearly."""
    rows = rows_at(series, [4 * DAY])
    big = rows.with_columns(
        pl.col("recent").list.eval(pl.element() * 1000),
        pl.col("fleet").list.eval(pl.element() * 1000),
    )
    small, large = (fitted.predict(some).quantiles.at(0.5) for some in (rows, big))
    assert np.allclose(large / small, 1000, rtol=0.5)


def test_questions_of_one_origin_are_put_together(series):
    """Six questions about one instant are one origin with six outcomes."""
    rows = rows_at(series, [200, 300])
    origins = origins_of(rows)
    assert len(origins) == 2 * len(series)
    assert np.isfinite(origins.outcomes).all()
    again = origins_of(rows.drop("at"))
    assert len(again) == rows.height, "without a time every row stands alone"


def test_made_up_series_are_sums_of_real_ones(series):
    """A made-up total lies within the sum of all series of its fleet."""
    made = summed(sampled(series, 4, {}), 5, seed=1)
    assert len(made) > 0
    assert np.isfinite(made.outcomes).all()
    assert (made.recent[np.isfinite(made.recent)] >= 0).all()


def test_a_clock_that_jumps_back_changes_nothing_but_the_hour(series, fitted):
    """The time of a row is only its hour of the day: a day back is the same answer."""
    rows = rows_at(series, [4 * DAY])
    back = rows.with_columns(pl.col("at") - timedelta(days=400))
    assert np.allclose(fitted.predict(rows).quantiles.values, fitted.predict(back).quantiles.values)


def test_steps_that_are_not_known_or_absurd_are_asked_about_the_nearest_window():
    """Never beyond what was learnt, never a crash."""
    rows = pl.DataFrame({"steps_ahead": [None, -3.0, 2.4, 1e9, float("nan")]})
    assert steps_of(rows).tolist() == [1, 1, 2, STEPS, 1]


def test_short_lists_stand_at_the_newest_end():
    """The newest window of a short history is the newest of the matrix."""
    made = matrix(pl.Series([[1.0, 2.0], None, [None, 3.0]], dtype=pl.List(pl.Float64)))
    assert made.shape == (3, HISTORY)
    assert made[0, -2:].tolist() == [1.0, 2.0]
    assert np.isnan(made[1]).all()
    assert np.isnan(made[2, -2])


def test_a_model_file_of_the_other_quantity_is_refused(fitted, tmp_path):
    """A rate is no number of tokens, though the arrays look alike."""
    fitted.save(tmp_path / "model")
    with pytest.raises(PredictorError, match="demand-rate"):
        TokenForecast.load(tmp_path / "model")


def test_the_same_time_yesterday_repeats_yesterday(series):
    """The seasonal rival takes the window that is asked about, a day before."""
    rows = rows_at(series, [3 * DAY])
    made = rivals.yesterday(matrix(rows["recent"]), steps_of(rows))
    whole = series[0].values
    assert made[0, LEVELS.index(0.5)] == pytest.approx(whole[2 * DAY + 1])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["AutoETS", "AutoTheta", "MSTL"])
def test_classical_rivals_answer_all_steps_and_levels(name, series):
    """Each of them stands in the table with quantiles, not with a point."""
    made = rivals.classical(name, series[1].values[: 3 * DAY])
    assert made.shape == (STEPS, len(LEVELS))
    assert (np.diff(made, axis=1) >= 0).all()
    assert made[:, 0].min() >= 0


def test_the_probability_of_a_warning_is_that_of_the_worst_window():
    """A threshold that only the third window can pass is passed with its probability."""
    low = Quantiles.of(LEVELS, np.tile(np.linspace(1, 2, len(LEVELS)), (2, 1)))
    high = Quantiles.of(LEVELS, np.tile(np.linspace(1, 10, len(LEVELS)), (2, 1)))
    made = warning.probability_above([low, low, high], np.array([5.0, 20.0]))
    assert 0 < made[0] < 1
    assert made[1] == 0


def test_a_warning_trades_right_for_early():
    """Warning at a lower probability finds more events and is less often right."""
    probability = np.array([0.9, 0.6, 0.4, 0.3, 0.1])
    outcomes = np.array([[9, 9], [1, 9], [1, 1], [1, 9], [1, 1]], float)
    lead = warning.first_above(outcomes, 5.0)
    assert lead.tolist() == [600, 1200, math.inf, 1200, math.inf]
    bold, careful = warning.trades(probability, lead, at=(0.25, 0.8))
    assert (bold.recall, bold.precision) == (1.0, 0.75)
    assert (careful.recall, careful.precision) == (pytest.approx(1 / 3), 1.0)
    assert bold.lead_seconds > careful.lead_seconds
    nobody = warning.trades(np.zeros(2), np.full(2, math.inf))[0]
    assert math.isnan(nobody.precision)
    assert math.isnan(nobody.recall)
