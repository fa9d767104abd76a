"""A candidate beside the policy that decides: hours, cost, and what a model expects of each."""

from dataclasses import replace
from datetime import datetime, timedelta

import polars as pl
import pytest

from controller.beside import Price, compared, sentence
from controller.cases import LLAMA_70B
from controller.observation import Limits, Objective, PoolView
from controller.startup import StartupTimes

AT = datetime(2026, 1, 31, 12)
PRICED = replace(LLAMA_70B, price_per_hour=40.0)
POOL = PoolView("a", 4, 4, 0, 0, Limits(1, 20), profile=PRICED, startup=StartupTimes.about(60))
BOUNDS = Objective()


def course(live, shadow, rates=8.0, pool="a", seconds=15.0, there=4, at=None):
    count = len(live)
    times = at or [AT + timedelta(seconds=seconds * number) for number in range(count)]
    rates = [rates] * count if isinstance(rates, float | None) else rates
    return pl.DataFrame(
        {
            "at": times,
            "pool": [pool] * count,
            "step_id": list(range(count)),
            "shadow_replicas": shadow,
            "live_replicas": live,
            "there_replicas": [there] * count,
            "requests_per_second": rates,
            "input_tokens": [1000.0] * count,
            "output_tokens": [200.0] * count,
        },
        schema_overrides={"requests_per_second": pl.Float64, "at": pl.Datetime("us")},
    )


def test_hours_cost_and_differences_of_both():
    """An hour of four and of three: what each took, and where they were farthest apart."""
    shadow = [3] * 240
    shadow[100] = 1
    told = compared(course([4] * 240, shadow), {"a": POOL}, BOUNDS)
    assert told["seconds"] == 3600.0
    assert told["live"]["replica_hours"] == pytest.approx(4.0)
    assert told["shadow"]["replica_hours"] == pytest.approx(3.0 - 2 * 15 / 3600)
    assert told["live"]["gpu_hours"] == pytest.approx(16.0)
    assert told["live"]["cost"] == pytest.approx(160.0)
    assert told["differing_ratio"] == 1.0
    assert told["largest_difference_replicas"] == -3
    assert told["largest_difference_at"] == AT + timedelta(seconds=1500)
    assert len(told["course"]) == 240
    other = compared(course([4] * 240, shadow), {"a": POOL}, BOUNDS, {"a": Price(2, None)})
    assert other["live"]["gpu_hours"] == pytest.approx(8.0)
    assert other["live"]["cost"] is None


def test_a_fleet_that_is_too_small_is_expected_to_miss():
    """The model is the same for both sides, so a difference is one of replicas."""
    told = compared(course([8] * 240, [2] * 240, 16.0), {"a": POOL}, BOUNDS)
    assert told["live"]["predicted_attainment_ratio"] > 0.99
    assert told["shadow"]["predicted_attainment_ratio"] < 0.5
    text = sentence(told, "risk", "static(replicas=2)")
    assert text.startswith("Over 60 min static(replicas=2) would have had 2 replica-hours (-75%)")
    assert "Expected inside the objective, by a model" in text


def test_replicas_that_come_too_late_are_expected_to_miss():
    """A start takes its time in the model as well."""
    rates = [2.0] * 40 + [16.0] * 20
    late, early = [2] * 44 + [8] * 16, [2] * 34 + [8] * 26
    told = compared(course(late, early, rates), {"a": POOL}, BOUNDS)
    live, shadow = (told[side]["predicted_attainment_ratio"] for side in ("live", "shadow"))
    assert shadow > live


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"profile": None}, "the pool has no profile"),
        ({"startup": None}, "how long a start takes is not known"),
    ],
)
def test_what_is_not_known_is_none_and_says_why(change, why):
    """Never a number in its place."""
    told = compared(course([4] * 9, [3] * 9), {"a": replace(POOL, **change)}, BOUNDS)
    assert told["live"]["predicted_attainment_ratio"] is None
    assert told["pools"][0]["why"] == why
    assert "model" not in sentence(told, "risk", "static")


def test_holes_in_the_rates():
    """A few are filled; where nobody told the rate for long nothing is expected."""
    rates = [8.0] * 100
    rates[5] = None
    told = compared(course([4] * 100, [4] * 100, rates), {"a": POOL}, BOUNDS)
    assert told["live"]["predicted_attainment_ratio"] > 0.99
    rates[:30] = [None] * 30
    told = compared(course([4] * 100, [4] * 100, rates), {"a": POOL}, BOUNDS)
    assert told["pools"][0]["why"] == "the rate of requests is unknown for 30% of the time"
    told = compared(course([4] * 9, [4] * 9, 0.0), {"a": POOL}, BOUNDS)
    assert told["pools"][0]["why"] == "how large requests are is not known"
    no_bounds = replace(BOUNDS, ttft_seconds=None, tpot_seconds=None)
    told = compared(course([4] * 9, [4] * 9), {"a": POOL}, no_bounds)
    assert told["pools"][0]["why"] == "the objective has no bound on latencies"


def test_time_in_which_nobody_watched_counts_for_neither():
    """A server that was away for a day had no replicas to compare."""
    times = [AT + timedelta(seconds=15 * n + (86400 if n >= 5 else 0)) for n in range(10)]
    told = compared(course([4] * 10, [2] * 10, at=times), {"a": POOL}, BOUNDS)
    assert told["seconds"] == 150.0
    assert told["live"]["replica_hours"] == pytest.approx(4 * 150 / 3600)


def test_one_step_is_compared_too():
    """Without a length there are no hours, and no division by it."""
    told = compared(course([4], [2]), {"a": POOL}, BOUNDS)
    assert (told["seconds"], told["live"]["replica_hours"]) == (0.0, 0.0)
    assert told["pools"][0]["why"] == "it was watched for one step alone"
    assert sentence(told, "a", "b")


def test_of_several_pools_that_share_requests_no_attainment_is_told():
    """How they share depends on the replicas; hours are summed."""
    rows = pl.concat([course([4] * 9, [2] * 9), course([1] * 9, [3] * 9, pool="b")])
    told = compared(rows, {"a": POOL, "b": replace(POOL, name="b")}, BOUNDS)
    assert told["pools"][0]["why"].startswith("how requests are shared")
    assert told["live"]["replica_hours"] == pytest.approx(5 * 135 / 3600)
    split = {"a": replace(POOL, role="prefill"), "b": replace(POOL, name="b", role="decode")}
    told = compared(rows, split, BOUNDS)
    assert [pool["why"] for pool in told["pools"]] == ["", ""]


def test_a_long_course_is_drawn_by_its_parts():
    """At most so many points, whatever was watched."""
    told = compared(course([4] * 2000, [3] * 2000), {"a": POOL}, BOUNDS)
    assert 200 < len(told["course"]) <= 301
