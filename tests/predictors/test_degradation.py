"""Degradation: windows of any metrics, the transformer and its rivals, bad input, back-test."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from predictors.base import OUTCOME
from predictors.check import check_prediction, check_predictor
from predictors.degradation.backtest import backtest
from predictors.degradation.channels import Channels
from predictors.degradation.model import METHODS, Degradation, DegradationAhead
from predictors.degradation.rivals import constant, constant_ahead, load_constant_ahead
from predictors.degradation.windows import WINDOW, Windows, pack, unpack
from predictors.distribution import Floats
from predictors.scoring import score
from store.errors import PredictorError

torch = pytest.importorskip("torch", reason="needs servescope[predict]")

from predictors.degradation.network import SIZES, DualBranch, build, parameters_of  # noqa: E402
from predictors.degradation.training import Network, Training  # noqa: E402

NAMES = ("self.cpu_pct", "host.cpu_pct", "load.offered_per_s", "load.achieved_per_s")
FAST = Training(epochs=4, members=1)
START = datetime(2026, 1, 1)


def made_rows(n: int = 160, seed: int = 0, kinds: int = 4) -> pl.DataFrame:
    """Executions of a server whose neighbour takes what it wants of the same processors."""
    random = np.random.default_rng(seed)
    stretches, outcomes = [], []
    for number in range(n):
        own, other = random.uniform(5, 40), random.uniform(0, 55) * (number % kinds > 0)
        steps = int(random.integers(4, 9))
        wobble = random.normal(0, 1, (steps, 2))
        host = np.clip(own + other + wobble[:, 0], 0, 100)
        load = np.full(steps, own * 10)
        stretches.append(np.column_stack([own + wobble[:, 1], host, load, load]))
        outcomes.append(float(np.clip((104 - own - other) / (104 - own), 0.05, 1)))
    return pack(NAMES, stretches, 1.0).with_columns(
        pl.Series(OUTCOME, outcomes),
        pl.Series("group", [f"neighbour-{number % kinds}" for number in range(n)]),
        pl.Series("application", [f"neighbour-{number % kinds}" for number in range(n)]),
        pl.Series("at", [START + timedelta(minutes=number) for number in range(n)]),
    )


def quick(method: str = "blend") -> Degradation:
    """One that learns in a second."""
    return Degradation(method, training=FAST, is_quick=True)


@pytest.fixture(scope="module")
def taught() -> Degradation:
    """The quick blend after `made_rows()`; tests ask it and change nothing about it."""
    predictor = quick()
    predictor.fit(made_rows())
    return predictor


def error_of(predictor: Degradation, rows: pl.DataFrame) -> float:
    """Mean absolute error of the median."""
    made = predictor.predict(rows).quantiles
    return float(np.abs(made.at(0.5) - rows[OUTCOME].to_numpy()).mean())


@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_the_contract(method: str) -> None:
    """The transformer in all sizes, the blend and every rival answer, save and refuse alike."""
    check_predictor(lambda: quick(method), made_rows(48))


def test_the_forward_looking_one_keeps_the_contract() -> None:
    """Its answers carry the horizon of 30 s."""
    check_predictor(lambda: DegradationAhead("boosted", is_quick=True), made_rows(48))
    assert DegradationAhead.spec.horizon_seconds == 30


def test_the_naive_rival_keeps_the_contract() -> None:
    """The constant answers rows of the same shape."""
    check_predictor(constant, made_rows(48))
    check_predictor(constant_ahead, made_rows(48), load=load_constant_ahead)


@pytest.mark.parametrize("method", ["blend", "small", "extra", "boosted", "ridge"])
def test_a_learnt_method_beats_the_constant_on_a_neighbour_never_seen(method: str) -> None:
    """How near the host is to its limit carries over to a neighbour that was not learnt."""
    rows = made_rows(240)
    inside = pl.col("group") == "neighbour-2"
    predictor = Degradation(method, training=Training(epochs=12, members=1), is_quick=True)
    predictor.fit(rows.filter(~inside))
    judged = rows.filter(inside)
    real = judged[OUTCOME].to_numpy()
    naive = np.abs(real - rows.filter(~inside)[OUTCOME].median()).mean()
    assert error_of(predictor, judged) < 0.7 * naive


def test_a_fit_judges_itself_on_groups_it_left_out() -> None:
    """The report compares with the constant, each neighbour predicted from the others."""
    report = Degradation("extra").fit(made_rows(120))
    assert report.held_out_rows == 120
    assert report.ours is not None
    assert report.rival is not None
    assert report.ours.pinball < report.rival.pinball


def test_groups_left_out_widen_the_intervals() -> None:
    """What held among the neighbours that were learnt is too narrow for a new one."""
    # Neighbours differ in what no metric shows.
    hidden = 0.06 * pl.col("group").str.slice(-1).cast(pl.Float64)
    rows = made_rows(240).with_columns((pl.col(OUTCOME) * (1 - hidden)).alias(OUTCOME))
    inside = pl.col("group") == "neighbour-0"
    narrow, wide = Degradation("extra", is_quick=True), Degradation("extra")
    for predictor in (narrow, wide):
        predictor.fit(rows.filter(~inside))
    before, after = (p.predict(rows.filter(inside)).quantiles for p in (narrow, wide))
    assert np.array_equal(before.at(0.5), after.at(0.5))
    assert (after.at(0.9) >= before.at(0.9)).all()
    assert (after.at(0.9) - after.at(0.1)).mean() > (before.at(0.9) - before.at(0.1)).mean()


def test_metrics_that_a_host_lacks_are_absent_and_not_zero(taught: Degradation) -> None:
    """Rows of a host with fewer metrics get an answer, and not that of a host at rest."""
    full = made_rows(8, seed=1)
    windows = unpack(full, ("host.cpu_pct", "load.offered_per_s"))
    stretches = [v[:n] for v, n in zip(windows.values, windows.lengths, strict=True)]
    fewer = pack(windows.names, stretches, 1.0)
    made = taught.predict(fewer)
    check_prediction(taught.spec, made, fewer)
    assert not made.was_fallback.any()
    zeros = pack(NAMES, [np.nan_to_num(v[:, [1, 0, 1, 1]] * 0) for v in stretches], 1.0)
    assert not np.allclose(made.quantiles.values, taught.predict(zeros).quantiles.values)


def test_rows_with_different_metrics_lie_in_one_frame() -> None:
    """Each row names its own metrics; the vocabulary is what was seen in learning."""
    other = pack(("host.cpu_pct", "host.io_waiting_ratio"), [np.ones((3, 2))] * 20, 1.0)
    other = other.with_columns(pl.lit(0.5).alias(OUTCOME))
    mixed = pl.concat([made_rows(40), other], how="diagonal")
    predictor = quick("extra")
    predictor.fit(mixed)
    assert "host.io_waiting_ratio" in predictor.metrics
    assert len(predictor.predict(mixed)) == 60


def test_metrics_never_learnt_are_left_out(taught: Degradation) -> None:
    """A new exporter changes no answer."""
    rows = made_rows(6, seed=2)
    windows = unpack(rows, (*NAMES, "host.new_pct"))
    filled = np.nan_to_num(windows.values, nan=7.0)
    stretches = [v[:n] for v, n in zip(filled, windows.lengths, strict=True)]
    wider = pack(windows.names, stretches, 1.0)
    same = taught.predict(rows).quantiles.values
    assert np.allclose(taught.predict(wider).quantiles.values, same, atol=1e-5)


@pytest.mark.parametrize(
    "window", [None, [], [1.0, 2.0, 3.0], [float("nan")] * 8, [float("inf")] * 8]
)
def test_a_window_without_a_sample_gets_the_history_and_says_so(
    taught: Degradation, window: list[float] | None
) -> None:
    """No history of samples, a torn window, only unknown numbers: the stated fallback."""
    rows = made_rows(1).with_columns(pl.Series(WINDOW, [window], dtype=pl.List(pl.Float64)))
    made = taught.predict(rows)
    assert made.was_fallback.all()
    assert np.isfinite(made.quantiles.values).all()


@pytest.mark.parametrize("scale", [0.0, -1.0, 1e-12, 1e12])
def test_absurd_sizes_give_answers_within_limits(taught: Degradation, scale: float) -> None:
    """Counters that wrapped or were never scaled end neither in NaN nor outside 0 to 1."""
    rows = made_rows(4).with_columns(pl.col(WINDOW).list.eval(pl.element() * scale))
    check_prediction(taught.spec, taught.predict(rows), rows)


def test_constant_labels_are_answered_with_themselves() -> None:
    """An instance that was never degraded is predicted as such."""
    rows = made_rows(80).with_columns(pl.lit(1.0).alias(OUTCOME))
    predictor = Degradation(training=Training(epochs=12, members=1), is_quick=True)
    predictor.fit(rows)
    assert predictor.predict(rows).quantiles.at(0.5).min() > 0.8


def test_a_clock_that_jumps_changes_no_answer() -> None:
    """Times order the rows to learn from and are no feature."""
    rows = made_rows(40)
    back = rows.with_columns(pl.col("at") - pl.duration(days=4000))
    predictor = quick()
    predictor.fit(rows)
    same = predictor.predict(rows).quantiles.values
    assert np.array_equal(predictor.predict(back).quantiles.values, same)


def test_an_unknown_method_is_refused_with_those_that_exist() -> None:
    """One line says which names there are."""
    with pytest.raises(PredictorError, match="no way to predict") as caught:
        Degradation("prophet")
    assert "blend" in str(caught.value.hint)


def test_padding_changes_no_answer() -> None:
    """A short window answers alone as beside a long one, in every network."""
    for method in ("small", "paper", "wide", "lstm", "tcn"):
        predictor = quick(method)
        predictor.fit(made_rows(32))
        short = made_rows(1, seed=3)
        stretch = np.tile(np.array([[20.0, 60.0, 200.0, 200.0]]), (90, 1))
        long = pl.concat([short, pack(NAMES, [stretch], 1.0)], how="diagonal")
        alone = predictor.predict(short).quantiles.values[0]
        assert np.allclose(predictor.predict(long).quantiles.values[0], alone, atol=1e-5), method


def test_long_executions_are_averaged_down() -> None:
    """An hour of seconds costs no more than the longest window kept."""
    rows = pack(NAMES, [np.tile(np.arange(4.0), (3600, 1))], 1.0)
    windows = unpack(rows, NAMES, most_steps=60)
    assert windows.values.shape == (1, 60, 4)
    assert np.allclose(windows.values[0], np.arange(4.0))


def test_names_with_spaces_and_torn_stretches_are_refused() -> None:
    """What cannot be told apart later is refused when it is packed."""
    with pytest.raises(PredictorError, match="no spaces"):
        pack(("a b",), [np.ones((1, 1))], 1.0)
    with pytest.raises(PredictorError, match="does not hold 2 metrics"):
        pack(("a", "b"), [np.ones((3, 1))], 1.0)


def test_what_the_own_load_does_not_explain_is_the_neighbour() -> None:
    """Host use beyond the own part is near 0 alone and the neighbour's use beside one."""
    rows = made_rows(200)
    windows, real = unpack(rows), rows[OUTCOME].to_numpy()
    channels = Channels.fit(windows, real)
    found = channel(channels, windows, "unexplained(host.cpu_pct)")
    alone = rows["group"].to_numpy() == "neighbour-0"
    assert np.abs(found[alone]).mean() < 3
    assert found[~alone].mean() > 10


def channel(channels: Channels, windows: Windows, name: str) -> Floats:
    """(n,) mean of one channel."""
    values = channels.inputs(windows).values[:, :, channels.names.index(name)]
    return np.asarray(np.nanmean(values, axis=1), dtype=np.float64)


def test_both_readings_of_the_published_size() -> None:
    """206 metrics: a system branch of width 1 adds up to about 228 k, one of 64 does not."""
    one, other = (build(name, 206, 1) for name in ("paper", "wide"))
    assert isinstance(one, DualBranch)
    temporal = parameters_of(one.temporal) + parameters_of(one.dense)
    assert temporal == 213_248
    assert 220_000 < parameters_of(one) < 230_000
    assert parameters_of(other) > 420_000
    assert parameters_of(build("small", 206, 8)) < 100_000
    assert set(SIZES) == {"small", "paper", "wide"}


def test_a_network_needs_a_fit_before_it_answers() -> None:
    """Asking too early is an error, not zeros."""
    rows = made_rows(4)
    windows = unpack(rows)
    channels = Channels.fit(windows, rows[OUTCOME].to_numpy())
    with pytest.raises(RuntimeError, match="before it learnt"):
        Network("small", FAST).predict(channels.inputs(windows))


def test_without_its_data_the_back_test_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the shipped sample an empty folder gives no figures and one line a data set."""
    monkeypatch.setattr(
        "predictors.degradation.backtest.LAB_SAMPLE", tmp_path / "interference.parquet"
    )
    told: list[str] = []
    assert not list(backtest(tmp_path, 0, True, told.append))
    assert len(told) == 3
    assert "interference.parquet" in told[0]


def test_intervals_hold_more_than_a_point() -> None:
    """Quantiles of the blend spread around the median on rows like those learnt."""
    predictor = Degradation(training=Training(epochs=12, members=1), is_quick=True)
    rows = made_rows(200)
    predictor.fit(rows)
    scores = score(predictor.predict(rows).quantiles, rows[OUTCOME].to_numpy())
    assert scores.coverage_q90 > 0.7
    assert scores.width_80 > 0.005


def test_without_the_extra_a_fit_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server without torch gets one clear line instead of a traceback."""
    monkeypatch.setitem(sys.modules, "predictors.degradation.training", None)
    with pytest.raises(PredictorError, match="is not installed") as caught:
        quick("small").fit(made_rows(10))
    assert "servescope[predict]" in str(caught.value.hint)
