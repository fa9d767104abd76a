"""Training of the learned policy."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from predictors.hindsight import Settings, fit, quantiles
from store.errors import PredictorError

FEATURES = ("a", "b")


def rows(n=1500, seed=0):
    """The label is a, with noise that grows with b."""
    random = np.random.default_rng(seed)
    a, b = random.normal(0, 1, n), random.uniform(0, 1, n)
    label = a + (0.2 + b) * random.normal(0, 1, n)
    return pl.DataFrame(
        {"a": a, "b": b, "label": label, "course": ["x"] * (n // 2) + ["y"] * (n // 2)}
    )


@pytest.fixture(scope="module")
def trained():
    return fit(rows(), FEATURES, Settings(epochs=60, batch=128, widths=(16,)))


def test_it_learns_more_than_the_usual_quantiles(trained):
    """Judged on rows that it did not see."""
    told = trained["trained"]
    assert told["judged_rows"] == 300
    assert told["loss"] < 0.85 * told["usual_loss"]


def test_its_quantiles_cover_what_they_say(trained):
    """Within a few percent, and they never cross."""
    fresh = rows(4000, seed=9)
    made = quantiles(trained, fresh.select(FEATURES).to_numpy())
    assert (np.diff(made, axis=1) >= 0).all()
    covered = (fresh["label"].to_numpy()[:, None] <= made).mean(axis=0)
    assert covered == pytest.approx(np.array(trained["levels"]), abs=0.06)


def test_weights_are_plain_json(trained):
    """What is read again answers the same."""
    values = rows(50, seed=3).select(FEATURES).to_numpy()
    again = json.loads(json.dumps(trained, allow_nan=False))
    assert (quantiles(again, values) == quantiles(trained, values)).all()
    assert trained["gate"] is None


def test_the_range_is_of_all_rows(trained):
    """Outside of it nobody should answer."""
    seen = rows()
    assert trained["low"][1] == pytest.approx(seen["b"].min(), abs=1e-4)
    assert trained["high"][0] == pytest.approx(seen["a"].max(), abs=1e-4)


def test_the_same_seed_trains_the_same():
    """To the last digit kept."""
    how = Settings(epochs=2, widths=(4,))
    assert fit(rows(400), FEATURES, how) == fit(rows(400), FEATURES, how)


@pytest.mark.parametrize(
    ("frame", "settings", "words"),
    [
        (rows().drop("b"), None, "needs the column b"),
        (rows(100), None, "cannot learn from 100 rows"),
        (rows().with_columns(a=float("nan")), None, "no finite number"),
        (rows(), Settings(levels=(0.9, 0.5)), "levels must rise"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(frame, settings, words):
    """In one line."""
    with pytest.raises(PredictorError, match=words):
        fit(frame, FEATURES, settings)
