"""Guards: what they never do, whatever is seen and wanted."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import observation as seen
from controller.guards import FleetRules, PoolRules, Standing, doubt_of, guarded
from controller.observation import Grade, Limits, Observation, PoolView, Reading
from controller.profile import Profile, StepTimes

COUNTS = st.integers(0, 40)
READINGS = st.builds(
    Reading,
    st.one_of(st.none(), st.floats(0, 100), st.just(math.nan)),
    st.sampled_from(Grade),
    st.one_of(st.none(), st.floats(-10, 200)),
    st.floats(0, 1),
)


def profile(gpus, price):
    return Profile("p", StepTimes(0.01), gpus=gpus, price_per_hour=price)


@st.composite
def pools(draw, name):
    least = draw(st.integers(0, 5))
    signals = {
        one: draw(READINGS)
        for one in draw(st.sets(st.sampled_from([seen.REQUESTS_PER_SECOND, seen.REQUESTS_RUNNING])))
    }
    kind = draw(st.none() | st.builds(profile, st.integers(1, 8), st.none() | st.floats(0, 30)))
    return PoolView(
        name, draw(COUNTS), 1, 0, 0, Limits(least, draw(st.integers(max(least, 1), 40))), signals,
        profile=kind,
    )  # fmt: skip


@st.composite
def cases(draw):
    views = tuple(draw(pools(name)) for name in "abc"[: draw(st.integers(1, 3))])
    bounds = st.none() | st.integers(1, 5)
    rules = {
        view.name: PoolRules(
            view.limits.least, view.limits.most, draw(bounds), draw(bounds),
            draw(st.sampled_from([0.0, 60.0])), draw(st.sampled_from([0.0, 300.0])),
            60.0, draw(st.sampled_from([0.5, 0.9, 1.0])),
        )
        for view in views
    }  # fmt: skip
    fleet = FleetRules(
        rules, draw(st.none() | st.integers(0, 99)), draw(st.none() | st.floats(0, 99))
    )
    names = st.sampled_from("abc")
    standing = Standing(
        draw(st.dictionaries(names, st.floats(900, 1000))),
        draw(st.dictionaries(names, st.none() | st.floats(900, 1100))),
        draw(st.dictionaries(names, COUNTS)),
        draw(st.none() | st.frozensets(names)),
        draw(st.dictionaries(names, st.just("broken"))),
        draw(st.integers(0, 20)),
    )
    wishes = COUNTS | st.just(math.nan) | st.just(-1) | st.just(10**9) | st.just(math.inf)
    targets = draw(st.dictionaries(names, wishes))
    return Observation(1000.0, views), fleet, standing, targets


def wish(view, targets):
    wanted = targets.get(view.name, view.target)
    return int(wanted) if math.isfinite(wanted) and 0 <= wanted <= 100_000 else view.target


@given(cases())
def test_no_target_comes_out_above_all_that_was_wanted_there_and_the_least(case):
    """Guards hold and clip; they never want anything of their own but the least."""
    observation, rules, standing, targets = case
    passed = guarded(observation, rules, standing, targets)
    for view in observation.pools:
        final = passed.targets[view.name]
        assert isinstance(final, int)
        assert final <= max(wish(view, targets), view.target, view.limits.least)
        assert final >= min(wish(view, targets), view.target)


@given(cases())
def test_nothing_is_scaled_down_on_doubt(case):
    """Missing, stale, too old, of a broken clock, told by too few: held."""
    observation, rules, standing, targets = case
    passed = guarded(observation, rules, standing, targets)
    for view in observation.pools:
        if doubt_of(view, rules.of(view.name)):
            assert passed.targets[view.name] >= view.target


@given(cases())
def test_held_pools_stay(case):
    """Frozen, of another controller, changed by somebody else, unreadable: exactly as they are."""
    observation, rules, standing, targets = case
    passed = guarded(observation, rules, standing, targets)
    for view in observation.pools:
        name, until = view.name, standing.frozen_until.get(view.name, -math.inf)
        is_held = (
            until is None or until > observation.at or name in standing.foreign
            or name in standing.blocked
            or (standing.leased is not None and name not in standing.leased)
        )  # fmt: skip
        if is_held:
            assert passed.targets[name] == view.target


@given(cases())
def test_steps_cooldowns_and_bounds_hold(case):
    """But for the least, which is asked for at once."""
    observation, rules, standing, targets = case
    passed = guarded(observation, rules, standing, targets)
    for view in observation.pools:
        mine, final = rules.of(view.name), passed.targets[view.name]
        if final > max(view.target, view.limits.least):
            assert final <= mine.most
            assert mine.most_up is None or final <= view.target + mine.most_up
            since = observation.at - standing.changed_at.get(view.name, -math.inf)
            assert since >= mine.up_cooldown_seconds
        if final < view.target:
            assert mine.most_down is None or final >= view.target - mine.most_down


@given(cases())
def test_growth_is_only_what_can_be_paid(case):
    """Beyond the budget nothing grows; nothing shrinks for it either."""
    observation, rules, standing, targets = case
    free = guarded(observation, FleetRules(rules.pools), standing, targets)
    passed = guarded(observation, rules, standing, targets)
    cards = standing.other_gpus + sum(
        passed.targets[view.name] * (view.profile.gpus if view.profile else 1)
        for view in observation.pools
    )
    grows = any(passed.targets[view.name] > view.target for view in observation.pools)
    if rules.most_gpus is not None and cards > rules.most_gpus:
        assert not grows
    for view in observation.pools:
        assert passed.targets[view.name] >= min(free.targets[view.name], view.target)


@given(cases())
def test_every_change_is_told(case):
    """Clips lead from what was wanted to what comes out, one after the other."""
    observation, rules, standing, targets = case
    passed = guarded(observation, rules, standing, targets)
    for view in observation.pools:
        at = wish(view, targets)
        for clip in passed.clips:
            if clip.pool == view.name:
                assert clip.before == at
                assert clip.text
                at = clip.after
        assert at == passed.targets[view.name]


def view(target=10, share=1.0, grade=Grade.FRESH, least=1, most=20):
    signals = {
        name: Reading(5.0, grade, 1.0, share)
        for name in (seen.REQUESTS_PER_SECOND, seen.REQUESTS_RUNNING)
    }
    return PoolView("a", target, target, 0, 0, Limits(least, most), signals)


def passed_one(one, wanted, rules=None, **standing):
    fleet = FleetRules({"a": rules or PoolRules(1, 20, None, None, 0, 0)})
    return guarded(Observation(0.0, (one,)), fleet, Standing(**standing), {"a": wanted})


def test_those_that_told_nothing_count_as_busy():
    """With 5 % missing a scale-down goes only so far as if they were like the others."""
    passed = passed_one(view(target=40, share=0.95, grade=Grade.PARTIAL, most=50), 19)
    assert passed.targets["a"] == 20
    assert passed.binding("a") == "trust"


def test_a_pool_above_its_most_shrinks_step_by_step():
    """Somebody lowered the bound."""
    rules = PoolRules(1, 4, None, 2, 0, 0)
    assert passed_one(view(10, most=4), 10, rules).targets["a"] == 8


def test_a_price_next_to_nothing_is_no_trouble_for_a_budget():
    """What is over is not divided by it; what costs next to nothing is cut for the budget, too."""
    one = replace(view(target=1, most=9), profile=profile(1, 1e-308))
    dear = replace(view(target=2), name="b", profile=profile(1, 4.0))
    rules = {name: PoolRules(1, 9, None, None, 0, 0) for name in "ab"}
    fleet = FleetRules(rules, most_per_hour=4.0)
    passed = guarded(Observation(0.0, (one, dear)), fleet, Standing(), {"a": 5, "b": 2})
    assert (passed.targets, passed.binding("a")) == ({"a": 1, "b": 2}, "budget")


def test_a_budget_below_the_minimum_holds_what_is_there():
    """The least is wanted, nobody can pay for it, nothing is taken away."""
    fleet = FleetRules({"a": PoolRules(least=8, most=20)}, most_gpus=5)
    passed = guarded(Observation(0.0, (view(6, least=8),)), fleet, Standing(), {"a": 1})
    assert passed.targets["a"] == 6
    assert passed.binding("a") == "budget"


@pytest.mark.parametrize(("wanted", "left"), [(12, 10), (8, 8)])
def test_nothing_known_of_the_load_raises_nothing(wanted, left):
    """Blind, up is held as well; `left` says what trust alone would have let through."""
    blind = PoolView("a", 10, 10, 0, 0, Limits(1, 20))
    assert passed_one(blind, wanted).targets["a"] == 10
    assert passed_one(view(), wanted).targets["a"] == (12 if left == 10 else 8)


def test_engines_that_count_no_requests_are_trusted_by_their_tokens():
    """A rate that was never known is not asked for; one that got lost is."""
    tokens = {
        seen.REQUESTS_RUNNING: Reading(3.0, age_seconds=1.0),
        seen.OUTPUT_TOKENS_PER_SECOND: Reading(90.0, age_seconds=1.0),
    }
    pool = PoolView("a", 10, 10, 0, 0, Limits(1, 20), tokens)
    assert passed_one(pool, 8).targets["a"] == 8
    lost = {**tokens, seen.REQUESTS_PER_SECOND: Reading(5.0, Grade.STALE, 90.0)}
    pool = PoolView("a", 10, 10, 0, 0, Limits(1, 20), lost)
    assert passed_one(pool, 8).targets["a"] == 10


@pytest.mark.parametrize(("wanted", "left"), [(12, 12), (8, 10)])
def test_a_clock_that_was_set_back_holds_the_way_down_alone(wanted, left):
    """The last change lies in the future: it is waited for only before fewer are asked for."""
    rules = PoolRules(1, 20, None, None, 0.0, 300.0)
    passed = passed_one(view(10), wanted, rules, changed_at={"a": 3600.0})
    assert passed.targets["a"] == left
