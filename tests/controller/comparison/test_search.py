"""The search of settings: spaces, budget, front, and the cheapest that keeps the objective."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.comparison import building, naming, tuning
from controller.comparison.pareto import Point, chosen, first_that, front
from controller.comparison.spaces import SPACES, Choice, Range, inside, space_of
from controller.policies import registry
from store.errors import ControllerError

POINTS = st.lists(
    st.builds(Point, st.just({}), st.floats(0.1, 100), st.floats(0, 1)),
    max_size=30,
)


@given(POINTS)
def test_nobody_on_the_front_is_beaten_and_everybody_else_is(points):
    """In cost and attainment at the same time."""
    best = front(points)
    for point in points:
        beaten = any(
            other.gpu_hours <= point.gpu_hours
            and other.attainment_ratio >= point.attainment_ratio
            and (other.gpu_hours, other.attainment_ratio)
            != (point.gpu_hours, point.attainment_ratio)
            for other in points
        )
        on = any(
            (one.gpu_hours, one.attainment_ratio) == (point.gpu_hours, point.attainment_ratio)
            for one in best
        )
        assert on is not beaten


@given(POINTS, st.floats(0.01, 0.99))
def test_what_is_chosen_keeps_the_objective_at_the_least_where_anything_does(points, goal):
    """Else it misses it least."""
    best = chosen(points, goal)
    if not points:
        assert best is None
        return
    kept = [point for point in points if point.attainment_ratio >= goal]
    if kept:
        assert best.attainment_ratio >= goal
        assert best.gpu_hours == min(point.gpu_hours for point in kept)
    else:
        assert best.attainment_ratio == max(point.attainment_ratio for point in points)


@given(st.integers(1, 200), st.integers(0, 250))
def test_the_first_that_is_enough_is_found_by_halves(count, needed):
    """And the last one where none is."""
    asked = []
    found = first_that(range(count), lambda n: asked.append(n) or n >= needed)
    assert found == min(needed, count - 1)
    assert len(asked) <= count.bit_length()


@pytest.mark.parametrize("name", building.names())
def test_every_space_is_about_parameters_that_the_policy_has(name):
    """Both ends of every range make a policy; the documented settings lie inside."""
    space = space_of(building.built(name, {}, None).spec, name)
    assert space, f"{name} cannot be tuned"
    for end in ("low", "high"):
        values = {
            key: what.values[0] if isinstance(what, Choice) else getattr(what, end)
            for key, what in space.items()
        }
        building.built(name, values, None)
    documented = inside(space, registry.defaults(name))
    assert documented is not None
    building.built(name, documented, None)


def test_no_space_is_of_a_policy_that_is_not_there():
    """A policy that was renamed takes its space along."""
    assert set(SPACES) <= set(building.names())


def test_settings_outside_of_a_range_are_moved_into_it():
    """So that a search may begin with them."""
    space = {"a": Range(1.0, 2.0), "b": Choice(("x", "y"))}
    assert inside(space, {"a": 0.0, "b": "y", "c": 3}) == {"a": 1.0, "b": "y"}
    assert inside(space, {"a": 1.5}) is None


def test_the_same_search_gives_the_same_settings_and_gets_near_the_best():
    """Cost falls with the knob, attainment too: the edge is what is wanted."""
    pytest.importorskip("optuna")
    asked = []

    def judge(parameters):
        asked.append(parameters)
        knob = parameters["target"]
        return [(100 / knob, 1.0 if knob <= 20 else 1 - (knob - 20) / 100)] * 2

    space = {"target": Range(1.0, 100.0)}
    found = tuning.searched(space, [{"target": 2.0}], judge, 25, 0.99)
    first = list(asked)
    asked.clear()
    again = tuning.searched(space, [{"target": 2.0}], judge, 25, 0.99)
    assert asked == first
    assert again == found
    assert first[0] == {"target": 2.0}
    assert len(first) <= 25
    assert chosen(found, 0.99).parameters["target"] > 12


def test_settings_that_fail_are_passed_over():
    """A policy that raises for half of its range is tuned on the other half."""
    pytest.importorskip("optuna")
    space = {"target": Range(1.0, 100.0, is_log=False), "kind": Choice(("a", "b"))}
    found = tuning.searched(space, [], lambda p: [] if p["target"] > 50 else [(1.0, 0.5)], 12, 0.99)
    assert found
    assert all(point.parameters["target"] <= 50 for point in found)


@pytest.mark.parametrize(
    ("names", "words", "hint"),
    [
        (("kubernets-hpa",), "no policy 'kubernets-hpa'", "kubernetes-hpa"),
        (("static",), "always there", "risk"),
        (("os:getcwd",), "no policy", "risk"),
        (("keda(speed=3)",), "no parameter 'speed'", "target"),
        (("keda(speed)",), "cannot be read at 'speed'", "parameter=value"),
        (("clairvoyant(margin=2)",), "always there", "risk"),
    ],
)
def test_a_policy_that_is_not_there_is_named_with_the_nearest(names, words, hint):
    """One's own modules are not for whoever comes over the network."""
    with pytest.raises(ControllerError, match=words) as caught:
        building.checked_names(names, may_import=False)
    assert hint in caught.value.hint


def test_an_own_policy_that_cannot_be_loaded_says_why():
    """The module or the name in it is missing."""
    with pytest.raises(ControllerError, match="no policy can be loaded"):
        building.checked_names(("nowhere_at_all:Policy",), may_import=True)


def test_settings_of_ones_own_stand_beside_the_name():
    """Commas inside of the brackets belong to the policy."""
    text = "risk, kubernetes-hpa(target_ongoing=8,down_seconds=60) ,static(replicas=5)"
    names = naming.listed(text)
    assert len(names) == 3
    assert naming.parsed(names[1]) == ("kubernetes-hpa", {"target_ongoing": 8, "down_seconds": 60})
    assert building.checked_names(names, may_import=False) == names
    assert building.defaults(names[1])["target_ongoing"] == 8
    assert building.built(names[1], {"down_seconds": 5}, None).down_seconds == 5
    assert not space_of(building.built(names[2], {}, None).spec, names[2])
