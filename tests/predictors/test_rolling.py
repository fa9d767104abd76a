"""Rolling origins: nothing is learnt that was not known yet; both sides answer the same."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictors.base import FitReport, Prediction, Spec
from predictors.distribution import LEVELS, Quantiles
from predictors.rolling import BLOCKS, LEAST_LEARNT, SCHEMA, known_at, roll, windows
from store.errors import PredictorError

START = datetime(2026, 1, 1)
SPEC = Spec("stub", "requests_per_second", "requests/s", (), ("model",))


class Constant:
    """Answers one number, and remembers what it was taught."""

    spec = SPEC
    model_id = "stub"

    def __init__(self, value, taught):
        self.value, self.taught = value, taught

    def fit(self, rows):
        self.taught.append(rows)
        return FitReport(rows.height, 0, 0.0, None, None)

    def predict(self, rows):
        assert "outcome" not in rows.columns
        return Prediction.raw(
            Quantiles.of(LEVELS, np.full((rows.height, len(LEVELS)), self.value)), "stub"
        )


def entry(ours=10.0, rival=12.0, season=None):
    taught = []
    made = SimpleNamespace(
        made_to_roll=lambda: Constant(ours, taught),
        made_rival=lambda: Constant(rival, []),
        seasonal_of=lambda rows: None if season is None else season(rows),
    )
    return made, taught


def rows(n=400, horizons=(600.0, 1200.0)):
    """An origin a minute, two horizons each; what came is 10 always."""
    at = [START + timedelta(minutes=i) for i in range(n) for _ in horizons]
    return pl.DataFrame(
        {"at": at, "model": ["m"] * len(at), "horizon_seconds": list(horizons) * n,
         "outcome": [10.0] * len(at)},
        schema_overrides={"at": pl.Datetime("us")},
    )  # fmt: skip


def test_each_window_is_judged_by_a_fit_of_what_was_known_before_it():
    """A row asked before the origin, whose outcome came after it, is not learnt from."""
    made, taught = entry()
    done = []
    cells = roll(made, rows(), 4, done.append)
    assert done == [1, 2, 3, 4]
    origins = cells["learnt_until"].unique().sort().to_list()
    for origin, learnt in zip(origins, taught, strict=True):
        came = learnt["at"] + pl.duration(seconds=learnt["horizon_seconds"])
        assert learnt.select(came.max()).item() <= origin
        # All that was known is learnt: the last row of each horizon is as near as a minute allows.
        assert origin - learnt.select(came.max()).item() <= timedelta(minutes=1)
    assert [part.height for part in taught] == sorted(part.height for part in taught)
    assert cells.columns == list(SCHEMA)


def test_losses_are_summed_by_horizon_and_block_on_the_same_rows():
    """Ours is right, the rival is off by two: its pinball loss is known by hand."""
    cells = roll(entry()[0], rows(), 3, lambda _: None)
    assert set(cells["horizon_seconds"]) == {600.0, 1200.0}
    assert cells["block"].unique().sort().to_list() == list(range(BLOCKS))
    assert cells["loss"].sum() == 0
    n = cells["n"].sum()
    assert cells["absolute_error"].sum() == 0
    assert cells["rival_absolute_error"].sum() == pytest.approx(2 * n)
    # Too high by two: (1 - level) * 2, the mean over 10, 25, 50, 75 and 90 %.
    assert cells["rival_loss"].sum() == pytest.approx(n * 2 * 0.5)
    assert cells["season_loss"].null_count() == cells.height
    assert cells["below_q90"].sum() == n


def test_yesterday_counts_only_where_all_rows_of_a_cell_have_it():
    """One unknown row makes the cell unknown, not zero."""

    def season(judged):
        values = np.full((judged.height, len(LEVELS)), 11.0)
        return Quantiles.of(LEVELS, values), (judged["horizon_seconds"] == 600.0).to_numpy()

    cells = roll(entry(season=season)[0], rows(), 2, lambda _: None)
    known = cells.filter(pl.col("horizon_seconds") == 600.0)
    assert known["season_loss"].null_count() == 0
    assert known["season_loss"].sum() == pytest.approx(known["n"].sum() * 0.5)
    assert cells.filter(pl.col("horizon_seconds") == 1200.0)["season_loss"].is_null().all()


def test_what_was_censored_teaches_and_judges_nobody():
    """An answer that was cut has no known length."""
    cut = rows(horizons=(600.0,)).with_columns(is_censored=pl.int_range(pl.len()) % 2 == 0)
    made, taught = entry()
    cells = roll(made, cut, 2, lambda _: None)
    assert cells["n"].sum() == pytest.approx(100, abs=2)
    assert taught[0]["is_censored"].any()


def test_outcomes_are_known_when_they_came():
    """A request's when it had ended, a duration's when it was over, a horizon of the spec later."""
    one = pl.DataFrame({"at": [START], "outcome": [5.0]})
    ended = START + timedelta(seconds=90)
    seconds = Spec("s", "load_seconds", "s", ())
    ahead = Spec("a", "performance_ratio", "ratio", (), horizon_seconds=30.0)
    tokens = Spec("t", "output_tokens", "tokens", ())
    assert known_at(one, seconds).item() == START + timedelta(seconds=5)
    assert known_at(one, ahead).item() == START + timedelta(seconds=30)
    assert known_at(one.with_columns(finished_at=pl.lit(ended)), tokens).item() == ended
    unknown = one.with_columns(finished_at=pl.lit(None, pl.Datetime("us")))
    assert known_at(unknown, tokens).item() == START


@given(count=st.integers(2, 20), n=st.integers(120, 400))
def test_windows_cover_the_later_half_once(count, n):
    """No row is judged twice, none of the later half is left out, and none is on both sides."""
    found = list(windows(rows(n, (600.0,)), SPEC, count))
    judged = pl.concat([one.judged["at"] for one in found])
    assert judged.n_unique() == len(judged)
    middle = START + (n - 1) * timedelta(minutes=1) / 2
    later = [at for at in rows(n, (600.0,))["at"] if at > middle + timedelta(seconds=1)]
    assert set(later) <= set(judged)
    # A window's length is rounded to a microsecond.
    assert judged.min() > middle - timedelta(seconds=1)
    assert all(
        one.learnt["at"].max() < one.judged["at"].min() for one in found if one.judged.height
    )


@pytest.mark.parametrize(
    ("given_rows", "count", "said"),
    [
        (rows(), 1, "1 windows are no back-test"),
        (rows(), 21, "21 windows"),
        (rows().drop("at"), 3, "no times"),
        (rows().with_columns(at=pl.lit(START)), 3, "one instant"),
        (rows(LEAST_LEARNT, (600.0,)), 3, "too few to learn from"),
    ],
)
def test_what_cannot_be_judged_is_refused(given_rows, count, said):
    """In one line, with what to do."""
    with pytest.raises(PredictorError, match=said):
        roll(entry()[0], given_rows, count, lambda _: None)
