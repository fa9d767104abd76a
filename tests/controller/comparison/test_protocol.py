"""What is shared by all policies of a comparison: checked, cut, handed over."""

from __future__ import annotations

import numpy as np
import pytest

from controller.comparison import handing, validity
from controller.comparison.protocol import Case, Comparison, Segment, split
from controller.observation import Objective
from controller.profile import FitError, Profile, StepTimes
from controller.simulator.workload import Workload
from store.errors import ControllerError

PROFILE = Profile("small", StepTimes(0.01, 0.0001, 0.0, 0.001), gpus=2)


def workload(n=100, seconds=1000.0):
    return Workload.of(np.linspace(0, seconds, n), np.full(n, 100), np.full(n, 20))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"policies": ()}, "no policy"),
        ({"policies": ("risk", "risk")}, "twice"),
        ({"most": 0}, "zero replicas"),
        ({"least": 5, "most": 3}, "contradict"),
        ({"initial": 50}, "outside 1 to 40"),
        ({"seeds": (1,)}, "no range"),
        ({"seeds": (1, 1)}, "no range"),
        ({"startups_seconds": ()}, "start-up"),
        ({"startups_seconds": (-1.0,)}, "start-up"),
        ({"startups_seconds": (float("nan"),)}, "start-up"),
        ({"objective": Objective(attainment_ratio=1.0)}, "no goal"),
        ({"objective": Objective(None, None)}, "bound above 0"),
        ({"objective": Objective(0.0, 0.1)}, "bound above 0"),
        ({"scrape_seconds": 0.0}, "scraping"),
        ({"trials": -1}, "counts"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(wrong, words):
    """Each mistake names itself and says what to do."""
    with pytest.raises(ControllerError, match=words) as caught:
        Comparison(**{"policies": ("risk",), "profile": PROFILE, **wrong})
    assert caught.value.hint
    assert "\n" not in str(caught.value)


def test_a_replica_that_cannot_serve_such_requests_says_so():
    """An objective that no step can keep is no comparison."""
    strict = Comparison(("risk",), PROFILE, Objective(2.0, 0.001))
    with pytest.raises(ControllerError, match="cannot serve"):
        strict.capacity(workload())


def test_the_protocol_survives_being_handed_to_another_process(tmp_path):
    """Arrays, cut and settings come back as they were."""
    first = workload()
    ways = (Segment(first, 100.0, (1.5, 2.0)), Segment(first.faster(2)))
    case = Case("a", ways, (Segment(first),))
    error = FitError(0.08, 0.3, 500, "rows")
    made = Comparison(("risk",), Profile("p", StepTimes(0.01), error=error), seeds=(3, 7))
    handing.save(tmp_path, made, [case])
    comparison, cases = handing.load(tmp_path)
    assert comparison == made
    assert cases[0].name == "a"
    assert cases[0].segment("test", 0).warm_up_seconds == 100.0
    assert cases[0].segment("test", 0).past == (1.5, 2.0)
    assert len(cases[0].segment("test", 1).workload) == 200
    assert len(cases[0].segment("test", 2).workload) == 100
    np.testing.assert_array_equal(cases[0].tuning[0].workload.arrived, first.arrived)


def test_what_is_tuned_on_lies_before_what_is_judged():
    """A ends where B is judged from; the history of B is replayed and not judged."""
    case = split("t", workload(200), 0.5, 200.0)
    assert case.tuning[0].workload.seconds <= 500
    assert case.tests[0].warm_up_seconds == pytest.approx(200.0)
    assert case.tests[0].judged == 100
    assert case.tests[0].workload.seconds == pytest.approx(700, abs=11)


def test_what_came_before_is_told_as_rates():
    """As to a controller that runs for longer; the intervals end where the replay begins."""
    case = split("t", workload(2001, 2000.0), 0.5, 100.0)
    past = case.tests[0].past
    assert len(past) == 60
    assert past == pytest.approx([1.0] * 60, abs=0.07)
    assert split("t", workload(2001, 2000.0), 0.0, 100.0).tests[0].past == ()


def test_too_little_to_tune_on_is_refused():
    """Before anything is run."""
    with pytest.raises(ControllerError, match="too few to tune"):
        split("t", workload(60), 0.5, 200.0)


def test_without_tuning_all_but_the_history_is_judged():
    """A short trace gives a quarter of itself at most."""
    whole = split("t", workload(), 0.0, 100.0)
    assert whole.tuning == ()
    assert whole.tests[0].judged == pytest.approx(90, abs=1)
    assert split("t", workload(), 0.0, 1e6).tests[0].judged == 75


def test_nothing_to_judge_is_refused():
    """One request in no time cannot be cut."""
    burst = Workload.of([0.0], [10], [10])
    assert split("t", burst, 0.0, 600.0).tests[0].judged == 1
    with pytest.raises(ControllerError, match="nothing to judge"):
        split("t", Workload.of([], [], []), 0.0, 600.0)


@pytest.mark.parametrize(
    ("error", "is_valid", "words"),
    [
        (None, False, "never compared"),
        (FitError(0.05, 0.2, 100, "rows"), True, "validated: median E2E error 5.0%"),
        (FitError(0.4, 0.9, 100, "rows"), False, "bound 10%"),
    ],
)
def test_every_what_if_says_how_wrong_the_model_is(error, is_valid, words):
    """Beyond the bound, or never compared, it is marked."""
    profile = Profile("p", StepTimes(0.01), error=error)
    assert validity.is_valid(profile) is is_valid
    assert words in validity.validity_text(profile)
    assert validity.validity_text(profile).startswith("not validated") is not is_valid
