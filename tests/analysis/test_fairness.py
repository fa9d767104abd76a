"""The fairness view: verdict, table, and what it does not claim to know."""

from __future__ import annotations

import polars as pl
import pytest

from analysis.fairness import fairness
from analysis.fairness_interference import fairness_interference
from analysis.findings import workload_findings
from analysis.slo_model import Slo
from store.errors import InputError
from store.queries.scope import Scope

ANSWER = 4.0
"""Seconds from first token to end in `overload`."""


@pytest.fixture
def overload(add_requests):
    """Two tenants who always wait; `busy` gets three answers where `calm` gets one."""

    def add(**columns):
        places = range(200)
        ago = [1000.0 - 4 * k for k in places]
        tenant = ["calm" if k % 4 == 0 else "busy" for k in places]
        add_requests(ago, tenant=tenant, input_tokens=100, output_tokens=50, ttft_seconds=60.0,
                     e2e_seconds=60.0 + ANSWER, **columns)  # fmt: skip

    return add


def row(view, tenant):
    return view.frames["tenants"].filter(pl.col("tenant") == tenant).row(0, named=True)


def over_alone(database, scope):
    """Tenant to how many times as long its requests took."""
    frame = fairness_interference(database.reader, scope).frames["alone"]
    return dict(frame.select("tenant", "finish_time_factor").rows())


def test_who_was_held_back_is_named(database, overload, live_scope):
    """Both wait all the time and one gets three times as much: that is said first."""
    overload()

    view = fairness(database.reader, live_scope)

    assert view.sentences[0].startswith("busy got 1.4x its fair share while calm waited, which got")
    assert row(view, "calm")["of_fair_share"] == pytest.approx(0.54, abs=0.01)
    assert row(view, "busy")["service_share_ratio"] == pytest.approx(0.75, abs=0.01)
    assert view.measures["jain_index"].value == pytest.approx(0.83, abs=0.02)
    assert view.measures["jain_index"].n == 2
    assert view.measures["max_min_share"].value == pytest.approx(0.37, abs=0.03)


def test_a_weight_makes_the_same_service_fair(database, overload, live_scope):
    """Three times the service is the share of a tenant of three times the weight."""
    overload()

    view = fairness(database.reader, live_scope, weights="busy:3")

    assert view.sentences[0].startswith("No unfairness found among 2 tenants with demand")
    assert view.measures["jain_index"].value == pytest.approx(1, abs=0.01)


def test_weights_are_those_that_the_gateway_told(database, overload, live_scope):
    """Rows of the gateway carry the weight of their tenant; the option beats it."""
    overload(tenant_weight=[1.0 if k % 4 == 0 else 3.0 for k in range(200)])

    view = fairness(database.reader, live_scope)

    assert row(view, "busy")["weight"] == 3
    assert view.sentences[0].startswith("No unfairness found")
    assert row(fairness(database.reader, live_scope, weights="busy:1"), "busy")["weight"] == 1


def test_the_bound_is_unknown_until_somebody_tells_the_size_of_a_batch(
    database, overload, live_scope
):
    """Without an engine's signal there is no bound, and the view says how to give one."""
    overload()

    unknown = fairness(database.reader, live_scope).measures["gap_bound_tokens"]
    known = fairness(database.reader, live_scope, batch_tokens="500")

    assert unknown.value is None
    assert "batch_tokens" in str(unknown.why)
    assert known.measures["gap_bound_tokens"].value == 2000
    assert known.frames["gap"]["is_breach"].any()
    assert any("beyond the 2,000 that fair queueing (VTC) never exceeds" in s
               for s in known.sentences)  # fmt: skip


def test_the_bound_comes_from_the_signals_of_the_engines(
    database, overload, add_target, live_scope
):
    """Two engines hold twice as much as one; blocks are turned into tokens."""
    overload()
    add_target("http://one", kv_cache_capacity_tokens=10_000)
    add_target("http://two", kv_cache_capacity_blocks=1_000, kv_cache_block_tokens=16)

    view = fairness(database.reader, live_scope)

    assert view.measures["gap_bound_tokens"].value == 2 * 2 * 26_000
    assert not view.frames["gap"]["is_breach"].any()


def test_who_asks_for_nothing_is_not_starved(database, add_requests, live_scope):
    """A tenant that stopped long before the others is not behind them."""
    add_requests([3000.0 - k for k in range(50)], tenant="idle", input_tokens=100,
                 output_tokens=50, ttft_seconds=0.2, e2e_seconds=2.0)  # fmt: skip
    add_requests([1000.0 - k for k in range(900)], tenant="busy", input_tokens=100,
                 output_tokens=50, ttft_seconds=0.2, e2e_seconds=2.0)  # fmt: skip

    view = fairness(database.reader, live_scope)

    assert view.sentences[0] == (
        "No unfairness found among 2 tenants with demand: nobody had to wait."
    )
    assert row(view, "idle")["of_fair_share"] == pytest.approx(1)
    assert view.measures["gap_max_tokens"].value is None
    assert view.measures["windowed_difference_max"].value == pytest.approx(0, abs=2.5)


def test_one_tenant_shares_with_nobody(database, add_requests, live_scope):
    """Measures of fairness are unknown, with the reason; the table is there."""
    add_requests([float(k) for k in range(1, 60)], tenant="alone", input_tokens=10,
                 output_tokens=5, ttft_seconds=3.0, e2e_seconds=4.0)  # fmt: skip

    view = fairness(database.reader, live_scope)

    assert view.sentences[0] == "Only one tenant is known, alone: there is nobody to share with."
    for name in ("jain_index", "max_min_share", "gap_max_tokens", "windowed_difference_mean"):
        assert view.measures[name].value is None
        assert view.measures[name].why
    assert row(view, "alone")["requests"] == 59


def test_without_a_tenant_it_tells_how_to_name_one(database, add_requests, live_scope):
    """Requests that name nobody are no fairness of zero tenants."""
    add_requests([5.0], input_tokens=1, output_tokens=1)

    empty = fairness(database.reader, live_scope).empty

    assert empty is not None
    assert empty.kind == "metric_absent"
    for way in ("API key", "x-llm-d-inference-fairness-id", "`user`"):
        assert way in empty.text


def test_nothing_connected_is_said_as_on_every_page(database, live_scope):
    """An empty store has no tenants because it has nothing."""
    empty = fairness(database.reader, live_scope).empty

    assert empty is not None
    assert empty.kind == "nothing_connected"


def test_records_without_times_claim_no_waiting(database, add_requests, live_scope):
    """Sizes alone tell who asked for how much, not who was held back."""
    add_requests([float(k) for k in range(1, 100)], tenant=["a", "b", "b"] * 33,
                 input_tokens=10, output_tokens=5)  # fmt: skip

    view = fairness(database.reader, live_scope)

    assert "do not tell how long requests waited" in view.sentences[0]
    assert view.measures["gap_max_tokens"].value is None
    assert view.measures["jain_index"].value is None
    assert row(view, "a")["waiting_ratio"] is None
    assert row(view, "a")["of_fair_share"] is None
    assert view.frames["service"]["requests_waiting"].null_count() == view.frames["service"].height


def test_refused_requests_are_told_beside_the_difference(database, overload, add_requests,
                                                         live_scope):  # fmt: skip
    """Refusing makes the artifact's difference smaller, so it is said who was refused."""
    overload()
    add_requests([900.0 - k for k in range(300)], tenant="calm", status="refused",
                 input_tokens=100, output_tokens=50)  # fmt: skip

    view = fairness(database.reader, live_scope)

    assert view.measures["refused"].value == 300
    assert any("were refused, most of calm (300 of 350)" in text for text in view.sentences)
    plain = view.measures["windowed_difference_mean"].value
    counted = view.measures["windowed_difference_with_refused_mean"].value
    assert plain is not None
    assert counted is not None
    assert counted > plain


def test_cached_tokens_have_a_rate_of_their_own(database, add_requests, live_scope):
    """Prompt tokens found in the cache count as their weight says."""
    add_requests([50.0], tenant="a", input_tokens=100, cached_tokens=60, output_tokens=10,
                 ttft_seconds=1.0, e2e_seconds=2.0)  # fmt: skip

    full = fairness(database.reader, live_scope, cached_weight="1")
    free = fairness(database.reader, live_scope, cached_weight="0", output_weight="3")

    assert row(full, "a")["demand_tokens"] == 120
    assert row(free, "a")["demand_tokens"] == 70


def test_attainment_has_intervals_and_a_gap_with_enough_events(database, add_requests, live_scope):
    """Best less worst tenant, only of those with 30 judged requests."""
    for tenant, count, good in (("good", 100, 99), ("bad", 100, 60), ("few", 3, 0)):
        ttft = [0.5] * good + [5.0] * (count - good)
        add_requests([100.0 + k for k in range(count)], tenant=tenant, ttft_seconds=ttft,
                     e2e_seconds=6.0, input_tokens=10, output_tokens=10)  # fmt: skip
    slo = Slo("fast", "ttft", 0.9, 3600.0, ttft_seconds=1.0)

    view = fairness(database.reader, live_scope, slos=(slo,))

    gap = view.measures["attainment_gap_ratio"]
    assert gap.value == pytest.approx(0.39)
    assert gap.low is not None
    assert 0 < gap.low < 0.39
    assert gap.n == 100
    assert row(view, "few")["attainment_ratio"] == 0
    assert any(text.startswith("fast: met for 99.0 % of the requests of good")
               for text in view.sentences)  # fmt: skip


def test_times_alone_come_from_quiet_stretches(database, add_requests, live_scope):
    """Where requests of this length were served next to nobody, slowness has a factor."""
    add_requests([20_000.0 - 30 * k for k in range(40)], tenant="a", input_tokens=100,
                 output_tokens=11, ttft_seconds=1.0, e2e_seconds=2.0)  # fmt: skip
    add_requests([2_000.0 - k / 10 for k in range(400)], tenant="b", input_tokens=100,
                 output_tokens=11, ttft_seconds=3.0, e2e_seconds=6.0)  # fmt: skip

    found = over_alone(database, live_scope)

    assert list(found) == ["b", "a"]
    assert found["a"] == pytest.approx(1)
    assert found["b"] == pytest.approx(3, rel=0.05)


def test_times_alone_are_unknown_without_a_quiet_stretch(database, overload, live_scope):
    """Always loaded: nobody knows how long it would have taken."""
    overload()

    assert over_alone(database, live_scope) == {}


def test_many_tenants_are_drawn_as_a_few_and_others(database, add_requests, live_scope):
    """Pictures show the largest; shares of one moment add up to all."""
    for number in range(12):
        add_requests([100.0 + 5 * k for k in range(40)], tenant=f"t{number:02}",
                     input_tokens=10 * (number + 1), output_tokens=5, ttft_seconds=2.0,
                     e2e_seconds=4.0)  # fmt: skip

    view = fairness(database.reader, live_scope, shown="3")

    service = view.frames["service"]
    assert service["tenant"].unique().sort().to_list() == ["others", "t09", "t10", "t11"]
    sums = service.group_by("at").agg(pl.col("service_share_ratio").sum())["service_share_ratio"]
    assert sums.filter(sums > 0).round(6).unique().to_list() == [1.0]
    assert view.frames["tenants"].height == 12


def test_interference_says_how_others_fared_by_the_share_of_one(database, add_requests, live_scope):
    """While `noisy` had nearly everything, others waited longer for their first token."""
    for start, noisy, quiet in ((18_000.0, 1, 0.5), (9_000.0, 20, 4.0)):
        add_requests([start - 2 * k for k in range(600)], tenant="calm", input_tokens=100,
                     output_tokens=10, ttft_seconds=quiet, e2e_seconds=quiet + 1)  # fmt: skip
        add_requests([start - 2 * k / noisy for k in range(600 * noisy)], tenant="noisy",
                     input_tokens=100, output_tokens=10, ttft_seconds=0.3,
                     e2e_seconds=1.0)  # fmt: skip

    found = fairness_interference(database.reader, live_scope).frames["interference"]

    noisy = found.filter(pl.col("tenant") == "noisy").sort("share_low_ratio")
    medians = noisy.drop_nulls("others_ttft_p50_seconds")["others_ttft_p50_seconds"]
    assert medians[0] == pytest.approx(0.5, rel=0.03)
    assert medians[-1] == pytest.approx(4.0, rel=0.03)
    assert (noisy["requests"] >= 0).all()


def test_requests_of_nobody_are_load_and_no_share(database, overload, add_requests, live_scope):
    """They are counted in a sentence, never as a tenant."""
    overload()
    add_requests([50.0], input_tokens=10, output_tokens=5)

    view = fairness(database.reader, live_scope)

    assert view.frames["tenants"]["tenant"].to_list() == ["busy", "calm"]
    assert any(text.startswith("1 requests name no tenant") for text in view.sentences)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("input_weight", "x", "input_weight is 'x'"),
        ("output_weight", "-1", "output_weight is '-1'"),
        ("cached_weight", "nan", "cached_weight is 'nan'"),
        ("window", "soon", "'soon' is not a duration"),
        ("window", "0s", "window is 0"),
        ("weights", "a", "'a' is no weight"),
        ("weights", "a:0", "the weight of a is 0"),
        ("shown", "2.5", "shown is '2.5'"),
        ("shown", "0", "shown is '0'"),
        ("slo", "nope", "no SLO 'nope'"),
    ],
)
def test_bad_options_are_one_clear_line(database, overload, live_scope, option, value, said):
    """What is wrong, and what to write instead."""
    overload()

    with pytest.raises(InputError, match="^" + said.replace("'", ".")) as caught:
        fairness(database.reader, live_scope, **{option: value})
    assert caught.value.hint


def test_weights_and_windows_of_any_digits(database, overload, live_scope):
    """Long fractions are numbers like any other."""
    overload()
    crooked = Scope((1,), live_scope.start.replace(microsecond=333_333), live_scope.end)

    view = fairness(database.reader, crooked, input_weight="0.12345678901234567",
                    window="7s", output_weight="1e-9")  # fmt: skip

    assert row(view, "busy")["demand_tokens"] == pytest.approx(150 * 12.345678901)


def test_a_range_with_nothing_served_in_it(database, overload, live_scope):
    """A later range has no requests: the page says so and does not call it fair."""
    overload()
    later = Scope((1,), live_scope.end, live_scope.end.replace(hour=13))

    view = fairness(database.reader, later)

    assert view.empty is not None
    assert view.empty.kind == "outside_range"


def test_unfairness_is_a_finding_with_a_command_to_go_on(database, overload, live_scope):
    """The list of findings says what the page says, and where to look."""
    overload()

    found = workload_findings(database.reader, live_scope).frames["findings"]

    unfair = found.filter(pl.col("sentence").str.contains("its fair share while calm waited"))
    assert unfair.height == 1
    assert unfair["command"][0] == "servescope fairness --source live"
    assert unfair["score"][0] > 1
    assert "n = 2 tenants" in unfair["evidence"][0]


def test_fair_tenants_are_no_finding(database, add_requests, live_scope):
    """Two that wait alike and get alike."""
    add_requests([1000.0 - 4 * k for k in range(200)], tenant=["a", "b"] * 100, input_tokens=100,
                 output_tokens=50, ttft_seconds=60.0, e2e_seconds=64.0)  # fmt: skip

    found = workload_findings(database.reader, live_scope).frames["findings"]

    assert not found["sentence"].str.contains("fair share").any()


TWICE = {"input_tokens": 100, "attempt": [1, 2], "is_counted": [False, True], "tenant": "a"}


def add_others(add_requests):
    """Forty of each of two tenants."""
    add_requests([100.0 + k for k in range(80)], tenant=["a", "b"] * 40, input_tokens=100,
                 output_tokens=50, ttft_seconds=3.0, e2e_seconds=4.0)  # fmt: skip


@pytest.mark.parametrize("status", ["failed", "aborted"])
def test_a_request_that_was_tried_twice_is_one(database, add_requests, live_scope, status):
    """One request, by its last attempt; what the first one produced was served all the same."""
    add_others(add_requests)
    add_requests([90.0, 90.0], **TWICE, status=[status, "ok"], output_tokens=[20, 50],
                 queue_seconds=[1.0, 5.0], ttft_seconds=[2.0, 6.0],
                 e2e_seconds=[4.0, 8.0])  # fmt: skip

    found = row(fairness(database.reader, live_scope), "a")

    assert (found["requests"], found["failed"], found["refused"]) == (41, 0, 0)
    assert found["demand_tokens"] == pytest.approx(41 * 200 + 140)
    assert found["service_tokens"] == pytest.approx(41 * 200 + 140)
    assert found["waited_mean_seconds"] == pytest.approx((40 * 2 + 5) / 41)


def test_an_attempt_of_which_nothing_came_was_no_service(database, add_requests, live_scope):
    """The prompt of a request whose first engine did not answer is counted once."""
    add_others(add_requests)
    add_requests([90.0, 90.0], **TWICE, status=["failed", "ok"], output_tokens=[0, 50],
                 ttft_seconds=[None, 6.0], e2e_seconds=[4.0, 8.0])  # fmt: skip

    assert row(fairness(database.reader, live_scope), "a")["service_tokens"] == 41 * 200


def test_a_request_that_waits_again_waits_once(database, add_requests, live_scope):
    """Its two rows tell of the same place in the line."""
    add_others(add_requests)
    add_requests([2000.0, 2000.0], **TWICE, status=["failed", "ok"], output_tokens=[0, 50],
                 queue_seconds=[30.0, 600.0], e2e_seconds=[60.0, 700.0])  # fmt: skip

    service = fairness(database.reader, live_scope).frames["service"]

    assert service["requests_waiting"].max() == 1


def test_the_last_attempt_says_how_a_request_ended(database, add_requests, live_scope):
    """One that failed and then found no replica was refused, once; attainment counts it once."""
    add_others(add_requests)
    add_requests([90.0, 90.0], **TWICE, status=["failed", "refused"], e2e_seconds=[4.0, 9.0])
    slo = Slo("done", "availability", 0.9, 3600.0)

    found = row(fairness(database.reader, live_scope, slos=(slo,)), "a")

    assert (found["requests"], found["failed"], found["refused"]) == (41, 0, 1)
    assert found["judged"] == 41
    assert found["attainment_ratio"] == pytest.approx(40 / 41)
