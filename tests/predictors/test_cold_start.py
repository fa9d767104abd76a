"""Cold starts: history, the forest, contract of predictor and rivals, phases, ready and warm."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from analysis.cold_start_warmth import warmth
from predictors import artifact
from predictors.check import check_predictor
from predictors.cold_start.boosted import Boosted
from predictors.cold_start.duration import ColdStart
from predictors.cold_start.forest import ForestSettings
from predictors.cold_start.history import with_alike, with_history
from predictors.cold_start.phases import PhasedStart, bandwidth
from predictors.cold_start.rivals import PreviousLoad
from predictors.cold_start.signals import with_signals
from predictors.cold_start.spec import SPEC
from predictors.scoring import score
from store.errors import PredictorError

START = datetime(2026, 1, 1)
SMALL = ForestSettings(trees=8)


def loads(n=400, seed=0, hosts=4):
    """Loads of hosts whose page cache forgets after ten minutes: 3 s when it hits, 30 s else."""
    random = np.random.default_rng(seed)
    rows, now, last = [], 0.0, {}
    for _ in range(n):
        now += float(random.exponential(200))
        host = f"host-{int(random.integers(hosts))}"
        is_hit = now - last.get(host, -math.inf) < 600
        last[host] = now
        seconds = (3.0 if is_hit else 30.0) * float(random.lognormal(0, 0.05))
        rows.append((START + timedelta(seconds=now), host, "m", seconds))
    return pl.DataFrame(rows, schema=["at", "instance", "model", "outcome"], orient="row")


def small():
    return ColdStart(settings=SMALL)


def test_every_promise_of_a_predictor_is_kept_by_the_forest():
    """Refusals, unknown features, one sample, constant labels, changed bytes, other hosts."""
    check_predictor(lambda: ColdStart(settings=ForestSettings(trees=3)), with_history(loads(60)))


@pytest.mark.parametrize("column", ["own_last_log", "own_median_log"])
def test_every_promise_of_a_predictor_is_kept_by_the_naive_rivals(column):
    """The rivals are held to the same contract."""
    check_predictor(lambda: PreviousLoad(column), with_history(loads(80)))


def test_every_promise_of_a_predictor_is_kept_by_boosted_trees():
    """The learnt baseline is held to the same contract."""
    check_predictor(lambda: Boosted(steps=5), with_history(loads(80)))


def test_the_previous_load_is_beaten_where_caches_forget():
    """A fifth of the loads, never seen: the forest halves the naive rival's loss."""
    rows = with_history(loads(600))
    learn, judge = rows.head(480), rows.tail(120)
    ours, rival = small(), PreviousLoad()
    ours.fit(learn)
    rival.fit(learn)
    real = judge["outcome"].to_numpy()
    mine, theirs = (score(some.predict(judge).quantiles, real) for some in (ours, rival))
    assert mine.pinball < 0.5 * theirs.pinball


def test_an_unknown_cache_gives_two_humps():
    """Where nothing tells hit from miss, low and high quantiles lie a cache apart."""
    ours = small()
    ours.fit(with_history(loads(300)))
    answer = ours.predict(pl.DataFrame({"model": ["m"]})).quantiles
    assert answer.at(0.05)[0] < 4
    assert answer.at(0.95)[0] > 20


def test_a_host_ten_times_slower_is_answered_in_its_own_scale():
    """Ratios to the host's own history carry over to hosts beyond anything seen in training."""
    ours = small()
    ours.fit(with_history(loads(400)))
    slow = loads(200, seed=5).with_columns(pl.col("outcome") * 10)
    judge = with_history(slow).tail(100)
    middle = ours.predict(judge).quantiles.at(0.9)
    assert np.median(middle / judge["outcome"].to_numpy()) > 0.3


def test_bytes_and_bandwidth_are_the_first_guess_of_a_host_without_history():
    """Twice the bytes on the same disk take about twice as long, before any load was seen."""
    random = np.random.default_rng(0)
    size = random.uniform(1e9, 60e9, 300)
    rows = pl.DataFrame(
        {
            "at": [START + timedelta(minutes=n) for n in range(300)],
            "instance": [f"host-{n}" for n in range(300)],
            "weight_bytes": size,
            "bandwidth_bytes_per_second": np.full(300, 2e9),
            "outcome": size / 2e9 * random.lognormal(0, 0.05, 300),
        }
    )
    ours = small()
    ours.fit(with_history(rows))
    asked = pl.DataFrame({"weight_bytes": [200e9, 400e9], "bandwidth_bytes_per_second": [2e9, 2e9]})
    first, second = ours.predict(asked).quantiles.at(0.5)
    assert second / first > 1.4
    assert 50 < first < 200


def test_starts_that_never_became_ready_are_no_durations():
    """They are left out and said; with nothing else there is nothing to learn."""
    rows = with_history(loads(60)).with_columns(
        pl.Series("is_censored", [True] * 10 + [False] * 50)
    )
    ours = small()
    report = ours.fit(rows)
    assert report.rows == 50
    assert "10 starts" in report.notes[0]
    with pytest.raises(PredictorError, match="became ready"):
        small().fit(rows.with_columns(is_censored=pl.lit(value=True)))


def test_a_model_of_another_feature_list_is_refused(tmp_path):
    """A folder of another predictor is not loaded as this one."""
    rival = PreviousLoad()
    rival.fit(with_history(loads(40)))
    rival.save(tmp_path)
    with pytest.raises(PredictorError, match="cold-start-previous"):
        ColdStart.load(tmp_path)
    fewer = replace(SPEC, name="cold-start-previous", features=SPEC.features[:-1])
    with pytest.raises(PredictorError, match="other features"):
        artifact.read(tmp_path, fewer)


def test_history_never_looks_ahead():
    """What comes after a load, or at the same instant, changes nothing of what was known then."""
    rows = loads(120).with_columns(at=pl.col("at").dt.truncate("5m"))
    cut = rows["at"][80]
    early = rows.filter(pl.col("at") <= cut)
    wild = pl.when(pl.col("at") >= cut).then(9999.0).otherwise(pl.col("outcome"))
    known = [name for name in with_history(early).columns if name != "outcome"]
    plain = with_history(early).select(known)
    changed = with_history(rows.with_columns(outcome=wild)).head(early.height).select(known)
    assert plain.equals(changed, null_equal=True)


def test_loads_that_had_to_load_the_same_parts_have_a_history_of_their_own():
    """With adapters it took 9 s, without 3 s: each is told the last of its own kind."""
    rows = with_history(loads(12, hosts=1)).with_columns(
        pl.Series("loads_adapters", [0.0, 1.0] * 5 + [1.0, None]),
        loads_weights=pl.lit(1.0),
        loads_controls=pl.lit(0.0),
        outcome=pl.Series([3.0, 9.0] * 6),
    )
    made = with_alike(rows)
    last = np.exp(made["alike_last_log"].to_numpy())
    assert last[2:11].tolist() == pytest.approx([3, 9] * 4 + [9])
    assert np.isnan(last[:2]).all()
    assert made["alike_last_log"][11] is None
    with pytest.raises(PredictorError, match="loads_adapters"):
        with_alike(rows.drop("loads_adapters"))


def test_loads_of_others_count_only_once_they_have_ended():
    """A load of five minutes that began a minute ago has told nobody how long it takes."""
    rows = pl.DataFrame(
        {
            "at": [START, START + timedelta(minutes=1), START + timedelta(minutes=6)],
            "instance": ["a", "b", "c"],
            "outcome": [300.0, 1.0, 1.0],
        }
    )
    assert with_history(rows)["fleet_loads_8m"].to_list() == [0.0, 0.0, 2.0]
    assert with_history(rows, known_after_seconds=0.0)["fleet_loads_8m"].to_list() == [0, 1, 2]


def test_a_clock_that_jumps_breaks_nothing():
    """Loads a year apart, and one before all others, are described with finite or unknown."""
    rows = loads(50).with_columns(
        at=pl.when(pl.int_range(pl.len()) == 20)
        .then(pl.lit(START + timedelta(days=365)))
        .otherwise(pl.col("at"))
    )
    made = with_history(rows)
    assert made.height == 50
    assert made["at"].is_sorted()
    assert not made.select(pl.selectors.starts_with("own_").is_infinite().any()).to_numpy().any()


def test_loads_without_a_time_or_key_are_refused():
    """One line says which column is missing."""
    with pytest.raises(PredictorError, match="instance"):
        with_history(loads(3).drop("instance"))


def test_telemetry_newer_than_the_lag_is_not_looked_at():
    """Samples inside the load would tell its outcome."""
    rows = with_history(
        pl.DataFrame({"at": [START + timedelta(seconds=300)], "instance": ["a"], "outcome": [9.0]})
    )
    times = [START + timedelta(seconds=60 * n) for n in range(10)]
    samples = pl.DataFrame(
        {"at": times, "instance": ["a"] * 10, "value": [float(n) for n in range(10)]}
    )
    made = with_signals(rows, {"gpu_memory_bytes": samples}, lag_seconds=100)
    assert made["gpu_memory_bytes_last"][0] == 3.0
    assert made["gpu_memory_bytes_age_seconds"][0] == pytest.approx(120)
    other = with_signals(rows.with_columns(instance=pl.lit("b")), {"gpu_memory_bytes": samples}, 0)
    assert (
        other["gpu_memory_bytes_last"].is_nan().all() or other["gpu_memory_bytes_last"][0] is None
    )


def phase_rows():
    """Compile 60 s when cold and 4 s when cached; weights as fast as bytes and disk allow."""
    rows = []
    for number in range(20):
        is_cached = number % 2 == 0
        rows.append(("compile", 4.0 if is_cached else 60.0, "m", "h", is_cached, None, None))
        size = 1e9 * (1 + number)
        rows.append(("weights", size / 1e9 * 1.1, "m", "h", None, size, 1e9))
    names = [
        "phase", "outcome", "model", "instance", "is_cached", "weight_bytes",
        "bandwidth_bytes_per_second",
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=names, orient="row")


def test_phases_add_up_to_a_total_with_two_humps():
    """Unknown compile cache: both outcomes are in the total; known: only one."""
    start = PhasedStart()
    start.fit(phase_rows())
    asked = pl.DataFrame(
        {
            "model": ["m"] * 3,
            "instance": ["h"] * 3,
            "weight_bytes": [10e9] * 3,
            "bandwidth_bytes_per_second": [1e9] * 3,
            "is_cached_compile": [None, True, False],
        }
    )
    total = start.predict(asked)["total"]
    assert total.at(0.1) == pytest.approx([15, 15, 71], abs=0.5)
    assert total.at(0.9) == pytest.approx([71, 15, 71], abs=0.5)


def test_weights_follow_bytes_bandwidth_and_loads_at_the_same_time():
    """Bytes / bandwidth, times the loads that share it, times the ratio that was measured."""
    start = PhasedStart()
    start.fit(phase_rows())
    asked = pl.DataFrame(
        {
            "weight_bytes": [100e9, 100e9],
            "bandwidth_bytes_per_second": [2e9, 2e9],
            "concurrent_loads": [0.0, 1.0],
        }
    )
    assert start.predict(asked)["weights"].at(0.5) == pytest.approx([55, 110])


def test_a_new_model_on_a_new_host_is_answered_from_everybody():
    """No history of its own, no bytes: the phases of all models."""
    start = PhasedStart()
    start.fit(phase_rows())
    made = start.predict(pl.DataFrame({"model": ["new"], "instance": ["new"]}))
    assert made["total"].at(0.5)[0] > 0
    with pytest.raises(PredictorError, match="no start"):
        PhasedStart().predict(pl.DataFrame({"model": ["m"]}))
    with pytest.raises(PredictorError, match="no phase"):
        PhasedStart().fit(phase_rows().head(0))


def test_bandwidth_is_measured_by_tier_and_host():
    """Two loads at the same time had half the disk each."""
    seen = pl.DataFrame(
        {
            "tier": ["disk", "disk", "cache"],
            "instance": ["h", "h", "h"],
            "weight_bytes": [10e9, 10e9, 10e9],
            "outcome": [10.0, 20.0, 1.0],
            "concurrent_loads": [0.0, 1.0, 0.0],
        }
    )
    found = dict(bandwidth(seen).select("tier", "bandwidth_bytes_per_second").iter_rows())
    assert found == {"cache": 10e9, "disk": 1e9}


def test_ready_is_told_from_warm():
    """The first slow answers belong to the warming, and what they waited is its cost."""
    ttft = [3.0, 2.0, 0.5, 0.2, 0.2, 0.21, 0.2, 0.2, 0.2]
    found = warmth([float(n) for n in range(9)], ttft, steady_seconds=0.2)
    assert found.requests == 3
    assert found.warm_seconds == 3.0
    assert found.excess_seconds == pytest.approx(2.8 + 1.8 + 0.3)
    assert not found.is_censored


def test_a_replica_that_is_fast_at_once_was_warm_when_ready():
    """No excess, no delay."""
    found = warmth([0.1 * n for n in range(6)], [0.2] * 6, steady_seconds=0.2)
    assert (found.warm_seconds, found.requests, found.excess_seconds) == (0.0, 0, 0.0)


def test_too_few_answers_say_nothing_about_being_warm():
    """The real time is longer than what was watched: censored, not zero."""
    found = warmth([0.0, 1.0], [3.0, 2.0], steady_seconds=0.2)
    assert found.warm_seconds is None
    assert found.is_censored
    with pytest.raises(ValueError, match="above 0"):
        warmth([], [], steady_seconds=0.0)
