"""Rows of the store as a policy sees them: zero, missing, stale and partial are told apart."""

import json
import math
from datetime import timedelta

import polars as pl
import pytest

from controller import observation as seen
from controller.actuators.base import Scale
from controller.observation import Grade, Objective
from controller.observe import StoreEyes
from controller.pools import Pool, fleets_of
from controller.profile import FitError, Profile, StepTimes
from controller.settings import ControllerSettings
from store import targets

SCRAPE = 5.0


class Engines:
    """Engines whose samples a test writes, and eyes on them."""

    def __init__(self, database, clock, count=4, **pool):
        table = {"name": "a", "match": {"model": "m"}, **pool}
        self.settings = ControllerSettings(pool=(table,))
        made = Pool(self.settings.pools()[0], Objective(2.0, 0.1, 0.99), None)
        (self.fleet,) = fleets_of([made], {"a": None}, self.settings)
        self.database, self.clock = database, clock
        self.eyes = StoreEyes(database.reader, clock, 15.0, 5.0, SCRAPE)
        found = {
            f"http://gpu-{n}:8000/metrics": targets.Noted(clock.now(), "vllm", "m")
            for n in range(count)
        }
        self.ids = list(targets.note(database.writer, found).result().values())
        self.counters = {}

    def told(self, values, shift=0.0, ids=None):
        """One scrape: values of signals, for each engine; counters by what they grow."""
        at = self.clock.now().replace(tzinfo=None) + timedelta(seconds=shift)
        rows = []
        for target in self.ids if ids is None else ids:
            for signal, value in values.items():
                kind = "counter" if signal.endswith("_total") else "gauge"
                if kind == "counter":
                    key = (target, signal)
                    value = self.counters[key] = self.counters.get(key, 0.0) + value
                rows.append((target, signal, kind, "requests", "{}", at, float(value)))
        names = ("target_id", "signal", "kind", "unit", "labels", "sampled_at", "value")
        frame = pl.DataFrame(rows, schema=names, orient="row")
        self.database.writer.append("sample", frame).result()

    def scraped(self, values, times=8, **more):
        """Several scrapes, the clock moving on before each."""
        for _ in range(times):
            self.clock.advance(SCRAPE)
            self.told(values, **more)

    def requests(self, count, seconds_ago=8.0, e2e=2.0, **more):
        arrived = self.clock.now().replace(tzinfo=None) - timedelta(seconds=seconds_ago + e2e)
        frame = pl.DataFrame(
            {
                "source_id": [1] * count, "request_id": [f"{arrived}-{n}" for n in range(count)],
                "arrived_at": [arrived] * count, "status": ["ok"] * count, "model": ["m"] * count,
                "input_tokens": [100] * count, "output_tokens": [20] * count,
                "ttft_seconds": [0.5] * count, "tpot_seconds": [0.05] * count,
                "e2e_seconds": [e2e] * count, **more,
            }
        )  # fmt: skip
        self.database.writer.append("request", frame).result()

    def look(self, ready=4, wanted=None):
        scale = Scale("a", ready if wanted is None else wanted, ready)
        found = self.eyes.observe(self.fleet, {"a": scale})
        return found.observation.pools[0], found.notes


@pytest.fixture
def engines(database, clock):
    def make(**more):
        return Engines(database, clock, **more)

    return make


BUSY = {
    "requests_running": 3, "requests_waiting": 1, "kv_cache_usage_ratio": 0.5,
    "requests_finished_total": 10, "generation_tokens_total": 500, "prompt_tokens_total": 1000,
}  # fmt: skip


def test_all_engines_answer(engines):
    """Sums over replicas; rates from counters; fresh, and of every one."""
    e = engines()
    e.scraped(BUSY)
    pool, notes = e.look()
    assert pool.reading(seen.REQUESTS_RUNNING) == seen.Reading(12.0, Grade.FRESH, 0.0, 1.0)
    assert pool.reading(seen.REQUESTS_WAITING).value == 4
    assert pool.reading(seen.KV_CACHE_USAGE_RATIO).value == 0.5
    assert pool.reading(seen.REQUESTS_PER_SECOND).value == pytest.approx(4 * 10 / SCRAPE)
    assert pool.reading(seen.OUTPUT_TOKENS_PER_SECOND).value == pytest.approx(400)
    assert (pool.ready, pool.target, len(pool.replicas)) == (4, 4, 4)
    assert pool.replicas[0].state == "ready"
    assert notes == ()


def test_zero_is_fresh(engines):
    """An idle fleet is known to be idle."""
    e = engines()
    e.scraped(dict.fromkeys(BUSY, 0))
    pool, notes = e.look()
    for name in (seen.REQUESTS_RUNNING, seen.REQUESTS_PER_SECOND):
        assert pool.reading(name) == seen.Reading(0.0, Grade.FRESH, 0.0, 1.0)
    assert notes == ()


def test_nothing_is_missing(engines):
    """Before the first scrape nothing is known, and no number stands in."""
    pool, _ = engines().look()
    assert pool.reading(seen.REQUESTS_RUNNING).grade is Grade.MISSING
    assert pool.reading(seen.REQUESTS_RUNNING).value is None


def test_some_is_partial(engines):
    """The value is of those that told it; the share says how many."""
    e = engines()
    e.scraped(BUSY, ids=e.ids[:3])
    pool, notes = e.look()
    assert pool.reading(seen.REQUESTS_RUNNING) == seen.Reading(9.0, Grade.PARTIAL, 0.0, 0.75)
    assert notes == ("a: 1 of 4 replicas told nothing that counts",)


def test_replicas_that_start_are_not_missed(engines):
    """Those that the platform does not call ready need not tell anything."""
    e = engines()
    e.scraped(BUSY, ids=e.ids[:3])
    pool, _ = e.look(ready=3, wanted=4)
    assert pool.reading(seen.REQUESTS_RUNNING).grade is Grade.FRESH
    assert (pool.ready, pool.starting) == (3, 1)


def test_what_was_known_gets_old(engines):
    """The last value stays, stale, with its age."""
    e = engines()
    e.scraped(BUSY)
    e.look()
    e.clock.advance(40)
    pool, _ = e.look()
    reading = pool.reading(seen.REQUESTS_RUNNING)
    assert (reading.value, reading.grade, reading.age_seconds) == (12.0, Grade.STALE, 40.0)
    e.clock.advance(600)
    pool, _ = e.look()
    assert pool.reading(seen.REQUESTS_RUNNING).age_seconds == 640


def test_numbers_that_stand_still_are_stale(engines):
    """Requests run, and not one counter or gauge has moved."""
    e = engines()
    e.scraped(BUSY)
    e.scraped({name: 3 if name == "requests_running" else 0 for name in BUSY}, times=3)
    pool, notes = e.look()
    assert pool.reading(seen.REQUESTS_RUNNING).grade in (Grade.STALE, Grade.MISSING)
    assert pool.reading(seen.REQUESTS_PER_SECOND).fresh is None
    assert "the same numbers for" in notes[0]


@pytest.mark.parametrize(("shift", "text"), [(600, "its clock is 6"), (-600, "told nothing")])
def test_a_clock_that_goes_wrong_is_found(engines, shift, text):
    """Points from the future are of no use; points from long ago are old."""
    e = engines()
    e.scraped(BUSY, shift=shift)
    pool, notes = e.look()
    assert pool.reading(seen.REQUESTS_RUNNING).value is None
    assert any(text in note for note in notes)


def test_no_number_is_no_value(engines):
    """NaN and infinity are missing."""
    e = engines()
    e.scraped({**BUSY, "requests_running": math.nan, "requests_finished_total": math.inf})
    pool, _ = e.look()
    assert pool.reading(seen.REQUESTS_RUNNING).value is None
    assert pool.reading(seen.REQUESTS_PER_SECOND).value is None


def test_zero_with_live_traffic_is_not_believed(engines):
    """Rows of requests say that the pool works."""
    e = engines()
    e.scraped(dict.fromkeys(BUSY, 0))
    e.requests(30)
    pool, notes = e.look()
    assert pool.reading(seen.REQUESTS_RUNNING).grade is Grade.STALE
    assert pool.reading(seen.REQUESTS_PER_SECOND).grade is Grade.STALE
    assert "replicas tell of no traffic, but 30 requests just ended" in notes[0]


def test_rows_tell_what_engines_do_not(engines):
    """Rates of ended requests, corrected by those that more are inside; sizes and latencies."""
    e = engines()
    e.scraped({"requests_running": 3, "engine_steps_total": 5})
    e.requests(30)
    pool, _ = e.look()
    rate = pool.reading(seen.REQUESTS_PER_SECOND)
    assert (rate.value, rate.grade) == (pytest.approx(2.0), Grade.FRESH)
    assert pool.reading(seen.INPUT_TOKENS).value == 100
    assert pool.reading(seen.OUTPUT_TOKENS).value == 20
    assert pool.reading(seen.TTFT_P95_SECONDS).value == pytest.approx(0.5)
    assert pool.reading(seen.ATTAINMENT_RATIO).value == 1.0


def test_requests_that_more_are_inside_have_come(engines):
    """Ten a second end, and one more a second is inside than before."""
    e = engines(count=1)
    for step in range(8):
        e.clock.advance(SCRAPE)
        e.told({**BUSY, "requests_running": 5 * step, "requests_finished_total": 50})
    pool, _ = e.look(ready=1)
    assert pool.reading(seen.REQUESTS_PER_SECOND).value == pytest.approx(11.0)


def test_a_restarted_engine_counts_from_zero(engines):
    """What it counted before that is not known; the others count on."""
    e = engines(count=2)
    e.scraped(BUSY, times=5)
    e.counters = {key: value for key, value in e.counters.items() if key[0] != e.ids[0]}
    e.scraped(BUSY, times=1)
    pool, notes = e.look(ready=2)
    reading = pool.reading(seen.REQUESTS_PER_SECOND)
    assert (reading.value, reading.grade) == (pytest.approx(2.0), Grade.PARTIAL)
    assert "its counters began again from zero" in notes[0]
    e.scraped(BUSY, times=4)
    assert e.look(ready=2)[0].reading(seen.REQUESTS_PER_SECOND).grade is Grade.FRESH


def test_forecasts_and_starts_are_handed_on(engines):
    """What the predictors said last, with its age."""
    e = engines()
    e.scraped(BUSY)
    made = e.clock.now().replace(tzinfo=None) - timedelta(seconds=100)
    rows = [
        {"quantity": "requests_per_second", "key": ["m", "(all)"], "horizon_seconds": 600.0},
        {"quantity": "requests_per_second", "key": ["other", "(all)"], "horizon_seconds": 600.0},
        {"quantity": "load_seconds", "key": ["m", "m@n1"], "horizon_seconds": 0.0},
    ]
    said = {
        "source_id": 1, "made_at": made, "levels": [0.1, 0.5, 0.9], "predicted": [5.0, 7.0, 9.0],
        "rival": [5.0, 7.0, 9.0], "model_id": "x", "rival_id": "x", "calibration": "calibrated",
        "was_fallback": False,
    }  # fmt: skip
    frame = pl.DataFrame([{**said, **row} for row in rows])
    e.database.writer.append("forecast", frame).result()
    pool, _ = e.look()
    (forecast,) = pool.forecasts
    assert (forecast.horizon_seconds, forecast.values, forecast.age_seconds) == (
        600.0, (5.0, 7.0, 9.0), 100.0,
    )  # fmt: skip
    assert pool.startup.seconds == (5.0, 7.0, 9.0)


def test_a_pool_is_found_by_any_label(engines):
    """Models, instances, and what discovery knows."""
    e = engines(match={"zone": "eu-*"})
    e.scraped(BUSY)
    assert e.look()[0].replicas == ()
    targets.register(
        e.database.writer, "http://gpu-0:8000/metrics", e.clock.now(), {"zone": "eu-1"}
    ).result()
    assert [one.name for one in e.look()[0].replicas] == ["gpu-0:8000"]


def test_an_observation_comes_back_from_its_record(engines):
    """Without a loss."""
    from controller.codec import Given, given_bytes, given_of
    from controller.guards import FleetRules, PoolRules, Standing

    e = engines()
    e.scraped(BUSY)
    found = e.eyes.observe(e.fleet, {"a": Scale("a", 4, 4)}).observation
    standing = Standing({"a": 5.0}, {"a": None}, {"a": 3}, frozenset({"a"}), {"a": "x"}, 3, 1.5)
    profile = Profile(
        "p", StepTimes(0.01, 1e-4), price_per_hour=2.5, notes=("assumed",),
        error=FitError(0.05, 0.2, 100, "here", attainment_points=-1.0),
    )  # fmt: skip
    found = type(found)(
        found.at,
        tuple(type(one)(**{**{f: getattr(one, f) for f in one.__slots__}, "profile": profile})
              for one in found.pools),
        found.objective,
    )  # fmt: skip
    given = Given(found, FleetRules({"a": PoolRules()}, 10, 3.5), standing)
    text = given_bytes(given)
    assert given_of(text) == given
    assert given_bytes(given_of(text)) == text
    assert json.loads(text)["observation"]["pools"][0]["name"] == "a"


def test_a_policy_that_remembers_nothing_is_told_what_was_before(engines):
    """Rates by window from the first request on; once."""
    e = engines()
    e.scraped(BUSY)
    e.requests(30, seconds_ago=67.0)
    e.requests(60, seconds_ago=21.0)
    scales = {"a": Scale("a", 4, 4)}
    found = e.eyes.observe(e.fleet, scales, is_first=True).observation.pools[0]
    assert found.history == (2.0, 0.0, 0.0, 4.0, 0.0)
    assert e.eyes.observe(e.fleet, scales).observation.pools[0].history == ()


def test_answers_that_nobody_timed_are_neither_good_nor_missed(engines):
    """Rows without a time to first token leave the attainment unknown, or to the others."""
    e = engines()
    e.scraped(BUSY)
    e.requests(10, ttft_seconds=pl.Series([None] * 10, dtype=pl.Float64))
    assert e.look()[0].reading(seen.ATTAINMENT_RATIO).value is None
    e.requests(3, seconds_ago=7.0)
    assert e.look()[0].reading(seen.ATTAINMENT_RATIO).value == 1.0
