"""The pace of one replica, learnt: right under noise and outliers, never negative, never stale."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.gateway.fleet import Pace
from controller.gateway.least_squares import inverse, not_negative
from controller.gateway.pace_fit import PaceFit
from controller.gateway.pace_terms import Work, seconds_of

TRUE = Pace(1.2e-4, 0.015, 2e-4, 0.01)


def works(
    dice: np.random.Generator, pace: Pace = TRUE, noise: float = 0.15, odd: float = 0.0
) -> list[Work]:
    """What one request was part of; a share of the times is nonsense."""
    sequences, more = float(dice.integers(1, 40)), float(dice.lognormal(4.5, 0.8) // 1 + 1)
    stretches = (
        (float(dice.lognormal(6, 1)), 1.0, sequences, 1.0),
        (400.0 * dice.poisson(0.06 * more), more, more * sequences, 0.0),
    )
    found = []
    for each in stretches:
        seconds = seconds_of(pace, Work(*each, 0.0)) * dice.lognormal(0, noise)
        if dice.random() < odd:
            seconds *= dice.choice([0.1, 5.0, 30.0])
        found.append(Work(*each, seconds))
    return found


def taught(seed: int, count: int, odd: float = 0.0) -> tuple[PaceFit, np.random.Generator]:
    """After so many requests, three a second."""
    fit, dice = PaceFit(), np.random.default_rng(seed)
    for number in range(count):
        fit.saw(works(dice, odd=odd), number / 3)
    return fit, dice


def error(fit: PaceFit, pace: Pace = TRUE) -> float:
    """The worst of: a prompt token, a step with 5 sequences, and one with 35."""
    found = fit.pace
    assert found is not None
    steps = [
        (found.step_seconds + n * found.sequence_seconds)
        / (pace.step_seconds + n * pace.sequence_seconds)
        for n in (5, 35)
    ]
    ratios = [found.prompt_token_seconds / pace.prompt_token_seconds, *steps]
    return max(abs(ratio - 1) for ratio in ratios)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_hundred_and_twenty_requests_tell_the_pace(seed: int) -> None:
    """Within 15 %, although each time is off by 15 % and one in twelve is nonsense."""
    fit, _ = taught(seed, 120, odd=1 / 12)
    assert error(fit) < 0.15


def test_nothing_is_said_of_too_little_or_of_too_much_alike() -> None:
    """Eleven requests are too few; of answers of one token nobody can tell prompts from steps."""
    few, dice = taught(1, 11)
    assert few.pace is None
    for number in range(100):
        few.saw(works(dice), 4 + number / 3)
    alike = PaceFit()
    for number in range(200):
        alike.saw([Work(0.0, 1.0, 1.0, 0.0, 0.02)], number / 3)
    assert few.pace is not None
    assert alike.pace is None


@pytest.mark.parametrize("factor", [0.4, 2.5])
def test_a_replica_that_changes_is_known_anew_within_four_minutes(factor: float) -> None:
    """Slower, or quicker: as when a neighbour came, or went."""
    fit, dice = taught(3, 400)
    changed = Pace(*(factor * term for term in TRUE.terms))
    for number in range(720):
        fit.saw(works(dice, changed), 134 + number / 3)
    assert error(fit, changed) < 0.15


def test_a_quiet_night_forgets_nothing() -> None:
    """Ten hours later one odd request does not change much."""
    fit, dice = taught(4, 300)
    fit.saw(works(dice, odd=1.0), 40_000.0)
    fit.saw(works(dice), 40_001.0)
    assert error(fit) < 0.15


numbers = st.floats(0, 1e9) | st.sampled_from([0.0, math.inf, math.nan, -1.0, 1e300])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.builds(Work, numbers, numbers, numbers, st.sampled_from([0.0, 1.0]), numbers),
                min_size=30, max_size=80))  # fmt: skip
def test_whatever_it_is_told_no_coefficient_is_negative_or_none_at_all(rows: list[Work]) -> None:
    """Nonsense is counted and left out; what is left gives finite numbers or none."""
    fit = PaceFit()
    for number, row in enumerate(rows):
        fit.saw([row], float(number))
        if fit.pace is not None:
            assert all(math.isfinite(term) and term >= 0 for term in fit.pace.terms)
    assert fit.ignored == sum(not row.is_sane for row in rows)
    assert fit.rows + fit.ignored == len(rows)


def test_a_pace_once_known_stays_known_and_keeps_what_cannot_be_seen_any_more() -> None:
    """After a thousand requests that run alone, what others cost is still as it was learnt."""
    fit, dice = taught(5, 300)
    assert fit.pace is not None
    before = fit.pace.sequence_seconds
    for number in range(1_000):
        steps = float(dice.integers(2, 50))
        seconds = steps * (TRUE.step_seconds + TRUE.sequence_seconds) * dice.lognormal(0, 0.05)
        fit.saw([Work(0.0, steps, steps, 0.0, seconds)], 100 + number / 3)
    assert fit.pace is not None
    assert fit.pace.sequence_seconds == pytest.approx(before, rel=0.5)
    assert fit.pace.prompt_token_seconds == pytest.approx(TRUE.prompt_token_seconds, rel=0.15)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 4))
def test_no_other_coefficients_above_zero_are_better(seed: int, n: int) -> None:
    """Least squares within the bounds; and the inverse is one."""
    dice = np.random.default_rng(seed)
    rows = dice.normal(size=(n + 3, n))
    matrix, right = rows.T @ rows, dice.normal(size=n)
    told = not_negative(matrix.tolist(), right.tolist())
    assert told is not None
    assert min(told) >= 0
    found = np.array(told)
    best = 0.5 * found @ matrix @ found - right @ found
    for other in (*np.abs(dice.normal(size=(50, n))), *(found + 1e-3 * np.eye(n))):
        assert best <= 0.5 * other @ matrix @ other - right @ other + 1e-9
    turned = inverse(matrix.tolist())
    assert turned is not None
    np.testing.assert_allclose(np.array(turned) @ matrix, np.eye(n), atol=1e-6)
