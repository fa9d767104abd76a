"""Calibration: rows of a known engine give that engine back; what cannot be fitted is said."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from controller.calibration.calibrate import Wish, calibrate
from controller.calibration.fit import FitSettings
from controller.calibration.judge import judge
from controller.calibration.limits import limits_of
from controller.calibration.placing import placed, unequal
from controller.calibration.recorded import Times, recorded
from controller.calibration.simulated import simulate
from controller.calibration.start import NAMES, company, first_guess
from controller.observation import Objective
from controller.profile import FitError, Profile, StepTimes
from store.errors import ControllerError

START = datetime(2026, 1, 1)
TRUE = Profile(
    "true",
    StepTimes(0.004, 0.0008, 6e-7, 0.0025, 2e-5, 1e-7, 0.001),
    request_seconds=0.003,
    token_budget=2048,
    sequences=8,
    cache_tokens=100_000,
)
QUICK = FitSettings(look_rounds=2, rounds=6, polish=20)


def arrivals(n=400, rate=2.0, seed=0, instances=2):
    random = np.random.default_rng(seed)
    at = np.cumsum(random.exponential(1 / rate, n))
    return pl.DataFrame(
        {
            "arrived_at": [START + timedelta(seconds=float(one)) for one in at],
            "status": ["ok"] * n,
            "input_tokens": np.clip(random.lognormal(5, 0.8, n), 1, 1500).astype(int),
            "output_tokens": np.clip(random.lognormal(3.2, 0.8, n), 1, 300).astype(int),
            "instance": [f"h:{k}" for k in random.integers(0, instances, n)],
            "ttft_seconds": [1.0] * n,
            "e2e_seconds": [2.0] * n,
        }
    )


def measured(rows, profile=TRUE, noise=0.03, seed=1):
    times = simulate(recorded(rows), profile)
    random = np.random.default_rng(seed)
    ttft = times.ttft * random.lognormal(0, noise, rows.height)
    return rows.with_columns(
        ttft_seconds=pl.Series(ttft), e2e_seconds=pl.Series(ttft + (times.e2e - times.ttft))
    )


@pytest.fixture(scope="module")
def rows():
    return measured(arrivals())


@pytest.fixture(scope="module")
def told(rows):
    given = {"sequences": 8, "cache_tokens": 100_000, "token_budget": 2048, "is_chunked": True}
    wish = Wish("mine", "a test", given=given, settings=QUICK)
    return calibrate(recorded(rows), wish)


def test_a_known_engine_is_found_again(told):
    """To the noise of its measurements, on rows that were not fitted to, far before any rule."""
    error = told.profile.error
    assert error.median_ratio < 0.05
    assert error.is_validated
    assert told.profile.name == "mine"
    assert error.rival_median_ratio > 2 * error.median_ratio
    assert abs(error.attainment_points) < 5
    assert told.rows_fitted + told.rows_judged == 400


def test_the_same_rows_give_the_same_profile(rows, told):
    """No dice."""
    given = {"sequences": 8, "cache_tokens": 100_000, "token_budget": 2048, "is_chunked": True}
    again = calibrate(recorded(rows), Wish("mine", "a test", given=given, settings=QUICK))
    assert again.profile == told.profile


def test_the_first_guess_is_near(rows):
    """Without a simulation: a step of one sequence, and of 1,000 prompt tokens, within a third."""
    values = dict(zip(NAMES, first_guess(recorded(rows)), strict=True))
    request = values.pop("request_seconds")
    step = StepTimes(**values)
    assert step.seconds(0, 1, 500) == pytest.approx(TRUE.step.seconds(0, 1, 500), rel=0.33)
    prompt = TRUE.step.seconds(1000, 0, 0) + TRUE.request_seconds
    assert step.seconds(1000, 0, 0) + request == pytest.approx(prompt, rel=0.33)
    assert all(value >= 0 for value in values.values())


def test_company_is_who_decodes_at_the_same_time():
    """Two requests that overlap by half; a third alone."""
    rows = pl.DataFrame(
        {
            "arrived_at": [START + timedelta(seconds=s) for s in (0, 1, 100)],
            "input_tokens": [10, 20, 30],
            "output_tokens": [11, 11, 11],
            "ttft_seconds": [1.0, 1.0, 1.0],
            "e2e_seconds": [3.0, 3.0, 3.0],
        }
    )
    met = company(recorded(rows, least=1))
    assert met.sequences.tolist() == pytest.approx([1.5, 1.5, 1.0])
    assert met.prompts.tolist() == [20.0, 0.0, 0.0]
    assert met.is_alone.tolist() == [True, False, True]


def test_requests_go_where_they_went(rows):
    """Known instances: the same work on one of them alone takes longer than on both."""
    apart = simulate(recorded(rows), TRUE)
    one = simulate(recorded(rows.with_columns(instance=pl.lit("h:0"))), TRUE)
    assert np.median(one.e2e) > np.median(apart.e2e)
    unknown = recorded(rows.drop("instance"))
    assert not unknown.is_placed
    assert np.isfinite(simulate(unknown, TRUE, replicas=2).e2e).all()


def test_a_profile_keeps_its_verdict(told, tmp_path):
    """Written and read."""
    path = tmp_path / "profile.json"
    told.profile.save(path)
    assert Profile.load(path) == told.profile


def test_beyond_its_bound_it_is_not_validated():
    """Of the median, and of the attainment."""
    error = FitError(0.08, 0.3, 100, "here", attainment_points=-2.0)
    assert error.is_validated
    assert error.sentence().startswith("validated")
    assert not replace(error, median_ratio=0.11).is_validated
    assert not replace(error, attainment_points=-5.5).is_validated
    assert replace(error, median_ratio=0.11).sentence().startswith("not validated")


def test_what_never_ended_counts_as_wrong():
    """A request that the simulator refuses is no excuse."""
    real = Times(np.ones(4), np.ones(4), np.ones(4))
    some = np.array([1.0, 1.0, np.nan, np.nan])
    judged = judge("simulator", Times(some, some, some), real, Objective(2.0, 2.0))
    assert judged.misses["e2e"].p99_ratio == np.inf
    assert judged.attainment == 0.5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows.head(20), "20 requests with sizes and times are too few"),
        (lambda rows: rows.drop("ttft_seconds"), "of 400 requests have the times"),
        (lambda rows: rows.drop("output_tokens"), "no output_tokens"),
        (lambda rows: rows.with_columns(status=pl.lit("failed")), "there is no request"),
    ],
)
def test_rows_that_say_too_little_are_refused(rows, change, said):
    """In one line, with what to do."""
    with pytest.raises(ControllerError, match=said) as failure:
        recorded(change(rows))
    assert failure.value.hint


def test_without_overlap_nothing_is_known_of_batches(rows):
    """A request an hour."""
    hourly = [START + timedelta(hours=k) for k in range(rows.height)]
    lonely = recorded(rows.with_columns(arrived_at=pl.Series(hourly)))
    with pytest.raises(ControllerError, match="ever overlapped"):
        calibrate(lonely, Wish("x", "y"))


def test_a_part_that_is_too_small_is_refused(rows):
    """Rather than judged on a handful."""
    with pytest.raises(ControllerError, match="no part to fit to"):
        calibrate(recorded(rows), Wish("x", "y", fit_ratio=0.95))
    with pytest.raises(ControllerError, match="to judge on are too few"):
        calibrate(recorded(rows.head(120)), Wish("x", "y", fit_ratio=0.85))


def test_an_idle_stretch_leaves_enough_on_both_sides(rows):
    """One request a year before the others: they are split in their order, and judged as before."""
    hourly = [START + timedelta(hours=k) for k in range(rows.height)]
    lonely = rows.with_columns(arrived_at=pl.Series([START - timedelta(days=365), *hourly[1:]]))
    with pytest.raises(ControllerError, match="ever overlapped"):
        calibrate(recorded(lonely), Wish("x", "y"))


def test_a_missing_latency_follows_from_the_others():
    """Two of three are enough."""
    rows = arrivals(10).with_columns(tpot_seconds=pl.lit(0.1)).drop("e2e_seconds")
    found = recorded(rows, least=1)
    assert found.times.e2e == pytest.approx(1.0 + 0.1 * (found.workload.output - 1))


def gauges(running, waiting, **more):
    n = len(running)
    columns = {"requests_running": running, "requests_waiting": waiting, **more}
    return pl.DataFrame({"url": ["u"] * n, **columns})


def test_limits_are_told_shown_given_or_assumed(rows):
    """In this order of trust: what somebody said, the engine, its gauges, nothing."""
    here = recorded(rows)
    shown = gauges([8.0] * 9 + [3.0], [1.0] * 10)
    limits = limits_of(shown, here, {})
    assert (limits.sequences, limits.origins["sequences"]) == (8, "shown")
    assert limits.origins["cache_tokens"] == "assumed"
    told = gauges([8.0], [0.0], requests_running_max=[64.0], kv_cache_capacity_tokens=[5e4])
    limits = limits_of(told, here, {})
    assert (limits.sequences, limits.cache_tokens) == (64, 50_000)
    assert limits.origins["sequences"] == limits.origins["cache_tokens"] == "told"
    limits = limits_of(told, here, {"sequences": 3, "is_chunked": False})
    assert (limits.sequences, limits.is_chunked, limits.origins["sequences"]) == (3, False, "given")


def test_a_cache_holds_what_it_has_held(rows):
    """A limit below a recorded request is a wrong limit."""
    limits = limits_of(None, recorded(rows), {"cache_tokens": 1})
    assert limits.cache_tokens >= int(rows["input_tokens"].max())


def test_rows_without_an_instance_are_left_out_if_few(rows):
    """Many: the router stands in for all of them, with as many replicas as are known of."""
    some = rows.with_row_index().with_columns(
        instance=pl.when(pl.col("index") % 50 == 0).then(None).otherwise(pl.col("instance"))
    )
    found = placed(recorded(some), None, None)
    assert found.recorded.is_placed
    assert len(found.recorded) == 392
    assert "8 requests name no instance" in found.notes[0]
    most = some.with_columns(
        instance=pl.when(pl.col("index") % 3 == 0).then(pl.col("instance")).otherwise(None)
    )
    found = placed(recorded(most), None, None)
    assert (found.recorded.is_placed, found.replicas) == (False, 2)
    assert "2 replicas behind a router" in found.notes[0]
    assert placed(recorded(rows.drop("instance")), None, gauges([1.0], [0.0])).replicas == 1
    assert placed(recorded(most), 5, None).replicas == 5


def test_the_busiest_of_many_instances_are_looked_at(rows):
    """Each is a replica of the same kind."""
    many = rows.with_row_index().with_columns(
        instance=pl.format("h:{}", pl.min_horizontal(pl.col("index"), pl.lit(90)))
    )
    found = placed(recorded(many), None, None)
    assert len(found.recorded.instances) == 64
    assert "64 busiest of 91" in found.notes[0]
    assert "h:90" in found.recorded.instances
    assert set(found.recorded.replica.tolist()) == set(range(64))


def test_a_slow_instance_is_named(rows):
    """One profile cannot stand for two kinds of replicas without saying so."""
    here = recorded(rows)
    simulated = simulate(here, TRUE)
    assert unequal(here, simulated) is None
    slow = replace(here.times, e2e=np.where(here.replica == 1, 1.5, 1.0) * here.times.e2e)
    assert "h:1 takes" in unequal(replace(here, times=slow), simulated)


def test_a_limit_shows_in_who_waits_before_it():
    """Eight slots under load are seen without a gauge; at a light load nothing shows them."""
    busy = measured(arrivals(rate=3.6, instances=1), noise=0.0)
    limits = limits_of(None, recorded(busy), {})
    assert (limits.sequences, limits.origins["sequences"]) == (8, "shown")
    light = measured(arrivals(rate=0.5, instances=1), noise=0.0)
    assert limits_of(None, recorded(light), {}).origins["sequences"] == "assumed"
    boundless = measured(arrivals(rate=3.6, instances=1), replace(TRUE, sequences=256), 0.0)
    assert limits_of(None, recorded(boundless), {}).origins["sequences"] == "assumed"


def test_quantiles_are_kept_as_measured_and_as_simulated(rows, told):
    """The measured ones are those of the judged rows, and survive JSON; p95 lies in the middle."""
    error = told.profile.error
    assert error.median_ratio <= error.p95_ratio <= error.p99_ratio
    kept = {(one.quantity, one.level): one for one in error.quantiles}
    assert {level for _, level in kept} == {0.5, 0.9, 0.95, 0.99}
    real = recorded(rows).times.e2e[-told.judged.misses["e2e"].rows :]
    assert kept["e2e", 0.95].measured_seconds == pytest.approx(np.quantile(real, 0.95))
    off = kept["e2e", 0.95].simulated_seconds / kept["e2e", 0.95].measured_seconds - 1
    assert off == pytest.approx(told.judged.misses["e2e"].quantile_ratio(0.95))
    assert f"95% within {error.p95_ratio:.1%}" in error.sentence()
