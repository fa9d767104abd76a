"""The state of an engine as a router sees it, the rows made of it, and the physics on top."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictors.latency.features import TTFT, state_of
from predictors.latency.instance import InstanceState, Scrape
from predictors.latency.life import Lives, curve_of, ended_within
from predictors.latency.priors import card_of, prior_of, weights_of
from predictors.latency.replay import rows_of, with_outcome
from predictors.latency.reservoir import balanced
from predictors.trees import Trees, from_boosting, from_forest, learnable_columns
from store.errors import PredictorError

START = datetime(2026, 1, 1)


def test_a_request_is_counted_where_it_is():
    """Sent it waits with its tokens, with its first token it runs, ended it is gone."""
    state = InstanceState({"model": "m"})
    state.sent("a", 0.0, 100, cached_tokens=40)
    row = state.row(1.0, 10)
    assert (row["requests_waiting"], row["tokens_waiting"]) == (1, 60)
    assert row["oldest_wait_seconds"] == 1.0
    state.first_token("a", 2.0)
    row = state.row(2.0, 10)
    assert (row["requests_waiting"], row["requests_running"], row["tokens_waiting"]) == (0, 1, 0)
    assert row["last_ttft_seconds"] == 2.0
    state.ended("a", 3.0)
    assert state.row(3.0, 10)["requests_running"] == 0
    assert len(state) == 0


def test_ages_grow_at_the_measured_pace():
    """Between scrapes running requests are taken to go on at the pace of the last step."""
    state = InstanceState()
    state.scraped(0.0, Scrape(step_seconds=0.02))
    state.sent("a", 0.0, 5, max_tokens=60)
    state.first_token("a", 0.5)
    row = state.row(1.5, 1)
    assert row["running_generated_tokens"] == pytest.approx([50.0])
    assert row["running_left_tokens"] == pytest.approx([10.0])
    assert row["context_tokens"] == pytest.approx(55.0)


def test_what_is_unknown_is_left_out():
    """Tokens and ends of requests never sent change nothing, nor does an end told twice."""
    state = InstanceState()
    state.first_token("ghost", 1.0)
    state.ended("ghost", 1.0)
    state.sent("a", 1.0, 10)
    state.ended("a", 2.0)
    state.ended("a", 2.0)
    row = state.row(2.0, 10)
    assert (row["requests_waiting"], row["tokens_waiting"], row["requests_running"]) == (0, 0, 0)
    assert row["scraped_running"] is None


events = st.tuples(
    st.sampled_from(["sent", "first_token", "ended", "scraped"]),
    st.sampled_from("abcdef"),
    st.floats(-10, 100),
    st.integers(0, 200_000),
)


@given(st.lists(events, max_size=60))
def test_no_order_of_events_and_no_clock_makes_a_negative(history):
    """Whatever happens in whatever order, with a clock that jumps: counts and waits are >= 0."""
    state = InstanceState()
    for kind, name, at, tokens in history:
        if kind == "sent":
            state.sent(name, at, tokens, max_tokens=tokens)
        elif kind == "scraped":
            state.scraped(at, Scrape(running=1, step_seconds=0.01))
        else:
            getattr(state, kind)(name, at)
    row = state.row(50.0, 10)
    numbers = [v for v in row.values() if isinstance(v, float)]
    assert min(numbers) >= 0
    assert all(v >= 0 for v in row["running_generated_tokens"])
    assert row["requests_running"] + row["requests_waiting"] == len(state)


def requests(n, gap=1.0, ttft=0.5, e2e=3.5):
    return pl.DataFrame(
        {
            "at": [START + timedelta(seconds=gap * i) for i in range(n)],
            "input_tokens": [100.0] * n,
            "ttft_seconds": [ttft] * n,
            "e2e_seconds": [e2e] * n,
            "output_tokens": [31.0] * n,
        }
    )


def test_rows_hold_only_what_was_known_when_they_were_sent():
    """A later end changes no earlier row: the future is not in the features."""
    usual, late = requests(20), requests(20).with_columns(e2e_seconds=pl.lit(300.0))
    one, other = rows_of(usual), rows_of(late)
    assert one["requests_running"][0] == 0
    assert one["requests_running"][10] == 3
    assert one["requests_running"][:3].equals(other["requests_running"][:3])
    assert one["tpot_seconds"][0] == pytest.approx(0.1)


def test_requests_that_failed_are_censored():
    """A request that failed before its first token had waited at least until then."""
    failed = requests(3).with_columns(
        ttft_seconds=pl.lit(None, pl.Float64), e2e_seconds=pl.lit(9.0), did_fail=pl.lit(value=True)
    )
    rows = with_outcome(rows_of(failed), "ttft_seconds")
    assert rows["outcome"].to_list() == [9.0] * 3
    assert rows["is_censored"].all()


def test_nothing_gives_no_rows_and_missing_columns_are_named():
    """No requests give an empty frame; a missing column is told by its name."""
    assert rows_of(requests(0)).height == 0
    with pytest.raises(PredictorError, match="ttft_seconds"):
        rows_of(requests(2).drop("ttft_seconds"))


def test_gauges_stand_in_for_unknown_counts():
    """Without a router's own counts the scraped gauges are taken."""
    frame = TTFT.frame(pl.DataFrame({"input_tokens": [10.0], "scraped_running": [7.0]}))
    state = state_of(frame)
    assert state.running[0] == 7
    assert state.waiting[0] == 0
    assert np.isnan(state.context[0])


def test_limits_are_no_lengths():
    """Answers cut at their limit say that lengths are longer, not that they end there."""
    lengths = np.array([50.0] * 50 + [100.0] * 50)
    cut, _ = curve_of(lengths, lengths >= 100)
    ended, _ = curve_of(lengths, np.zeros(100, bool))
    assert cut[30] > 0.4
    assert ended[30] < 0.1


def test_running_requests_end_at_their_limit_at_the_latest():
    """Within the tokens left to its limit every request has ended."""
    curve, mean = curve_of(np.full(100, 500.0), np.zeros(100, bool))
    lives = Lives(curve[None], np.array([mean]))
    group, ages = np.zeros(1, np.int64), np.zeros((1, 4))
    left = np.array([[10.0, 10.0, 20.0, np.inf]])
    share, _ = ended_within(lives, group, ages, left, np.array([[9.0, 10.0, 20.0]]))
    assert share[0] == pytest.approx([0.0, 0.5, 0.75], abs=0.05)


def test_priors_know_cards_and_sizes():
    """Names of cards and models are read; what is not known is None."""
    assert card_of("NVIDIA A100-SXM4-80GB") == card_of("a100")
    assert card_of("NVIDIA A10G") == card_of("a10")
    assert card_of("abacus") is None
    assert card_of("8x H100")[0] == 8 * card_of("h100")[0]
    assert weights_of("meta-llama/Llama-3.1-8B-Instruct") == 8e9
    assert weights_of("mixtral-8x7b") == 56e9
    assert weights_of("gpt") is None
    slow, fast = prior_of("llama-8b", "vllm", "l4"), prior_of("llama-8b", "vllm", "h100")
    assert (slow[[1, 3, 4]] > fast[[1, 3, 4]]).all()


def test_busy_rows_are_kept_among_many_idle_ones():
    """Of a hundred times more idle rows than wanted, all rows of a busy engine stay."""
    n = 2000
    busy = [50.0 if i % 100 == 0 else 0.0 for i in range(n)]
    frame = TTFT.frame(pl.DataFrame({"input_tokens": [10.0] * n, "requests_waiting": busy}))
    kept = balanced(frame, 100)
    assert kept.height <= 120
    assert (kept["requests_waiting"] > 0).sum() == 20


@pytest.mark.parametrize("leaves", [2, 8, 31, 64, 200])
def test_looked_up_trees_answer_as_walked_ones(leaves):
    """Small trees by look-up, large ones by walking: the same answers as scikit-learn's."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    random = np.random.default_rng(0)
    columns = random.normal(size=(600, 5))
    columns[random.random(columns.shape) < 0.1] = np.nan
    target = np.nan_to_num(columns[:, 0]) ** 2 + random.normal(size=600)
    model = HistGradientBoostingRegressor(
        max_iter=12, max_leaf_nodes=leaves, min_samples_leaf=1, early_stopping=False
    ).fit(columns, target)
    trees = from_boosting(model)
    back = Trees.from_arrays(trees.arrays("t"), "t")
    assert np.allclose(back.predict(columns), model.predict(columns))
    assert np.allclose(back.walked(columns), back.predict(columns))
    assert np.allclose(back.predict(columns[:1]), model.predict(columns[:1]))
    assert len(back.predict(columns[:0])) == 0


def test_forests_become_trees():
    """The mean of a forest's trees is its answer."""
    from sklearn.ensemble import RandomForestRegressor

    columns = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32).astype(float)
    model = RandomForestRegressor(7, random_state=0).fit(columns, columns[:, 0])
    assert np.allclose(from_forest(model).predict(columns), model.predict(columns))


def test_columns_that_nobody_knows_can_be_learnt_from():
    """Infinities are cut, and columns of NaN alone are nothing."""
    columns = np.array([[np.nan, 1.0, np.inf], [np.nan, np.nan, -np.inf]])
    made = learnable_columns(columns)
    assert np.isfinite(made[:, [0, 2]]).all()
    assert np.isnan(made[1, 1])
