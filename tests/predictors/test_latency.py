"""Latency predictors on an engine that is made here: a batch, a budget, slots and a queue."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

import numpy as np
import polars as pl
import pytest

from predictors import catalog
from predictors.check import check_prediction, check_predictor
from predictors.distribution import LEVELS
from predictors.latency import rivals
from predictors.latency.backtest import backtest, extrapolation, interpolation
from predictors.latency.features import LENGTHS
from predictors.latency.folding import folded
from predictors.latency.model import TpotModel, TtftModel
from predictors.latency.replay import rows_of, with_outcome
from predictors.latency.serving import in_service
from predictors.latency.total import E2eModel
from predictors.scoring import score
from store.errors import PredictorError

START = datetime(2026, 1, 1)
BUDGET, SLOTS = 256, 32


def step_of(batch, prefill):
    return 0.004 + 0.0004 * batch + 0.00004 * prefill


def engine(n, rate, seed=0, limit=200):
    """(requests, scrapes) of an engine of `SLOTS` slots and `BUDGET` tokens a step."""
    random = np.random.default_rng(seed)
    sent = np.cumsum(random.exponential(1 / rate, n))
    prompt = random.integers(5, 400, n)
    length = np.minimum(random.geometric(1 / 120, n), limit)
    first, end = np.full(n, np.nan), np.full(n, np.nan)
    left, out, now, queue, batch, scrapes = prompt.astype(float), np.zeros(n), 0.0, 0, [], []
    while np.isnan(end).any():
        room, spent = BUDGET - len(batch), 0
        entering = []
        while queue < n and sent[queue] <= now and room > 0 and len(batch) + len(entering) < SLOTS:
            taken = min(room, left[queue])
            left[queue], room, spent = left[queue] - taken, room - taken, spent + taken
            if left[queue] > 0:
                break
            entering.append(queue)
            queue += 1
        if not batch and not entering and not spent:
            now = sent[queue]
            continue
        step = step_of(len(batch), spent)
        now += step
        for one in entering:
            first[one] = now
        out[batch + entering] += 1
        batch = [one for one in batch + entering if out[one] < length[one]]
        end[np.isnan(end) & (out >= length)] = now
        if not scrapes or now - scrapes[-1][0] > 0.5:
            waiting = int(((sent <= now) & np.isnan(first)).sum())
            scrapes.append((now, len(batch), waiting, step if batch else None, spent / step))
    requests = pl.DataFrame(
        {
            "at": [START + timedelta(seconds=float(at)) for at in sent],
            "input_tokens": prompt.astype(float),
            "max_tokens": [float(limit)] * n,
            "ttft_seconds": first - sent,
            "e2e_seconds": end - sent,
            "output_tokens": length.astype(float),
            "model": ["llama-8b"] * n,
            "engine": ["vllm"] * n,
            "gpu_type": ["h100"] * n,
            "instance": ["one"] * n,
        }
    )
    seen = [(START + timedelta(seconds=at), "one", *rest) for at, *rest in scrapes]
    names = ["at", "instance", "running", "waiting", "step_seconds", "prompt_tokens_per_second"]
    return requests, pl.DataFrame(seen, schema=names, orient="row")


def rows_at(rate, n=150, seed=0):
    return rows_of(*engine(n, rate, seed)).with_columns(
        load=pl.lit(float(rate)), event_id=pl.int_range(pl.len())
    )


@pytest.fixture(scope="module")
def rows():
    """Four loads from idle to more than the engine can do, one after the other."""
    parts = []
    for number, rate in enumerate((3, 8, 16, 40)):
        later = pl.col("at") + timedelta(hours=number)
        parts.append(rows_at(rate, seed=number).with_columns(later))
    return pl.concat(parts)


@pytest.mark.parametrize(
    ("make", "quantity"),
    [(TtftModel, "ttft_seconds"), (TpotModel, "tpot_seconds"), (E2eModel, "e2e_seconds")],
)
def test_latency_predictors_keep_every_promise(rows, make, quantity):
    """All three pass the checks that every predictor must pass."""
    check_predictor(make, with_outcome(rows, quantity).gather_every(9))


@pytest.mark.parametrize("kind", rivals.KINDS)
def test_rivals_keep_every_promise(rows, kind):
    """Every rival passes the same checks as the predictor."""
    make = partial(rivals.rival_of, "ttft_seconds", kind)
    read = partial(rivals.Regressed.load, spec=make().spec)
    check_predictor(make, with_outcome(rows, "ttft_seconds").gather_every(9), read)


@pytest.mark.parametrize("name", ["latency-ttft", "latency-tpot", "latency-e2e"])
def test_the_catalogue_makes_and_reads_both_sides(rows, name, tmp_path):
    """Champion and naive rival are made, kept and read back by their name alone."""
    entry = catalog.entry(name)
    learnt = with_outcome(rows, f"{name.removeprefix('latency-')}_seconds").gather_every(12)
    for number, (fresh, read) in enumerate(
        [(entry.made(), entry.loaded), (entry.made_rival(), entry.loaded_rival)]
    ):
        fresh.fit(learnt)
        fresh.save(tmp_path / str(number))
        assert read(tmp_path / str(number)).model_id == fresh.model_id
    assert entry.made_rival().spec.name == entry.made().spec.rival


def test_unseen_loads_are_predicted_better_than_by_any_regression(rows):
    """On loads it never saw the physics beats lines and trees by a fifth of the loss or more."""
    judged = with_outcome(rows, "ttft_seconds")
    losses = {"ours": 0.0, "linear": 0.0, "boosted": 0.0}
    for learnt, other in extrapolation(judged):
        for name in losses:
            model = TtftModel() if name == "ours" else rivals.rival_of("ttft_seconds", name)
            model.fit(learnt)
            made = model.predict(other).quantiles
            losses[name] += score(made, other["outcome"].to_numpy()).pinball
    assert losses["ours"] < 0.8 * min(losses["linear"], losses["boosted"])


def test_the_engine_is_recognised(rows):
    """Budget and slots come out of what was seen, without being told."""
    model = TtftModel(with_residual=False)
    model.fit(with_outcome(rows, "ttft_seconds"))
    budget = float(np.exp(model.known.fleet.logs[1, 5]))
    assert 0.75 * BUDGET < budget < 1.35 * BUDGET
    assert abs(model.known.fleet.slots[1] - SLOTS) <= 2


def test_more_work_ahead_means_a_longer_wait(rows):
    """The median never falls when requests or prompt tokens are added in front."""
    model = TtftModel(with_residual=False)
    model.fit(with_outcome(rows, "ttft_seconds"))
    one = rows.filter(pl.col("requests_running") > 8).head(1)
    waiting = [0.0, 1.0, 5.0, 20.0, 80.0, 400.0]
    many = pl.concat([one] * len(waiting)).with_columns(
        requests_waiting=pl.Series(waiting), tokens_waiting=pl.Series(waiting) * 200
    )
    medians = model.predict(many).quantiles.at(0.5)
    assert (np.diff(medians) > 0).all()


def test_a_new_engine_starts_from_what_others_taught(rows):
    """A card never seen is answered within the range of the seen ones, and faster if it is."""
    model = TtftModel(with_residual=False)
    model.fit(with_outcome(rows, "ttft_seconds"))
    some = rows.filter(pl.col("requests_waiting") == 0).head(20).drop("engine_step_seconds")
    known = model.predict(some).quantiles.at(0.5)
    slower = model.predict(some.with_columns(gpu_type=pl.lit("l4"))).quantiles.at(0.5)
    unknown = model.predict(some.with_columns(gpu_type=pl.lit("abacus"))).quantiles.at(0.5)
    assert (slower > known).mean() > 0.9
    assert (np.abs(np.log(unknown / known)) < np.log(20)).all()


@pytest.mark.parametrize("tokens", [0.0, 200_000.0])
def test_absurd_prompts_are_answered(rows, tokens):
    """Prompts of 0 and of 200 000 tokens get finite, ordered answers; longer ones wait longer."""
    for model, quantity in ((TtftModel(), "ttft_seconds"), (E2eModel(), "e2e_seconds")):
        model.fit(with_outcome(rows, quantity).gather_every(8))
        odd = rows.head(5).with_columns(input_tokens=pl.lit(tokens))
        made = model.predict(odd)
        check_prediction(model.spec, made, odd)
        usual = model.predict(rows.head(5)).quantiles.at(0.5)
        assert tokens == 0.0 or (made.quantiles.at(0.5) > usual).all()


def test_requests_that_gave_up_waiting_count_as_long_waits(rows):
    """Waits that were cut off raise the answer; leaving them out would flatter the engine."""
    judged = with_outcome(rows, "ttft_seconds")
    late = pl.col("outcome") > 2.0
    cut = judged.with_columns(
        outcome=pl.when(late).then(2.0).otherwise("outcome"), is_censored=late
    )
    queued = judged.filter(late)
    told, naive = (TtftModel(with_residual=False) for _ in range(2))
    told.fit(cut)
    naive.fit(cut.with_columns(is_censored=pl.lit(value=False)))
    above, below = (model.predict(queued).quantiles.at(0.5).mean() for model in (told, naive))
    assert above > below
    assert above > 2.0


def test_constant_waits_and_one_row_are_learnt_without_a_crash(rows):
    """One finished row gives an answer near the prior, with a wide interval."""
    model = TtftModel()
    report = model.fit(with_outcome(rows, "ttft_seconds").head(1))
    made = model.predict(rows.head(3)).quantiles
    assert report.ours is None
    assert (made.at(0.95) > 1.5 * made.at(0.05)).all()


def test_intervals_cover_what_comes_after_calibration(rows):
    """In service the 0.9 quantile covers more than 0.8 of requests that were not learnt from."""
    judged = with_outcome(rows, "ttft_seconds")
    learnt, other = (judged.filter(pl.col("event_id") % 2 == part) for part in (0, 1))
    model, rival = TtftModel(), rivals.rival_of("ttft_seconds", "linear")
    model.fit(learnt)
    rival.fit(learnt)
    made = in_service(other, model.predict(other), rival.predict(other))
    assert (other["outcome"].to_numpy() <= made.quantiles.at(0.9)).mean() > 0.8


def test_loads_are_parted_before_requests(rows):
    """No load and no request is on both sides of a split; one load alone is refused."""
    for parts in (interpolation(rows), extrapolation(rows)):
        for learnt, other in parts:
            assert not set(learnt["load"]) & set(other["load"])
            assert not set(learnt["event_id"]) & set(other["event_id"])
    with pytest.raises(PredictorError, match="two loads"):
        next(interpolation(rows.filter(pl.col("load") == 3)))


def test_end_to_end_follows_the_predicted_length(rows):
    """Ten times the tokens take several times as long; a limit of the request caps it."""
    model = E2eModel()
    model.fit(with_outcome(rows, "e2e_seconds").gather_every(5))
    some = rows.head(6).drop("max_tokens")

    def median(tokens, most=None):
        told = pl.Series([[float(tokens)] * len(LEVELS)] * some.height)
        asked = some.with_columns(told.alias(LENGTHS), pl.lit(most, pl.Float64).alias("max_tokens"))
        return model.predict(asked).quantiles.at(0.5)

    assert (median(150) > 4 * median(15)).all()
    assert np.allclose(median(150, most=15.0), median(15, most=15.0))


def test_folding_gives_the_sum_of_what_is_certain():
    """Without any spread the end is the first token and the rest at its pace, exactly."""
    same = np.ones((1, len(LEVELS)))
    assert np.allclose(folded(0.5 * same, 0.02 * same, 101 * same), 2.5)


def test_end_to_end_needs_first_tokens(rows):
    """Without any first token it says which column is missing."""
    with pytest.raises(PredictorError, match="ttft_seconds"):
        E2eModel().fit(with_outcome(rows, "e2e_seconds").drop("ttft_seconds"))


def test_a_backtest_without_data_says_what_is_missing(tmp_path):
    """Each missing data set is one line, not a crash."""
    told = []
    assert list(backtest(tmp_path, 0, quick=True, told=told.append)) == []
    assert len(told) == 2
    assert all(str(tmp_path) in line for line in told)
