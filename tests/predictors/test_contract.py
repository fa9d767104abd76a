"""What all predictors share: distributions, conformal correction, serving, scores, artifacts."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from predictors import artifact, splits
from predictors.backtest import Cell, table
from predictors.base import CALIBRATED, RAW, Feature, Prediction, Spec
from predictors.baselines import History
from predictors.check import check_predictor
from predictors.conformal import OnlineConformal
from predictors.distribution import LEVELS, Quantiles
from predictors.scoring import coverage, pinball, score, skill
from predictors.serving import Served
from store.errors import PredictorError

SPEC = Spec(
    name="test-length",
    quantity="output_tokens",
    unit="tokens",
    features=(Feature("input_tokens", "number"),),
    keys=("model", "route"),
    upper_column="max_tokens",
)
START = datetime(2026, 1, 1)


def rows_of(n, seed=0, scale=100.0, model="m"):
    random = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "at": [START + timedelta(seconds=i) for i in range(n)],
            "input_tokens": random.uniform(1, 1000, n),
            "max_tokens": [None if i % 3 else 150.0 for i in range(n)],
            "model": [model] * n,
            "route": ["chat" if i % 2 else "code" for i in range(n)],
            "outcome": np.minimum(random.lognormal(math.log(scale), 0.7, n), 140),
        }
    )


class Biased:
    """A champion that answers the same wrong distribution to everything."""

    spec = SPEC

    def __init__(self, factor):
        self.factor, self.model_id = factor, "biased"

    def predict(self, rows):
        values = np.tile(self.factor * np.linspace(40, 140, len(LEVELS)), (rows.height, 1))
        return Prediction.raw(Quantiles.of(LEVELS, values), self.model_id)

    def observe(self, rows):
        pass


@pytest.mark.parametrize("keys", [(), ("model",), ("model", "route")])
def test_history_keeps_every_promise(keys):
    """The naive rivals pass the same checks as any predictor."""
    spec = Spec("test-history", "output_tokens", "tokens", SPEC.features, keys)
    check_predictor(lambda: History(spec), rows_of(80), lambda folder: History.load(folder, spec))


def test_history_answers_a_new_tenant_from_its_parent():
    """A key with few rows is answered by the key above it, one with enough by its own."""
    history = History(SPEC)
    history.fit(pl.concat([rows_of(200, scale=20.0), rows_of(5, 1, 100.0, "rare")]))
    known, few = history.quantiles_of(("m", "chat")), history.quantiles_of(("rare", "chat"))
    assert np.array_equal(few, history.quantiles_of(()))
    assert not np.array_equal(known, few)


def test_history_forgets_the_key_longest_unused():
    """A million tenants do not fill the memory; a forgotten one is answered by its parent."""
    history = History(Spec("test-many", "x", "s", (), ("tenant",)), most_keys=10)
    many = pl.DataFrame({"tenant": [f"t{i}" for i in range(500)], "outcome": [1.0] * 500})
    history.fit(many)
    assert history.predict(many.head(1)).quantiles.values[0, 0] == 1.0
    assert len(history._seen) <= 10


finite = st.floats(-1e6, 1e6, allow_nan=False)


@given(hnp.arrays(np.float64, (3, len(LEVELS)), elements=finite), st.floats(-1e6, 1e6))
def test_whatever_comes_in_quantiles_do_not_cross(values, limit):
    """Crossing quantiles are sorted; probabilities lie in [0, 1] and rise with the limit."""
    made = Quantiles.of(LEVELS, values)
    assert (np.diff(made.values, axis=1) >= 0).all()
    inside, more = made.probability_within(limit), made.probability_within(limit + 1)
    assert ((inside >= 0) & (more <= 1) & (inside <= more + 1e-12)).all()


@given(hnp.arrays(np.float64, (4, len(LEVELS)), elements=st.floats(0, 1e5)), st.floats(0, 1e5))
def test_what_remains_is_never_negative_and_never_more_than_before(values, out):
    """Remaining lengths are monotone and at most the highest quantile minus what is out."""
    made = Quantiles.of(LEVELS, values)
    left = made.remaining(out)
    assert (left.values >= 0).all()
    assert (np.diff(left.values, axis=1) >= 0).all()
    assert (left.values <= np.maximum(made.values[:, -1:] - out, 0) + 1e-6).all()


def test_nothing_out_means_everything_remains():
    """Given 0 below the lowest quantile, the remaining length is the length."""
    made = Quantiles.of(LEVELS, [np.arange(10.0, 18.0)])
    assert np.allclose(made.remaining(0.0).values, made.values)


@pytest.mark.parametrize(
    ("levels", "values"),
    [([0.5], [[np.nan]]), ([0.5, 0.4], [[1, 2]]), ([0.0, 0.5], [[1, 2]]), ([0.5], [[1, 2]])],
)
def test_impossible_quantiles_are_refused(levels, values):
    """NaN, levels out of order or range, and shapes that do not fit are one clear line."""
    with pytest.raises(PredictorError):
        Quantiles.of(levels, values)


@pytest.mark.parametrize("is_log", [True, False])
@pytest.mark.parametrize("factor", [0.2, 5.0])
def test_conformal_brings_back_coverage_of_a_wrong_model(is_log, factor):
    """A model five times off covers 0.90 again after 300 outcomes, key by key."""
    random = np.random.default_rng(1)
    levels = np.array(LEVELS)
    tracker = OnlineConformal(levels, is_log)
    normal = np.array([-1.645, -1.282, -0.674, 0, 0.674, 1.282, 1.645, 2.326])
    quantiles = Quantiles.of(levels, [factor * np.exp(4 + 0.3 * normal)])
    hits = {"a": [], "b": []}
    for number in range(1600):
        name = "ab"[number % 2]
        real = np.exp(4 + (1.0 if name == "a" else -0.5) + 0.6 * random.normal())
        made, state = tracker.correct(quantiles, [(name,)])
        hits[name].append(real <= made.at(0.9)[0])
        tracker.observe(quantiles, [(name,)], [real])
    assert state[0] == CALIBRATED
    for hit in hits.values():
        assert 0.84 <= np.mean(hit[300:]) <= 0.94


def test_conformal_of_a_new_key_starts_at_its_parent():
    """A tenant never seen gets what all tenants together taught, and is called raw no more."""
    tracker = OnlineConformal(np.array(LEVELS), is_log=False)
    quantiles = Quantiles.of(LEVELS, [np.arange(8.0)])
    assert tracker.correct(quantiles, [("new",)])[1][0] == RAW
    for _ in range(300):
        tracker.observe(quantiles, [("old",)], [100.0])
    made, state = tracker.correct(quantiles, [("new",)])
    assert made.at(0.5)[0] > 50
    assert state[0] == CALIBRATED


def test_conformal_goes_on_where_it_was_and_refuses_another_models_state():
    """State comes back through JSON; of other levels it is refused."""
    import json

    tracker = OnlineConformal(np.array(LEVELS), is_log=True)
    quantiles = Quantiles.of(LEVELS, [np.arange(1.0, 9.0)])
    tracker.observe(quantiles, [("a",)], [5000.0])
    other = OnlineConformal(np.array(LEVELS), is_log=True)
    other.restore(json.loads(json.dumps(tracker.state())))
    assert np.array_equal(
        other.correct(quantiles, [("a",)])[0].values, tracker.correct(quantiles, [("a",)])[0].values
    )
    with pytest.raises(PredictorError):
        OnlineConformal(np.array([0.5]), is_log=True).restore(tracker.state())


def test_unknown_outcomes_teach_nothing():
    """NaN outcomes change neither offsets nor the calibration state."""
    tracker = OnlineConformal(np.array(LEVELS), is_log=True)
    quantiles = Quantiles.of(LEVELS, [np.arange(1.0, 9.0)])
    tracker.observe(quantiles, [()], [np.nan])
    made, state = tracker.correct(quantiles, [()])
    assert np.allclose(made.values, quantiles.values)
    assert state[0] == RAW


def fed(served, rows, per=20):
    """Ask and tell in the order of time, `per` rows at once."""
    for part in rows.iter_slices(per):
        answer = served.predict(part)
        served.observe(part, answer, part["outcome"].to_numpy())
    return served.predict(rows.tail(1)).prediction


def test_the_rival_answers_where_the_champion_loses():
    """A champion that is never right gives way, says so, and only where it lost."""
    history = History(SPEC)
    history.fit(rows_of(50, 5))
    served = Served(Biased(1.0), history)
    # Wrong in a way no offset mends: the two routes differ, the champion does not know them.
    rows = rows_of(900).with_columns(
        outcome=pl.when(pl.col("input_tokens") > 500).then(1.0).otherwise(130.0)
    )
    perfect = _Oracle()
    winning = Served(perfect, history)
    assert not fed(winning, rows).was_fallback[0]
    blind = rows_of(900)
    losing = Served(_Noise(), History(SPEC))
    losing._rival.fit(rows_of(50, 5))
    made = fed(losing, blind)
    assert made.was_fallback[0]
    assert losing.fallback_keys()
    assert served.fallback_keys() == []


class _Oracle(Biased):
    def __init__(self):
        super().__init__(1.0)

    def predict(self, rows):
        real = np.where(rows["input_tokens"].to_numpy() > 500, 1.0, 130.0)
        values = np.tile(real[:, None], (1, len(LEVELS)))
        return Prediction.raw(Quantiles.of(LEVELS, values), self.model_id)


class _Noise(Biased):
    def __init__(self):
        super().__init__(1.0)

    def predict(self, rows):
        # Depends on a feature that says nothing, so no offset can mend it.
        real = np.where(rows["input_tokens"].to_numpy() > 500, 1.0, 130.0)
        values = np.tile(real[:, None], (1, len(LEVELS)))
        return Prediction.raw(Quantiles.of(LEVELS, values), self.model_id)


def test_served_answers_stay_inside_physical_limits():
    """No answer passes the row's own limit, whatever the model or the correction says."""
    history = History(SPEC)
    history.fit(rows_of(50))
    served = Served(Biased(100.0), history)
    rows = rows_of(30)
    made = served.predict(rows).prediction.quantiles.values
    assert (made[rows["max_tokens"].is_not_null().to_numpy()] <= 150).all()


def test_served_goes_on_where_it_was():
    """Its state comes back, with the same answers."""
    history = History(SPEC)
    history.fit(rows_of(50))
    one, other = Served(Biased(3.0), history), Served(Biased(3.0), history)
    fed(one, rows_of(200))
    other.restore(one.state())
    rows = rows_of(10, 3)
    assert np.allclose(
        one.predict(rows).prediction.quantiles.values,
        other.predict(rows).prediction.quantiles.values,
    )


def test_different_quantities_are_not_compared():
    """A rival of another quantity is refused when the two are put together."""
    other = History(Spec("x", "ttft_seconds", "s", ()))
    with pytest.raises(PredictorError):
        Served(Biased(1.0), other)


def test_scores_of_a_known_case():
    """Ten outcomes beside one distribution, counted by hand."""
    made = Quantiles.of([0.1, 0.25, 0.5, 0.75, 0.9], [[1, 2, 5, 8, 9]] * 10)
    got = score(made, np.arange(1, 11))
    assert got.n == 10
    assert got.mae == pytest.approx(2.5)
    assert got.coverage_q90 == pytest.approx(0.9)
    assert got.coverage_80 == pytest.approx(0.9)
    assert got.width_80 == pytest.approx(8)
    assert math.isnan(got.kendall_tau)


@settings(max_examples=30)
@given(hnp.arrays(np.float64, 40, elements=st.floats(0.1, 1e4)))
def test_the_best_constant_is_its_own_quantiles(real):
    """No shifted constant has a lower pinball loss than the sample's own quantiles."""
    levels = [0.1, 0.25, 0.5, 0.75, 0.9]
    own = np.quantile(real, levels, method="inverted_cdf")
    best = pinball(Quantiles.of(levels, np.tile(own, (40, 1))), real).mean()
    for shift in (0.5, 0.9, 1.1, 2.0):
        other = pinball(Quantiles.of(levels, np.tile(own * shift, (40, 1))), real).mean()
        assert best <= other + 1e-9


def test_no_outcome_is_no_score():
    """Without a known outcome every figure is NaN, never 0."""
    made = Quantiles.of(LEVELS, [np.arange(8.0)])
    got = score(made, [np.nan])
    assert got.n == 0
    assert math.isnan(got.mae)
    assert np.isnan(coverage(made, [np.nan])).all()


def test_skill_draws_whole_blocks():
    """A hundred copies of ten prompts are no thousand prompts: the interval stays wide."""
    random = np.random.default_rng(0)
    prompts = random.uniform(0.5, 1.5, 10)
    ours, rival = np.repeat(prompts, 100), np.ones(1000)
    blocks = np.repeat(np.arange(10), 100)
    wide, narrow = skill(ours, rival, blocks), skill(ours, rival, np.arange(1000))
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    assert wide.low <= wide.value <= wide.high


def test_skill_names_the_worst_key():
    """The key that loses most is named."""
    ours = np.array([0.5] * 50 + [2.0] * 50)
    got = skill(ours, np.ones(100), keys=["good"] * 50 + ["bad"] * 50)
    assert (got.worst_key, got.worst_value) == ("bad", -1.0)


def test_splits_leave_nothing_on_both_sides():
    """Times do not overlap, groups do not repeat, and every group is judged once."""
    rows = rows_of(100).with_columns(prompt=pl.int_range(100) // 5)
    before, after = splits.by_time(rows, 0.7)
    assert before["at"].max() < after["at"].min()
    judged = []
    for learn, judge in splits.by_group(rows, "prompt", 4):
        assert not set(learn["prompt"]) & set(judge["prompt"])
        judged += judge["prompt"].unique().to_list()
    assert sorted(judged) == list(range(20))
    assert [name for name, _, _ in splits.leave_one_out(rows, "route")] == ["chat", "code"]
    for learn, judge in splits.rolling(rows, 3, timedelta(seconds=10)):
        assert learn["at"].max() < judge["at"].min()
        assert judge.height == 10


def test_a_model_file_is_refused_when_anything_is_not_as_written(tmp_path):
    """Another feature list, another predictor, a changed manifest: each is one clear line."""
    history = History(SPEC)
    history.fit(rows_of(50))
    history.save(tmp_path)
    other = Spec("test-length", "output_tokens", "tokens", (Feature("x", "number"),))
    with pytest.raises(PredictorError, match="other features"):
        artifact.read(tmp_path, other)
    with pytest.raises(PredictorError, match="not of"):
        artifact.read(tmp_path, Spec("else", "x", "s", ()))
    path = tmp_path / artifact.MANIFEST
    path.write_text(path.read_text().replace("1000", "1001"))
    with pytest.raises(PredictorError, match="not the bytes"):
        artifact.read(tmp_path, SPEC)


@pytest.mark.parametrize("loss", ["squared_error", "quantile"])
def test_trees_as_arrays_answer_like_scikit_learn(loss):
    """Kept as arrays and read back, boosted trees answer the same, NaN included."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    from predictors.trees import Trees, from_boosting

    random = np.random.default_rng(0)
    columns = random.normal(size=(400, 5))
    columns[random.random(columns.shape) < 0.1] = np.nan
    real = np.nan_to_num(columns[:, 0]) + random.normal(size=400)
    quantile = 0.9 if loss == "quantile" else None
    model = HistGradientBoostingRegressor(loss=loss, quantile=quantile, max_iter=20)
    model.fit(columns, real)
    trees = from_boosting(model)
    back = Trees.from_arrays(trees.arrays("t"), "t")
    assert np.allclose(back.predict(columns), model.predict(columns))


def test_a_back_tests_table_says_what_was_met():
    """Targets are judged by their sense; an unknown value is null and not met."""
    cells = [
        Cell("length", "c", "ours", "mae_tokens", 160.0, 10, target=165.0),
        Cell("length", "c", "ours", "kendall_tau", 0.5, 10, target=0.56, sense="higher"),
        Cell("length", "c", "ours", "q90", 0.93, 10, target=0.9, sense="near", tolerance=0.02),
        Cell("length", "c", "constant", "mae_tokens", math.nan, 0, is_rival=True),
    ]
    assert table(cells)["is_met"].to_list() == [True, False, False, None]
    assert table(cells)["value"].to_list()[-1] is None


def test_a_missing_library_of_the_extra_is_one_line_with_the_command():
    """Whoever lacks torch is told what to install; another missing module stays a fault."""
    from predictors.catalog import extra_needed

    with pytest.raises(PredictorError, match="not installed"), extra_needed():
        raise ModuleNotFoundError("no torch", name="torch.nn")
    with pytest.raises(ModuleNotFoundError), extra_needed():
        raise ModuleNotFoundError("no such", name="store.nothing")
