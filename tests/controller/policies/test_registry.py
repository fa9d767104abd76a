"""Policies by name."""

from __future__ import annotations

import json

import pytest

from controller.policies.check import full
from controller.policies.registry import (
    POLICIES,
    catalogue,
    check_mode,
    defaults,
    make,
    parameters_of,
)
from controller.simulator.workload import Workload
from store.errors import ControllerError

WORK = Workload.of([1.0, 2.0], [10, 10], [5, 5])
NAMES = [name for name in POLICIES if name != "clairvoyant"]


def made(name, **parameters):
    return make(name, **({"workload": WORK} if name == "clairvoyant" else {}), **parameters)


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_is_called_what_it_is_asked_for_by(name):
    """So that a decision can name it and it can be made again."""
    assert made(name).spec.name == name


def test_the_catalogue_has_every_policy_once():
    """With source, period and a knob that its parameters know."""
    specs = catalogue()
    assert [spec.name for spec in specs] == list(POLICIES)
    for spec in specs:
        assert spec.source, spec.name
        assert spec.period_seconds > 0, spec.name
        assert spec.knob in defaults(spec.name), spec.name
        assert len(spec.knob_values) >= 2, spec.name


@pytest.mark.parametrize("spec", catalogue(), ids=lambda spec: spec.name)
def test_documented_defaults_are_the_defaults(spec):
    """What the documents say and what is made do not drift apart."""
    found = defaults(spec.name)
    for name, value in spec.parameters.items():
        if name in found:
            assert found[name] == value, name


@pytest.mark.parametrize("spec", catalogue(), ids=lambda spec: spec.name)
def test_every_value_of_a_knob_can_be_made(spec):
    """A sweep does not stop at one of them."""
    for value in spec.knob_values:
        knob = int(value) if spec.knob == "replicas" else value
        assert made(spec.name, **{spec.knob: knob}).spec.name == spec.name


@pytest.mark.parametrize("name", NAMES)
def test_parameters_make_the_same_policy_again(name):
    """From JSON, as the ledger keeps them."""
    policy = make(name)
    told = json.loads(json.dumps(parameters_of(policy)))
    assert make(name, **told) == policy


def test_changed_parameters_are_kept():
    """Not the defaults."""
    policy = make("kubernetes-hpa", target_ongoing=None, target_waiting=3.0, down_seconds=60.0)
    told = parameters_of(policy)
    assert (told["target_ongoing"], told["target_waiting"], told["down_seconds"]) == (None, 3.0, 60)
    assert make("kubernetes-hpa", **told) == policy


def test_an_unknown_name_is_told_what_is_known():
    """And what was probably meant."""
    with pytest.raises(ControllerError, match="no policy 'knativ-kpa'") as error:
        make("knativ-kpa")
    assert "did you mean knative-kpa" in error.value.hint
    assert "risk" in error.value.hint


def test_an_unknown_parameter_is_told_what_there_is():
    """In one line."""
    with pytest.raises(ControllerError, match="no parameter 'goal'") as error:
        make("skyserve", goal=3)
    assert error.value.hint == "it has target_qps, up_seconds, down_seconds"


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("knative-kpa", {"target": 0}),
        ("knative-kpa", {"target": float("nan")}),
        ("ray-serve", {"target_ongoing": "two"}),
        ("static", {"replicas": -1}),
        ("static", {"replicas": {"a": 3, "b": True}}),
        ("wva", {"kv_saturated": 1.5}),
        ("wva", {"analyzer": "v9"}),
        ("dynamo", {"forecast": "prophet"}),
        ("keda", {"fallback_behaviour": "guess"}),
        ("kubernetes-hpa", {"target_ongoing": None}),
        ("aibrix-apa", {"signal": "moon"}),
        ("melange", {"mix": [[1, 2]]}),
        ("melange", {"mix": [[100, 20, 0.0]]}),
        ("clairvoyant", {}),
    ],
)
def test_values_out_of_range_are_refused_in_one_line(name, parameters):
    """Before anything runs."""
    with pytest.raises(ControllerError) as error:
        make(name, **parameters)
    assert "\n" not in str(error.value)


def test_the_clairvoyant_runs_in_replay_alone():
    """There is no future to look at elsewhere."""
    check_mode(made("clairvoyant"), "replay")
    with pytest.raises(ControllerError, match="replay alone"):
        check_mode(made("clairvoyant"), "dry-run")
    check_mode(make("knative-kpa"), "active")


def test_a_pool_by_hand_has_every_signal():
    """What the checks are made of."""
    assert full().reading("requests_per_second").value == 8.0
