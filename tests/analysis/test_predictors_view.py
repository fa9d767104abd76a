"""The figures of the Predictors page, counted by hand or by numpy on the same rows."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from analysis.predictors_inputs import predictors_inputs
from analysis.predictors_view import LEAST_OUTCOMES, predictors
from store.clock import WallClock
from store.database import Database
from store.queries import predictions as queries
from store.queries.scope import Scope
from store.settings import StoreSettings

START = datetime(2026, 3, 1, tzinfo=UTC)
LEVELS = [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99]
N = 200


def scope(**more):
    return Scope(source_ids=(1,), start=START, end=START + timedelta(hours=1), **more)


def requests(n=N, finish="stop", **more):
    return pl.DataFrame(
        {
            "request_id": [f"r{i}" for i in range(n)],
            "arrived_at": [START.replace(tzinfo=None) + timedelta(seconds=i) for i in range(n)],
            "status": ["ok"] * n,
            "model": ["m"] * n,
            "finish_reason": [finish] * n,
            "output_tokens": [10 + i for i in range(n)],
            **more,
        }
    )


def said(rows, factor=1.0, rival=100.0, **more):
    real = rows["output_tokens"].to_list()
    spread = [0.6, 0.7, 0.8, 1.0, 1.2, 1.3, 1.4, 1.6]
    return rows.select("arrived_at", "request_id").with_columns(
        source_id=1,
        quantity=pl.lit("output_tokens"),
        predicted_at=pl.col("arrived_at"),
        was_before=True,
        key=pl.Series([["m", "chat"]] * rows.height),
        levels=pl.Series([LEVELS] * rows.height),
        predicted=pl.Series([[factor * value * share for share in spread] for value in real]),
        rival=pl.Series([[rival * share for share in spread]] * rows.height),
        model_id=pl.lit("length-1"),
        rival_id=pl.lit("history-1"),
        calibration=pl.lit("calibrated"),
        was_fallback=pl.lit(value=False),
        **more,
    )


@pytest.fixture
def database():
    with Database.open(None, StoreSettings(memory_limit_bytes=128 << 20), WallClock()) as opened:
        yield opened


def filled(database, rows, spoken):
    database.writer.append("request", rows).result()
    database.writer.append("prediction", spoken).result()
    return predictors(database.reader, scope())


def test_skill_and_coverage_are_those_of_the_rows(database):
    """Losses, coverage and rank correlation equal numpy's on the same numbers."""
    rows = requests()
    view = filled(database, rows, said(rows, 1.1))
    (row,) = view.frames["quantities"].to_dicts()
    real = rows["output_tokens"].to_numpy().astype(float)
    spread = np.array([0.7, 0.8, 1.0, 1.2, 1.3])
    levels = np.array([0.1, 0.25, 0.5, 0.75, 0.9])

    def loss(middle):
        short = real[:, None] - middle[:, None] * spread
        return np.maximum(levels * short, (levels - 1) * short).mean()

    assert row["pinball"] == pytest.approx(loss(1.1 * real))
    assert row["rival_pinball"] == pytest.approx(loss(np.full(N, 100.0)))
    assert row["skill_ratio"] == pytest.approx(1 - row["pinball"] / row["rival_pinball"])
    assert row["rank_correlation"] == pytest.approx(1.0)
    assert (row["predictions"], row["outcomes"], row["cut"]) == (N, N, 0)
    at_nine = view.frames["calibration"].filter(pl.col("level") == 0.9).to_dicts()[0]
    assert at_nine["coverage_ratio"] == 1.0
    assert at_nine["coverage_low"] < 1.0
    assert any("better than its naive rival" in text for text in view.sentences)
    assert row["skill_low"] < row["skill_ratio"] < row["skill_high"]
    assert row["verdict"] == "better"


def test_a_loser_is_called_one(database):
    """Where the rival is better the page says worse, and that the rival answers there."""
    rows = requests()
    view = filled(database, rows, said(rows, 8.0))
    assert view.frames["quantities"]["skill_ratio"][0] < 0
    assert "worse than its naive rival" in view.sentences[0]


def test_few_outcomes_are_no_skill(database):
    """Below the least number of outcomes no skill is stated, and the sentence says why."""
    rows = requests(LEAST_OUTCOMES - 1)
    view = filled(database, rows, said(rows))
    assert view.frames["quantities"]["skill_ratio"].to_list() == [None]
    assert "too few" in view.sentences[0]


def test_cut_and_failed_answers_are_no_outcomes(database):
    """An answer cut at its limit has no known length; it is counted apart and judges nobody."""
    cut = requests(finish="length")
    view = filled(database, cut, said(cut))
    (row,) = view.frames["quantities"].to_dicts()
    assert (row["outcomes"], row["cut"], row["pinball"]) == (0, N, None)
    assert view.frames["calibration"].is_empty()


def test_predictions_of_running_requests_wait_for_their_outcome(database):
    """A prediction without its request counts as a prediction and not as an outcome."""
    rows = requests()
    database.writer.append("prediction", said(rows)).result()
    view = predictors(database.reader, scope())
    assert view.measures["predictions"].value == N
    assert view.measures["outcomes"].value == 0


def test_the_worst_misses_come_first_and_name_their_request(database):
    """Ten of a quantity, furthest off first."""
    rows = requests()
    odd = said(rows).with_columns(
        predicted=pl.when(pl.col("request_id") == "r7")
        .then(pl.Series([[1.0] * 8] * N))
        .otherwise(pl.col("predicted"))
    )
    view = filled(database, rows, odd)
    worst = view.frames["misses"].to_dicts()
    assert len(worst) == 10
    assert worst[0]["outcome"] == 17
    assert worst[0]["key"] == "m / chat"


def test_another_model_and_another_time_are_left_out(database):
    """The scope's models and range decide; outside it the page says where the last one is."""
    rows = requests()
    filled(database, rows, said(rows))
    assert predictors(database.reader, scope(models=("other",))).frames["quantities"].is_empty()
    later = Scope((1,), START + timedelta(days=2), START + timedelta(days=3))
    view = predictors(database.reader, later)
    assert view.empty.kind == "outside_range"


def test_frames_have_the_same_columns_without_a_prediction(database):
    """Whoever reads the API finds empty tables with their columns, not other ones."""
    rows = requests()
    told = filled(database, rows, said(rows)).frames
    later = Scope((1,), START + timedelta(days=2), START + timedelta(days=3))
    blank = predictors(database.reader, later).frames
    assert {name: frame.schema for name, frame in blank.items()} == {
        name: frame.schema for name, frame in told.items()
    }


def test_labels_of_the_request_decide(database):
    """A tenant's predictions are those of the tenant's requests."""
    rows = requests(tenant=["a", "b"] * (N // 2))
    filled(database, rows, said(rows))
    assert predictors(database.reader, scope(tenants=("a",))).measures["outcomes"].value == N / 2
    nobody = predictors(database.reader, scope(tenants=("c",)))
    assert nobody.empty.kind == "no_traffic"


def test_nothing_predicted_says_so(database):
    """Requests without a prediction have no figures; the page says how predictions come about."""
    database.writer.append("request", requests()).result()
    view = predictors(database.reader, scope())
    assert view.empty.kind == "metric_absent"
    # Nobody is shown how inputs moved where nothing was made of them.
    moved = predictors_inputs(database.reader, scope())
    assert moved.frames["inputs"].is_empty()
    assert "distance" in moved.frames["inputs"].columns
    assert moved.empty.kind == "metric_absent"
    assert "predictions/NAME" in view.empty.text
    assert view.measures["fallback_ratio"].value is None


def test_nothing_connected_says_that(database):
    """An empty store needs a source first."""
    assert predictors(database.reader, scope()).empty.kind == "nothing_connected"


def test_equal_losses_are_no_difference(database):
    """A predictor that says what its rival says is neither better nor worse."""
    rows = requests()
    spoken = said(rows).with_columns(predicted=pl.col("rival"))
    view = filled(database, rows, spoken)
    assert view.frames["quantities"]["verdict"].to_list() == ["no difference seen"]
    assert any("no difference" in text for text in view.sentences)


def test_of_too_many_some_are_judged_and_it_is_said(database, monkeypatch):
    """Above the limit whole requests are left out, evenly; the total stays about right."""
    monkeypatch.setattr(queries, "one_in", lambda reader, scope: 4)
    rows = requests()
    view = filled(database, rows, said(rows))
    assert 20 < view.measures["outcomes"].value < 90
    assert view.measures["predictions"].value == 4 * view.frames["quantities"]["predictions"][0]
    assert "one request in 4" in view.measures["predictions"].why


def test_of_many_a_tier_is_read_that_a_page_can_judge(database, monkeypatch):
    """So few are read that they stay below the limit, and what they say is that of their rows."""
    rows = requests()
    filled(database, rows, said(rows, 1.1))
    monkeypatch.setattr(queries, "MOST_PREDICTIONS", 30)
    assert queries.one_in(database.reader, scope()) == 16
    view = predictors(database.reader, scope())
    assert 0 < view.frames["quantities"]["outcomes"][0] <= 30
    assert view.measures["predictions"].value == pytest.approx(N, rel=0.5)
    assert view.frames["misses"]["off"].to_list() == pytest.approx([np.log(1.1)] * 10)


def test_a_few_are_all_judged(database):
    """Below the limit nothing is left out."""
    rows = requests()
    filled(database, rows, said(rows))
    assert queries.one_in(database.reader, scope()) == 1


def test_history_alone_is_no_contest(database):
    """Where no model is trained the history answers everything, and nothing is compared."""
    rows = requests()
    view = filled(database, rows, said(rows).with_columns(was_fallback=pl.lit(value=True)))
    assert view.frames["quantities"]["verdict"].to_list() == ["history answers"]
    assert any("no trained model answers yet" in text for text in view.sentences)


def test_intervals_that_miss_are_called_too_narrow(database):
    """Coverage far from what was asked for is said before the praise."""
    rows = requests()
    narrow = pl.Series([[0.5 * v + i * 1e-3 for i in range(8)] for v in rows["output_tokens"]])
    view = filled(database, rows, said(rows).with_columns(predicted=narrow))
    assert any("too narrow" in text for text in view.sentences)


def test_each_key_has_intervals_around_its_skill_and_its_coverage(database):
    """No share without its interval, however small the key."""
    rows = requests()
    database.writer.append("request", rows).result()
    database.writer.append("prediction", said(rows)).result()
    key = predictors(database.reader, scope()).frames["keys"].row(0, named=True)
    assert key["skill_low"] <= key["skill_ratio"] <= key["skill_high"]
    assert key["coverage_q90_low"] <= key["coverage_q90_ratio"] <= key["coverage_q90_high"]
