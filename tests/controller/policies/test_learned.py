"""The learned policy: what it looks at, when it acts, and what lets it run live."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from controller.capacity import requests_per_second
from controller.observation import Objective, Observation, Reading
from controller.policies.check import PROFILE, check_policy, full
from controller.policies.learned import Learned
from controller.policies.learned_features import FEATURES, features, remembered_rates
from controller.policies.learned_network import read_network
from controller.policies.registry import check_mode, make, parameters_of
from store.errors import ControllerError

EACH = requests_per_second(PROFILE, Objective(), 800 * 0.8, 200)
WIDTH = len(FEATURES)


def weights(ratio=2.0, gate=None, **changed):
    """Answers `ratio` times the present rate at the lowest level, twice that at the highest."""
    step = math.log(math.expm1(math.log(2.0)))
    return {
        "format": "servescope-hindsight",
        "version": 1,
        "features": list(FEATURES),
        "levels": [0.5, 0.95],
        "mean": [0.0] * WIDTH,
        "scale": [1.0] * WIDTH,
        "low": [-5.0] * WIDTH,
        "high": [8.0] * WIDTH,
        "layers": [{"weight": [[0.0, 0.0]] * WIDTH, "bias": [math.log(ratio), step]}],
        "gate": gate,
        **changed,
    }


def policy(told=None, **parameters):
    return Learned(network=read_network(told or weights(), "here"), **parameters)


def run(one, rates, target=3, at=10_000.0):
    """The last (target, reason) of a course of rates, 15 s each."""
    memory, proposal = {}, None
    for tick, rate in enumerate(rates):
        pool = full(rate=rate, target=target)
        proposal, memory = one.decide(Observation(at + 15.0 * tick, (pool,)), memory)
    return proposal.targets["a"], proposal.reasons[0]


def test_it_follows_its_quantile_over_what_a_replica_serves():
    """Twice the present rate in the middle, four times at 95 %."""
    flat = [8.0] * 40
    assert run(policy(level=0.5), flat)[0] == -(-16.0 // EACH)
    assert run(policy(level=0.95), flat)[0] == -(-32.0 // EACH)
    assert run(policy(level=0.95), flat)[1].code == "learned"


def test_with_little_past_the_rule_decides_and_says_so():
    """Under five minutes."""
    target, reason = run(policy(), [8.0] * 10)
    assert reason.code == "outside"
    assert reason.text == "too little is known of the last minutes: kubernetes-hpa decides"
    assert target == run(make("kubernetes-hpa"), [8.0] * 10)[0]


def test_told_of_the_time_before_it_acts_at_once():
    """A controller that begins anew need not wait five minutes."""
    pool = replace(full(rate=8.0), history=(8.0,) * 40)
    proposal, memory = policy(level=0.5).decide(Observation(10_000.0, (pool,)), {})
    assert proposal.reasons[0].code == "learned"
    assert proposal.targets["a"] == -(-16.0 // EACH)
    assert memory["a"]["past"][0] == [9400.0, 8.0]


def test_outside_of_what_it_learnt_the_rule_decides():
    """Rates were never above e^2 = 7.4."""
    high = [8.0] * WIDTH
    high[FEATURES.index("log_rate")] = 2.0
    target, reason = run(policy(weights(high=high), fallback="hold"), [30.0] * 40, target=5)
    assert target == 5
    assert reason.text == "log_rate is 3.40, learnt were -5.00 to 2.00: hold decides"


def test_a_shorter_start_than_any_is_answered_as_the_shortest():
    """It can only be easier; a longer one is outside."""
    at = FEATURES.index("log_startup")
    for low, high, code in ((6.0, 8.0, "learned"), (-5.0, 3.0, "outside")):
        told = weights(low=[-5.0] * WIDTH, high=[8.0] * WIDTH)
        told["low"][at], told["high"][at] = low, high
        assert run(policy(told), [8.0] * 40)[1].code == code


def test_the_hour_is_never_outside():
    """The clock is the same everywhere."""
    high = [8.0] * WIDTH
    low = [-5.0] * WIDTH
    for name in ("hour_sin", "hour_cos"):
        low[FEATURES.index(name)] = high[FEATURES.index(name)] = 0.3
    assert run(policy(weights(low=low, high=high)), [8.0] * 40)[1].code == "learned"


def test_the_highest_need_of_a_minute_counts():
    """A drop is followed when it has lasted."""
    course = [8.0] * 40 + [2.0] * 3
    held = policy(level=0.5, hold_seconds=60.0)
    assert run(held, course)[0] >= -(-16.0 // EACH)
    assert run(held, [*course, *[2.0] * 8])[0] == -(-4.0 // EACH)


def test_features_stand_relative_to_the_present_rate():
    """The same course ten times as high differs in the rate alone, and in the queue."""
    rows = []
    for factor in (1.0, 10.0):
        past = []
        for tick in range(60):
            pool = full(rate=factor * (4 + 2 * math.sin(tick / 5)), target=4)
            past = remembered_rates(past, pool, 15.0 * tick)
        rows.append(features(past, pool, 15.0 * 59, 15.0))
    differs = np.abs(rows[1] - rows[0]) > 1e-3
    assert [name for name, is_other in zip(FEATURES, differs, strict=True) if is_other] == [
        "log_rate"
    ]
    assert rows[1][0] - rows[0][0] == pytest.approx(math.log(10.0), abs=1e-3)


def test_a_scrape_is_remembered_once():
    """However often is decided between two."""
    pool = full(rate=5.0)
    past = remembered_rates([], pool, 100.0)
    pool.signals["requests_per_second"] = Reading(5.0, age_seconds=5.0)
    past = remembered_rates(past, pool, 105.0)
    assert past == [[100.0, 5.0]]


def test_it_keeps_the_promises_of_a_policy():
    """With any fallback."""
    check_policy(policy())
    check_policy(policy(fallback="hold"))


def test_without_a_won_back_test_it_does_not_run_live():
    """In replay it does."""
    lost = {"beats": False, "default": "risk", "trace": "azure"}
    for gate, words in (
        (None, "no record"),
        ({}, "no record"),
        (lost, "did not beat risk on azure"),
    ):
        one = policy(weights(gate=gate))
        check_mode(one, "replay")
        for mode in ("dry-run", "approve", "active"):
            with pytest.raises(ControllerError, match=words):
                check_mode(one, mode)
    check_mode(policy(weights(gate={"beats": True, "default": "risk", "trace": "azure"})), "active")


@pytest.mark.parametrize(
    "told",
    [
        weights(version=2),
        weights(features=["moon"]),
        weights(levels=[0.5]),
        weights(levels=[0.9, 0.5]),
        weights(mean=[0.0]),
        weights(mean=[math.nan] * WIDTH),
        weights(scale=[0.0] * WIDTH),
        weights(layers=[]),
        weights(layers=[{"weight": [[0.0, 0.0]], "bias": [0.0, 0.0]}]),
        weights(layers=[{"weight": "x", "bias": [0.0, 0.0]}]),
        {},
    ],
)
def test_weights_of_another_kind_are_refused_in_one_line(told):
    """Before anything is decided by them."""
    with pytest.raises(ControllerError) as error:
        read_network(told, "here.json")
    assert str(error.value).startswith("here.json")
    assert "\n" not in str(error.value)


def test_a_file_that_changed_is_not_taken_for_the_one_of_then(tmp_path):
    """A decision is made again with the weights that made it, or not at all."""
    path = tmp_path / "weights.json"
    path.write_text(json.dumps(weights()))
    parameters = parameters_of(make("learned", weights=str(path)))
    assert len(parameters["digest"]) == 64
    assert make("learned", **parameters) == make("learned", weights=str(path))
    path.write_text(json.dumps(weights(ratio=3.0)))
    with pytest.raises(ControllerError, match="weights have changed"):
        make("learned", **parameters)


@pytest.mark.parametrize("content", [None, "", "[1, 2]", "{"])
def test_a_file_that_holds_no_weights_is_told(tmp_path, content):
    """With its name."""
    path = tmp_path / "weights.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ControllerError, match=r"weights\.json"):
        make("learned", weights=str(path))


def test_the_shipped_weights_are_whole():
    """They load, and carry the record of their back-test."""
    one = make("learned")
    gate = one.network.gate
    assert {
        "trace",
        "seeds",
        "default",
        "regret_gpu_hours",
        "default_regret_gpu_hours",
        "beats",
    } <= (set(gate))
    if not gate["beats"]:
        with pytest.raises(ControllerError, match="did not beat"):
            check_mode(one, "active")
