"""A whole comparison in worker processes, with policies that misbehave in every way."""

from __future__ import annotations

import sys
from threading import Event

import numpy as np
import pytest

from analysis import replay_frames
from controller.comparison.campaign import compare
from controller.comparison.chains import expected_runs
from controller.comparison.protocol import Case, Comparison, Segment, split
from controller.profile import Profile, StepTimes
from controller.simulator.workload import Workload
from store.errors import ControllerError

ODD = """
import os
import time
from dataclasses import dataclass

from controller.policy import PolicySpec, Proposal


@dataclass
class Odd:
    act: object
    name: str = "odd"

    @property
    def spec(self):
        return PolicySpec(self.name, self.name.title(), 15.0, "a test")

    def decide(self, observation, memory):
        print("a policy may print what it likes")
        return Proposal({"pool": self.act()}), memory


def _raise():
    raise ValueError("it is broken")


def _hang():
    time.sleep(3600)


raises = lambda: Odd(_raise)
hangs = lambda: Odd(_hang)
nan = lambda: Odd(lambda: float("nan"))
ends = lambda: Odd(lambda: os._exit(7))
fine = lambda: Odd(lambda: 2, "fine")
"""
PROFILE = Profile("small", StepTimes(0.02, 0.0001, 0.0, 0.001), sequences=16, is_chunked=True)


def load(n=900, seconds=900.0, seed=0):
    random = np.random.default_rng(seed)
    at = np.sort(random.uniform(0, seconds, n))
    return Workload.of(at, random.integers(50, 400, n), random.integers(5, 60, n))


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A module of policies that others wrote."""
    folder = tmp_path_factory.mktemp("odd")
    (folder / "servescope_odd_policies.py").write_text(ODD, "utf-8")
    sys.path.insert(0, str(folder))
    yield "servescope_odd_policies"
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def compared(odd):
    """One comparison with everything in it."""
    names = ("risk", *(f"{odd}:{name}" for name in ("raises", "hangs", "nan", "ends", "fine")))
    comparison = Comparison(names, PROFILE, seeds=(0, 1), most=6, run_seconds=5.0)
    heard = []
    made = compare(comparison, [split("load", load(), 0.0, 100.0)], 2, heard.append)
    return comparison, made, heard


def rows_of(made, policy):
    return [row for row in made.rows if row["policy"].endswith(policy)]


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (":raises", "ValueError: it is broken"),
        (":nan", "wants nan replicas"),
        (":hangs", "took longer than 5 s"),
        (":ends", "ended with code 7"),
    ],
)
def test_a_policy_that_misbehaves_ends_its_own_row_and_no_other(compared, policy, words):
    """Its row says why; the others have their numbers."""
    _, made, _ = compared
    mine = rows_of(made, policy)
    assert mine
    assert {row["state"] for row in mine} == {"failed"}
    assert any(words in row["reason"] for row in mine)
    assert {row["state"] for row in rows_of(made, ":fine")} == {"done"}
    assert {row["state"] for row in rows_of(made, "risk")} == {"done"}


def test_the_fixed_fleet_is_the_smallest_that_keeps_the_objective(compared):
    """Regret is against it, so it must not be larger than needed."""
    _, made, _ = compared
    found = replay_frames.summary(replay_frames.outcomes(made.rows), 0.99)
    fixed = found.filter(row="static-peak").row(0, named=True)
    assert fixed["is_met"]
    assert fixed["regret_static_ratio"] == 0


def test_progress_rises_to_its_end(compared):
    """So that somebody who waits knows for how long."""
    _, made, heard = compared
    assert made.is_complete
    assert heard[-1].share == 1.0
    assert all(0 <= one.share <= 1 for one in heard)
    assert any(one.left_seconds for one in heard)


@pytest.fixture(scope="module")
def tuned():
    """A comparison with trials, curves and two start-up times."""
    pytest.importorskip("optuna")
    comparison = Comparison(
        ("ray-serve",), PROFILE, startups_seconds=(0.0, 30.0), seeds=(0, 1), most=4, trials=4,
        tuning_seeds=1, curve_seeds=1,
    )  # fmt: skip
    return comparison, compare(comparison, [split("load", load(), 0.5, 100.0)], 2)


def test_every_row_has_every_seed_and_start_up_time(tuned):
    """Also those of the fixed fleet, for which start-up times play no part."""
    comparison, made = tuned
    for row in ("default", "tuned", "hindsight", "static-peak", "clairvoyant"):
        found = {(r["startup_seconds"], r["seed"]) for r in made.rows if r["row"] == row}
        assert found == {(at, seed) for at in comparison.startups_seconds for seed in (0, 1)}, row


def test_tuned_and_hindsight_rows_come_from_the_two_halves(tuned):
    """The budget is the same; what was tuned on A is judged on B, and hindsight is no dearer."""
    _, made = tuned
    assert {row["row"] for row in rows_of(made, "ray-serve")} >= {"curve", "hindsight"}
    (judged,) = {row["requests"] for row in made.rows}
    assert judged < 900 * 0.6
    found = replay_frames.summary(replay_frames.outcomes(made.rows), 0.99)
    hours = {
        (row["startup_seconds"], row["row"]): row["gpu_hours"]
        for row in found.filter("is_met", policy="ray-serve").iter_rows(named=True)
    }
    for startup in (0.0, 30.0):
        if (startup, "tuned") in hours:
            assert hours[startup, "hindsight"] <= hours[startup, "tuned"] + 1e-9


def test_what_is_done_when_it_is_stopped_is_kept(odd):
    """Stopping ends hanging processes at once."""
    comparison = Comparison((f"{odd}:raises", f"{odd}:hangs"), PROFILE, seeds=(0, 1), most=4)
    stop = Event()

    def told(standing):
        if "hangs" in standing.text:
            stop.set()

    made = compare(comparison, [split("load", load(), 0.0, 100.0)], 2, told, stop)
    assert not made.is_complete
    assert rows_of(made, ":raises")
    assert not rows_of(made, ":hangs")


def test_more_than_anybody_should_wait_for_is_refused():
    """Before a process is started."""
    comparison = Comparison(
        ("risk", "keda"), PROFILE, seeds=tuple(range(50)), trials=500, tuning_seeds=50
    )
    case = Case("load", (Segment(load(10)),), (Segment(load(10)),))
    with pytest.raises(ControllerError, match="replays"):
        expected_runs(comparison, [case])
    with pytest.raises(ControllerError, match="no part to tune on"):
        expected_runs(comparison, [Case("load", (Segment(load(10)),))])
