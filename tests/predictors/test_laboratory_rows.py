"""Measurements of the laboratory become rows to learn from, split by programs never seen."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from predictors.degradation import laboratory
from predictors.degradation.backtest import backtest
from predictors.degradation.model import Degradation
from predictors.degradation.windows import unpack
from store.errors import PredictorError

FAMILIES = ("llm", "numeric", "python", "disk")
LAB = "servescope_lab"


def measured(seconds=12, runs=6, noise=""):
    """Runs whose P is what the scheduler leaves them: 1 - waiting."""
    parts, dice = [], np.random.default_rng(3)
    for number in range(runs * len(FAMILIES)):
        family = FAMILIES[number % len(FAMILIES)]
        waiting = np.clip(dice.uniform(0, 0.7) + dice.normal(0, 0.02, seconds), 0, 0.9)
        start = datetime(2026, 1, 1) + timedelta(minutes=number)
        parts.append(
            pl.DataFrame(
                {
                    "run_id": f"b{number:03d}",
                    "second": np.arange(1, seconds + 1),
                    "victim": f"{family}-victim",
                    "family": family,
                    "at": [start + timedelta(seconds=s) for s in range(seconds)],
                    "second_p": 1 - waiting,
                    "busy_seconds": np.ones(seconds),
                    "noise": noise,
                    "self.waiting_ratio": waiting,
                    "host.cpu_ratio": np.full(seconds, 0.6),
                    "load.achieved_per_s": 100 * (1 - waiting),
                }
            )
        )
    return pl.concat(parts)


def test_a_run_is_one_row_or_several_windows():
    """Each with the P of the same seconds, and what the host told in them."""
    rows = measured()
    whole = laboratory.executions(rows)
    assert whole.height == rows["run_id"].n_unique()
    parts = laboratory.windows(rows, 8, 4)
    assert parts.height == 2 * whole.height
    found = unpack(parts)
    assert set(found.names) == {"self.waiting_ratio", "host.cpu_ratio"}  # not what it did itself
    assert (found.lengths == 8).all()
    place = found.names.index("self.waiting_ratio")
    assert parts["outcome"].to_numpy() == pytest.approx(1 - found.values[:, :, place].mean(axis=1))


def test_ahead_is_what_comes_after_the_window():
    """An early warning is judged on seconds it has not seen."""
    rows = measured().with_columns(
        pl.when(pl.col("second") > 8).then(0.25).otherwise(0.75).alias("second_p")
    )
    assert laboratory.windows(rows, 8, 4, ahead=4)["outcome"].to_numpy() == pytest.approx(0.25)
    with pytest.raises(PredictorError, match="no run is as long as 70 seconds"):
        laboratory.windows(rows, 60, 10, ahead=10)


def test_seconds_without_work_say_nothing():
    """Unknown is left out, not counted as no loss."""
    rows = measured(runs=1).with_columns(
        pl.when(pl.col("second") < 7).then(None).otherwise(0.5).alias("second_p")
    )
    assert laboratory.executions(rows)["outcome"].to_numpy() == pytest.approx(0.5)
    idle = rows.with_columns(pl.lit(None, pl.Float64).alias("second_p"))
    with pytest.raises(PredictorError):
        laboratory.executions(idle)


def test_noise_is_left_out_and_other_files_are_refused(tmp_path):
    """One clear line says what is missing."""
    path = tmp_path / "rows.parquet"
    pl.concat([measured(runs=1), measured(runs=1, noise="background")]).write_parquet(path)
    assert laboratory.seconds(path).height == measured(runs=1).height
    pl.DataFrame({"x": [1]}).write_parquet(path)
    with pytest.raises(PredictorError, match="no column run_id, second"):
        laboratory.seconds(path)


def test_no_family_is_on_both_sides():
    """A program that was learnt, or one like it, is never judged."""
    rows = laboratory.executions(measured())
    made = list(laboratory.unseen_programs(rows, 6, 0))
    assert len(made) == 6
    for _, learnt, judged in made:
        assert learnt.height
        assert judged.height
        assert not set(learnt["group"]) & set(judged["group"])
    with pytest.raises(PredictorError, match="cannot be split"):
        list(laboratory.unseen_programs(rows.filter(pl.col("group") == "llm")))


def test_it_can_be_learnt_from():
    """What the scheduler told is worth more than the mean, on programs never seen."""
    rows = laboratory.windows(measured(runs=8), 8, 8)
    _, learnt, judged = next(laboratory.unseen_programs(rows, 1, 1))
    model = Degradation("extra", is_quick=True)
    model.fit(learnt)
    real = judged["outcome"].to_numpy()
    error = np.abs(model.predict(judged).quantiles.at(0.5) - real).mean()
    assert error < 0.5 * np.abs(real - np.median(learnt["outcome"].to_numpy())).mean()


def test_without_own_measurements_the_shipped_sample_is_judged(tmp_path):
    """A machine without any data set has figures all the same."""
    told = []
    first = next(backtest(tmp_path, 0, True, told.append))
    assert first.case.startswith("laboratory")
    assert not any(LAB in line and "left out" in line for line in told)


def test_a_back_test_without_measurements_says_so(tmp_path, monkeypatch):
    """Missing data is one line, not a crash."""
    monkeypatch.setattr(
        "predictors.degradation.backtest.LAB_SAMPLE", tmp_path / "interference.parquet"
    )
    told = []
    assert list(backtest(tmp_path, 0, True, told.append)) == []
    assert any(LAB in line and "left out" in line for line in told)
