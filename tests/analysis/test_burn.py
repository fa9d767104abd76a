from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from analysis import burn
from analysis.burn import AlertRule

NOW = datetime(2026, 3, 1, tzinfo=UTC)
targets = st.floats(0.5, 0.9999)


@given(st.integers(0, 10**6), st.integers(1, 10**6), targets)
def test_burn_and_budget_are_two_sides_of_one_number(bad, attempted, target):
    """The burn over the whole window is the share of the budget that it spent."""
    assume(bad <= attempted)
    rate = burn.burn_rate(bad, attempted, target)
    left = burn.budget_left_ratio(bad, attempted, target)
    spent = burn.budget_spent_ratio(rate, 30 * 86_400, 30 * 86_400)
    assert left == pytest.approx(1 - spent)
    assert rate <= burn.highest_burn(target) * (1 + 1e-12)


@given(targets, st.floats(0.1, 20), st.integers(1, 700))
def test_spent_budget_is_burn_times_elapsed_over_window(target, rate, hours):
    """Even traffic that burns at `rate` for `hours` of 30 days spends rate x hours / 720."""
    assume(rate <= burn.highest_burn(target))
    hourly = 1000.0
    bad = rate * (1 - target) * hourly * hours
    left = burn.budget_left_ratio(bad, hourly * 720, target)
    assert 1 - left == pytest.approx(
        burn.budget_spent_ratio(rate, hours * 3600, 720 * 3600), rel=1e-9, abs=1e-12
    )


@given(st.floats(0.01, 1), st.floats(1.01, 50), st.floats(3600, 90 * 86_400))
def test_a_faster_burn_exhausts_the_budget_sooner_and_within_the_window(left, rate, window):
    """Projected exhaustion lies between now and the end of a window, and moves with the burn."""
    at = burn.exhausted_at(left, rate, window, NOW)
    faster = burn.exhausted_at(left, rate * 2, window, NOW)
    assert NOW <= faster <= at <= NOW + timedelta(seconds=window)


def test_a_burn_of_one_never_exhausts_a_rolling_budget():
    """Old bad requests leave a rolling window as fast as new ones come."""
    assert burn.exhausted_at(0.2, 1.0, 86_400, NOW) is None
    assert burn.exhausted_at(0.2, None, 86_400, NOW) is None
    assert burn.exhausted_at(-0.1, 0.0, 86_400, NOW) == NOW


def test_without_events_nothing_is_known():
    """No request gives neither a burn of 0 nor a full budget."""
    assert burn.burn_rate(0, 0, 0.99) is None
    assert burn.budget_left_ratio(0, 0, 0.99) is None


def test_the_default_rules_for_30_days_are_the_workbook_table():
    """1 h + 5 m at 14.4, 6 h + 30 m at 6, 1 d + 2 h at 3, 3 d + 6 h at 1."""
    assert burn.default_alerts(30 * 86_400) == (
        AlertRule("page", 3600, 300, 14.4),
        AlertRule("page", 6 * 3600, 1800, 6.0),
        AlertRule("ticket", 86_400, 7200, 3.0),
        AlertRule("ticket", 3 * 86_400, 6 * 3600, 1.0),
    )


@given(st.floats(60, 366 * 86_400))
def test_scaled_rules_keep_the_share_of_the_budget_they_stand_for(window):
    """Every scaled rule fires at 2, 5 or 10 % of the budget, from a burn of 1 on."""
    for rule in burn.default_alerts(window):
        share = burn.budget_spent_ratio(rule.burn, rule.long_seconds, window)
        assert min(abs(share - s) for s in (0.02, 0.05, 0.10)) < 1e-6
        assert rule.burn >= 1
        assert 60 <= rule.short_seconds < rule.long_seconds


def test_a_threshold_above_the_highest_burn_is_called_out():
    """With a target of 90 % the burn never exceeds 10."""
    rule = AlertRule("page", 3600, 300, 14.4)
    why = burn.unreachable_why(rule, 0.9)
    assert why == "target 90 %: the highest possible burn is 10, so 14.4 can never be exceeded"
    assert burn.unreachable_why(rule, 0.99) is None
    assert burn.reachable_alerts((rule,), 0.9) == ()


def test_both_windows_must_burn():
    """A rule is silent when the trouble is over, just begun, or unknown."""
    rule = AlertRule("page", 3600, 300, 6.0)
    assert burn.fires(rule, 7, 7)
    assert not burn.fires(rule, 7, 1)
    assert not burn.fires(rule, 1, 7)
    assert not burn.fires(rule, None, 7)
