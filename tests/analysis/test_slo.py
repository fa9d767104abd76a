from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.burn import AlertRule
from analysis.fleet import fleet
from analysis.fleet_models import fleet_models
from analysis.slo import FEWEST_EVENTS, check, status_of
from analysis.slo_counts import Counted
from analysis.slo_model import Slo, SloMatch
from store.queries.scope import Scope

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DAY = 86_400.0


def slo(kind="ttft", **fields):
    limits = {} if kind in ("availability", "goodput") else {f"{kind}_seconds": 1.0}
    usual = {"name": "a", "kind": kind, "target_ratio": 0.9, "window_seconds": DAY, **limits}
    return Slo(**(usual | fields))


def only(reader, objective, scope):
    (status,) = check(reader, [objective], scope)
    return status


def test_failed_refused_and_aborted_requests_are_bad(database, add_requests, live_scope):
    """Shedding load never makes attainment look better: the denominator is what was attempted."""
    status = ["ok"] * 95 + ["failed", "refused", "aborted", "ok", "ok"]
    ttft = [0.5] * 95 + [None, None, None, 2.0, 0.9]
    add_requests([float(i + 1) for i in range(100)], status=status, ttft_seconds=ttft)
    found = only(database.reader, slo(), live_scope)
    assert (found.tally.good_low, found.tally.bad_low, found.tally.attempted) == (96, 4, 100)
    assert found.attainment_ratio == pytest.approx(0.96)
    assert found.attainment_low < 0.96 < found.attainment_high
    assert found.attainment_of_successful_ratio == pytest.approx(96 / 97)
    assert found.budget_left_ratio == pytest.approx(1 - 0.04 / 0.1)
    assert (found.status, found.met) == ("healthy", True)


def test_a_request_that_was_tried_twice_is_judged_once(database, add_requests, live_scope):
    """An engine that failed behind a gateway cost its client nothing: the last attempt counts."""
    add_requests([1.0, 2.0, 2.0, 3.0], status=["ok", "failed", "ok", "ok"],
                 ttft_seconds=[0.5, None, 0.9, 2.0], attempt=[1, 1, 2, 1],
                 is_counted=[True, False, True, None])  # fmt: skip
    found = only(database.reader, slo(), live_scope)
    assert (found.tally.good_low, found.tally.bad_low, found.tally.attempted) == (2, 1, 3)
    assert only(database.reader, slo("availability"), live_scope).tally.bad_low == 0


def test_aborted_requests_can_be_left_out(database, add_requests, live_scope):
    """Where clients often give up for their own reasons, a setting leaves them out, visibly."""
    add_requests([1.0, 2.0, 3.0], status=["ok", "ok", "aborted"], ttft_seconds=[0.5, 0.5, None])
    found = only(database.reader, slo(count_aborted=False), live_scope)
    assert (found.tally.attempted, found.tally.undetermined) == (2, 1)


def test_a_request_without_the_quantity_is_undetermined(database, add_requests, live_scope):
    """A one-token answer has no TPOT: it is neither good nor bad, and it is counted."""
    add_requests([float(i + 1) for i in range(50)], tpot_seconds=[0.5] * 40 + [None] * 10)
    found = only(database.reader, slo("tpot"), live_scope)
    assert (found.tally.good_low, found.tally.attempted, found.tally.undetermined) == (40, 40, 10)


def test_one_broken_limit_decides_a_joint_objective(database, add_requests, live_scope):
    """A request that was too slow to start is bad, whatever else was not recorded."""
    add_requests(
        [1.0, 2.0, 3.0],
        ttft_seconds=[2.0, 0.5, 0.5],
        tpot_seconds=[None, None, 0.01],
    )
    joint = slo("goodput", ttft_seconds=1.0, tpot_seconds=0.05)
    tally = only(database.reader, joint, live_scope).tally
    assert (tally.good_low, tally.bad_low, tally.undetermined) == (1, 1, 1)


def test_no_requests_are_no_data_and_never_100_percent(database, live_scope):
    """An idle fleet is not a perfect one."""
    found = only(database.reader, slo(), live_scope)
    assert (found.status, found.attainment_ratio, found.budget_left_ratio) == (
        "no data",
        None,
        None,
    )
    assert found.met is None


def test_a_quantity_that_was_never_recorded_is_named(database, add_requests, live_scope):
    """A trace of token counts cannot answer a question about TTFT, failures or not."""
    status = ["ok"] * 90 + ["failed"] * 10
    add_requests([float(i + 1) for i in range(100)], status=status, input_tokens=5)
    found = only(database.reader, slo(), live_scope)
    assert found.status == "no data"
    assert found.why == "needs TTFT; none of these 90 requests carries it"
    assert found.attainment_low is None
    assert only(database.reader, slo("availability"), live_scope).attainment_ratio == 0.9


def test_an_outage_without_a_single_success_is_an_outage(database, add_requests, live_scope):
    """When everything fails no latency is recorded, and that must not read as no data."""
    add_requests([float(i + 1) for i in range(50)], status="failed")
    assert only(database.reader, slo(), live_scope).status == "exhausted"


def test_the_budget_is_that_of_the_window_and_not_of_the_visible_range(database, add_requests):
    """Zooming in on a bad hour does not change what is left of the day."""
    calm = [3600.0 * 2 + i for i in range(900)]
    bad = [10.0 + i for i in range(100)]
    add_requests(calm + bad, ttft_seconds=[0.5] * 900 + [2.0] * 100)
    day = Scope((1,), NOW - timedelta(days=1), NOW)
    hour = Scope((1,), NOW - timedelta(hours=1), NOW)
    wide, zoomed = (only(database.reader, slo(), scope) for scope in (day, hour))
    assert wide.budget_left_ratio == zoomed.budget_left_ratio == pytest.approx(0.0)
    assert wide.burn_1h == pytest.approx(10.0)


def test_few_bad_events_raise_no_alarm(database, add_requests, live_scope):
    """Five bad requests of forty are no reason to wake anybody."""
    add_requests([float(i + 1) for i in range(40)], ttft_seconds=[0.5] * 35 + [2.0] * 5)
    found = only(database.reader, slo(), live_scope)
    assert (found.status, found.met) == ("too few events", None)
    assert "5 bad requests" in found.why


def test_an_exhausted_budget_says_when_it_went(database, add_requests, live_scope):
    """The moment is that of the bad request which spent the last of it."""
    ago = [7200.0 + i for i in range(900)] + [3600.0 + i for i in range(200)]
    add_requests(ago, ttft_seconds=[0.5] * 900 + [2.0] * 200)
    found = only(database.reader, slo(), live_scope)
    assert found.status == "exhausted"
    assert found.budget_left_ratio < 0
    assert NOW - timedelta(seconds=3900) <= found.exhausted_at <= NOW - timedelta(seconds=3500)


def test_a_fresh_fast_burn_pages(database, add_requests, live_scope):
    """A burst of failures is called burning while budget is left, and its end projected."""
    ago = [600.0 + i * 8 for i in range(10_000)] + [float(i + 1) for i in range(240)]
    add_requests(ago, ttft_seconds=[0.5] * 10_000 + [2.0] * 240)
    objective = slo(alerts=(AlertRule("page", 3600, 300, 3.0),))
    found = only(database.reader, objective, live_scope)
    assert found.status == "burning"
    assert found.budget_left_ratio > 0.5


def test_an_slo_of_another_source_is_left_out(database, live_scope):
    """Objectives of a trace do not show up, empty, on the live page."""
    other = slo(match=SloMatch(sources=("azure",)))
    assert check(database.reader, [other], live_scope) == []


def test_labels_choose_the_requests(database, add_requests, live_scope):
    """An SLO of one model is not diluted by another, and a NULL label never matches."""
    add_requests([1.0, 2.0, 3.0], model=["a", "b", None], ttft_seconds=[0.5, 2.0, 2.0])
    tally = only(database.reader, slo(match=SloMatch(models=("a",))), live_scope).tally
    assert (tally.good_low, tally.attempted) == (1, 1)


def test_many_slos_are_counted_in_one_pass_without_mixing(database, add_requests, live_scope):
    """The counts of one SLO are the same alone and among others."""
    add_requests(
        [float(i + 1) for i in range(100)],
        model=["a", "b"] * 50,
        ttft_seconds=[0.1 * (i % 20) for i in range(100)],
    )
    several = [
        slo(name="x"),
        slo(name="y", ttft_seconds=0.3, match=SloMatch(models=("b",))),
        slo("availability", name="z", window_seconds=3600.0),
    ]
    together = check(database.reader, several, live_scope)
    alone = [only(database.reader, one, live_scope) for one in several]
    assert [s.tally for s in together] == [s.tally for s in alone]


@given(st.integers(0, 2000), st.integers(0, 2000))
def test_status_words_agree_with_the_numbers(good, bad):
    """Exhausted means overspent, healthy means budget is left, no data means no number."""
    bins = pl.DataFrame(
        {
            "bin": [0],
            "good_low": [float(good)],
            "good_high": [float(good)],
            "attempted": [float(good + bad)],
            "undetermined": [0.0],
            "measured": [float(good)],
        }
    )
    found = status_of(slo(), Counted(bins, 300, NOW))
    if good + bad == 0:
        assert found.status == "no data"
    elif found.status == "exhausted":
        assert found.budget_left_ratio <= 1e-12
        assert bad >= 20
    elif found.status == "healthy":
        assert found.budget_left_ratio > 0
        assert found.met
    elif found.status == "too few events":
        assert good + bad < FEWEST_EVENTS or bad < 20


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000))
def test_bounds_never_claim_more_than_they_know(low, between, rest):
    """From buckets there is an interval and a verdict only where both ends agree."""
    attempted = low + between + rest
    bins = pl.DataFrame(
        {
            "bin": [0],
            "good_low": [float(low)],
            "good_high": [float(low + between)],
            "attempted": [float(attempted)],
            "undetermined": [0.0],
            "measured": [float(attempted)],
        }
    )
    found = status_of(slo(), Counted(bins, 300, NOW, "buckets"))
    if between > 0:
        assert found.attainment_ratio is None
        assert found.budget_left_ratio is None
    if found.met is True:
        assert low >= 0.9 * attempted * (1 - 1e-6)
    if found.met is False:
        assert low + between <= 0.9 * attempted * (1 + 1e-6)


def test_a_record_without_failures_cannot_show_availability(database, add_requests):
    """Published traces often hold successes only: 100 % of them is no news, and is not shown."""
    add_source = (
        "INSERT INTO source VALUES (2, 'trace', 'trace', 'azure', 'utc', NULL, NULL, NULL, NULL,"
        " NULL, TIMESTAMP '2026-01-01')"
    )
    database.writer.run(lambda c: c.execute(add_source)).result()
    add_requests([float(i + 1) for i in range(100)], source_id=2, ttft_seconds=0.5)
    trace = Scope((2,), NOW - timedelta(hours=1), NOW)
    found = only(database.reader, slo("availability"), trace)
    assert (found.status, found.attainment_ratio, found.met) == ("no data", None, None)
    assert "records no failures" in found.why
    assert only(database.reader, slo(), trace).attainment_ratio == 1.0
    view = fleet(database.reader, trace, slos=[slo("availability")])
    assert view.sentences[0].startswith("None of the 1 SLOs can be judged")
    assert view.measures["error_ratio"].value is None
    models = fleet_models(database.reader, trace, slos=[slo("availability")]).frames["models"]
    assert models["attainment_ratio"].null_count() == 1
