from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.fleet import fleet
from analysis.fleet_models import fleet_models
from analysis.fleet_part import (
    INSTANCES_SCHEMA,
    MODEL_LINES_SCHEMA,
    MODELS_SCHEMA,
    SPARKLINES_SCHEMA,
)
from analysis.fleet_reach import left_out
from analysis.instances import instance_name, outlier_scores, state
from analysis.slo_model import Slo
from analysis.verdict import PHASES_SCHEMA, SPENT_SCHEMA
from analysis.workload.views import workload_arrivals, workload_clients
from store.queries.scope import Scope

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TTFT = ((0.25, 0.5, 1.0), (10, 15, 19), 20, 8.0)
SLO = Slo("chat", "ttft", 0.9, 86_400.0, ttft_seconds=1.0)


def test_rows_give_rates_over_the_time_that_was_recorded(database, add_requests, live_scope):
    """A fleet that started an hour ago is not averaged over six."""
    add_requests(
        [float(i + 1) for i in range(3600)], input_tokens=100, output_tokens=10, ttft_seconds=0.5
    )
    view = fleet(database.reader, live_scope, slos=[SLO])
    assert view.measures["requests_per_second"].value == pytest.approx(1.0, rel=0.01)
    assert view.measures["output_tokens_per_second"].value == pytest.approx(10.0, rel=0.01)
    assert view.measures["ttft_p95_seconds"].value == pytest.approx(0.5, rel=0.022)
    assert view.measures["error_ratio"].value == 0.0
    assert view.measures["tpot_p95_seconds"].value is None
    assert view.measures["tpot_p95_seconds"].why == "these requests carry no TPOT"
    lines = view.frames["sparklines"]
    assert lines["requests_per_second"][0] is None
    assert lines["requests_per_second"][-1] == pytest.approx(1.0, rel=0.02)


def test_failed_requests_are_bad_not_fast(database, add_requests, live_scope):
    """Turning most requests away at once does not improve the latency that is shown."""
    add_requests([10.0 + i for i in range(20)], model="m", ttft_seconds=2.0)
    add_requests([40.0 + i for i in range(980)], model="m", status="refused", ttft_seconds=0.001)
    view = fleet(database.reader, live_scope, slos=[])
    assert view.measures["ttft_p95_seconds"].value == pytest.approx(2.0, rel=0.022)
    assert view.measures["ttft_p95_seconds"].n == 20
    assert view.measures["error_ratio"].value == 0.98
    models = fleet_models(database.reader, live_scope, slos=[])
    model = models.frames["models"].row(0, named=True)
    assert model["ttft_p95_seconds_low"] == pytest.approx(2.0, rel=0.022)


def test_requests_of_one_moment_have_no_rate(database, add_requests):
    """A trace whose requests share one stamp is not a million requests a second."""
    database.writer.run(
        lambda c: c.execute(
            "INSERT INTO source VALUES (2, 't', 'trace', 'mapped', 'utc', NULL, NULL, NULL, NULL,"
            " NULL, TIMESTAMP '2026-01-01')"
        )
    ).result()
    add_requests([5.0] * 3, source_id=2, input_tokens=10, output_tokens=5)
    scope = Scope((2,), NOW - timedelta(hours=1), NOW)
    measures = fleet(database.reader, scope, slos=[]).measures
    for name in ("requests_per_second", "input_tokens_per_second", "output_tokens_per_second"):
        assert (measures[name].value, measures[name].why) == (
            None,
            "all requests came at one moment",
        )
    assert workload_arrivals(database.reader, scope).measures["requests_per_second"].value is None


def test_both_pages_show_one_rate(database, add_requests, live_scope):
    """Requests ÷ covered time on the fleet and the workload page, filtered or not."""
    add_requests([10.0 + 50.0 * i for i in range(100)], tenant=["a"] * 10 + ["b"] * 90)
    quarter = Scope((1,), NOW - timedelta(minutes=15), NOW)
    for scope in (live_scope, quarter, replace(live_scope, tenants=("a",))):
        shown = fleet(database.reader, scope, slos=[]).measures["requests_per_second"]
        arrivals = workload_arrivals(database.reader, scope)
        assert arrivals.measures["requests_per_second"].value == shown.value
        assert arrivals.frames["sources"]["requests_per_second"].item() == shown.value
        clients = workload_clients(database.reader, scope).frames["clients"]
        assert clients["requests_per_second"].sum() == pytest.approx(shown.value)


def test_no_traffic_is_zero_requests_but_no_latency(database, add_requests, live_scope):
    """In a quiet stretch the rate is a true 0 and the latency unknown."""
    add_requests([3600.0, 1.0], ttft_seconds=0.5)
    quiet = fleet(database.reader, live_scope, slos=[]).frames["sparklines"].tail(8).head(5)
    assert quiet["requests_per_second"].to_list() == [0.0] * 5
    assert quiet["ttft_p95_seconds"].null_count() == 5
    assert quiet["error_ratio"].null_count() == 5


def test_workloads_are_models_with_their_worst_attainment(database, add_requests, live_scope):
    """A saturated model is not averaged into a healthy one, and comes first."""
    models = ["good" if i % 2 else "bad" for i in range(200)]
    add_requests(
        [float(i + 1) for i in range(200)],
        model=models,
        ttft_seconds=[0.5 if m == "good" else 0.1 * (i % 20) for i, m in enumerate(models)],
    )
    models = fleet_models(database.reader, live_scope, slos=[SLO]).frames["models"]
    assert models["workload"].to_list() == ["bad", "good"]
    assert models["attainment_ratio"][0] < models["attainment_ratio"][1] == 1.0
    assert models.columns == list(MODELS_SCHEMA)


def test_the_verdict_names_the_worst_slo_and_who_spent_it(database, add_requests, live_scope):
    """The first sentence says what is wrong, for whom, and since when."""
    models = ["a" if i % 4 else "b" for i in range(400)]
    add_requests(
        [5.0 * i + 1 for i in range(400)],
        model=models,
        ttft_seconds=[0.5 if m == "a" else 2.0 for m in models],
    )
    view = fleet(database.reader, live_scope, slos=[SLO])
    verdict, standing = view.sentences
    assert view.measures["objectives_in_trouble"].value == 1.0
    assert verdict.startswith("chat burns at 2.5x since 11:25 UTC; ")
    assert "100 % of the bad requests are model b, which is 25 % of the traffic" in verdict
    assert standing.startswith("chat is exhausted: 75 % of 400 attempted requests were good")


def test_scrapes_alone_give_rates_and_p95_bounds(database, add_target, live_scope):
    """Without request rows, the engines' counters and buckets speak, as intervals."""
    for number in (1, 2):
        add_target(
            f"http://gpu-{number}:8000/metrics",
            ttft_seconds=TTFT,
            requests_finished_total__stop=20,
            generation_tokens_total=100,
            prompt_tokens_total=500,
            requests_waiting=3,
            requests_running=5,
            kv_cache_usage_ratio=0.4,
        )
    view = fleet(database.reader, live_scope, slos=[])
    value = {name: measure.value for name, measure in view.measures.items()}
    assert value["requests_per_second"] == pytest.approx(4.0)
    assert value["input_tokens_per_second"] == pytest.approx(100.0)
    assert value["output_tokens_per_second"] == pytest.approx(20.0)
    assert value["error_ratio"] == 0.0
    assert (value["requests_waiting"], value["requests_running"]) == (6.0, 10.0)
    assert (value["instances_ready"], view.measures["instances_ready"].n) == (2.0, 2)
    p95 = view.measures["ttft_p95_seconds"]
    assert (p95.value, p95.low, p95.high) == (None, 0.5, 1.0)
    models = fleet_models(database.reader, live_scope, slos=[])
    model = models.frames["models"].row(0, named=True)
    assert (model["workload"], model["kv_cache_usage_ratio"]) == ("m", 0.4)
    assert (model["ttft_p95_seconds_low"], model["ttft_p95_seconds_high"]) == (0.5, 1.0)
    last = view.frames["sparklines"].row(-1, named=True)
    assert last["requests_waiting"] == pytest.approx(6.0)
    assert (last["ttft_p95_seconds"], last["ttft_p95_seconds_high"]) == (None, 1.0)
    assert view.frames["sparklines"].columns == list(SPARKLINES_SCHEMA)
    assert view.frames["instances"].columns == list(INSTANCES_SCHEMA)


def test_what_llama_cpp_does_not_export_is_said(database, add_target, live_scope):
    """No histogram, no KV gauge, no count of requests: unknown with the reason, never 0."""
    add_target(
        "http://box:8080/metrics",
        engine="llama.cpp",
        model=None,
        generation_tokens_total=50,
        requests_running=1,
    )
    view = fleet(database.reader, live_scope, slos=[])
    assert view.measures["output_tokens_per_second"].value == pytest.approx(5.0)
    for name in ("requests_per_second", "error_ratio", "ttft_p95_seconds", "requests_waiting"):
        assert view.measures[name].value is None
    assert view.measures["ttft_p95_seconds"].why.startswith("llama.cpp showed no TTFT histogram")
    (instance,) = view.frames["instances"].to_dicts()
    assert (instance["instance"], instance["kv_cache_usage_ratio"]) == ("box:8080", None)


def test_a_mixed_fleet_says_whom_its_numbers_leave_out(database, add_target, live_scope):
    """Rates, errors and latencies of one engine do not pass for those of the other."""
    add_target(
        "http://gpu-1:8000/metrics",
        ttft_seconds=TTFT,
        tpot_seconds=TTFT,
        requests_finished_total__stop=20,
        generation_tokens_total=100,
        prompt_tokens_total=500,
    )
    add_target("http://box:8080/metrics", engine="llama.cpp", generation_tokens_total=100)
    view = fleet(database.reader, live_scope, slos=[])
    assert view.measures["requests_per_second"].value == pytest.approx(2.0)
    why = {name: measure.why for name, measure in view.measures.items()}
    uncounted = "1 of 2 ready instances does not count finished requests"
    assert why["requests_per_second"] == why["error_ratio"] == uncounted
    assert why["input_tokens_per_second"] == "1 of 2 ready instances does not count input tokens"
    assert why["output_tokens_per_second"] is None
    for name in ("ttft", "tpot"):
        assert view.measures[f"{name}_p95_seconds"].high == 1.0
        assert why[f"{name}_p95_seconds"].endswith(
            f"1 of 2 ready instances does not show a {name.upper()} histogram"
        )
    (sentence,) = view.sentences
    assert f"2 requests/s among those that count them ({uncounted})" in sentence


def test_a_fleet_of_one_kind_leaves_nobody_out(database, add_target, live_scope):
    """Instances that are away are said by `instances_ready`, not by every number."""
    add_target("http://gpu-1:8000/metrics", requests_finished_total__stop=20)
    add_target("http://gpu-2:8000/metrics", requests_finished_total__stop=20)
    add_target("http://gpu-3:8000/metrics", last_failed=360)
    view = fleet(database.reader, live_scope, slos=[])
    assert view.measures["requests_per_second"].value == pytest.approx(4.0)
    assert view.measures["requests_per_second"].why is None


def test_exporters_and_gateways_are_no_instances(database, add_target, live_scope):
    """A card exporter beside an engine does not make the fleet larger."""
    add_target("http://gpu-1:8000/metrics")
    add_target("http://gpu-1:9400/metrics", engine="dcgm-exporter", model=None)
    add_target("http://edge:4000/metrics", engine="litellm", model=None)
    view = fleet(database.reader, live_scope, slos=())
    assert view.frames["instances"]["instance"].to_list() == ["gpu-1:8000"]
    assert view.measures["instances_ready"].n == 1


def test_an_instance_that_was_just_added_is_not_called_blind():
    """One scrape gives no rate yet; that is another thing than an engine that cannot count."""
    targets = pl.DataFrame({"target_id": [1, 2, 3], "state": ["ready"] * 3})
    assert left_out(targets, "requests_finished_total", {1}, {1, 2}) == (
        "1 of 3 ready instances does not count finished requests; 1 of 3 needs a second scrape"
    )


def test_an_unreachable_instance_is_never_hidden(database, add_target, live_scope):
    """It stays in the table with the reason, and the verdict names it."""
    add_target("http://gpu-1:8000/metrics", requests_waiting=1)
    add_target("http://gpu-2:8000/metrics", requests_waiting=1, last_failed=5)
    view = fleet(database.reader, live_scope, slos=[])
    states = dict(view.frames["instances"].select("instance", "state").iter_rows())
    assert states == {"gpu-1:8000": "ready", "gpu-2:8000": "unreachable"}
    assert view.measures["instances_ready"].value == 1
    assert view.measures["requests_waiting"].value == 1.0
    assert view.measures["requests_waiting"].why == "1 of 2 instances unknown"
    assert view.sentences[0].startswith("gpu-2:8000 is unreachable: connection refused")


def test_a_trace_page_shows_no_live_instances(database, add_target):
    """Live targets never leak into the clock of a trace."""
    add_target("http://gpu-1:8000/metrics", requests_waiting=1)
    database.writer.run(
        lambda c: c.execute(
            "INSERT INTO source VALUES (2, 't', 'trace', 'azure', 'utc', NULL, NULL, NULL, NULL,"
            " NULL, TIMESTAMP '2026-01-01')"
        )
    ).result()
    scope = Scope((2,), NOW - timedelta(hours=1), NOW)
    view = fleet(database.reader, scope, slos=[SLO])
    assert view.frames["instances"].is_empty()
    assert view.empty.kind == "nothing_connected"


def test_filters_narrow_live_instances(database, add_target, live_scope):
    """A filter on one model leaves the other instances out; a tenant filter leaves all out."""
    add_target("http://gpu-1:8000/metrics", model="a")
    add_target("http://gpu-2:8000/metrics", model="b")
    chosen = Scope((1,), live_scope.start, live_scope.end, models=("b",))
    view = fleet(database.reader, chosen, slos=[])
    assert view.frames["instances"]["instance"].to_list() == ["gpu-2:8000"]
    nobody = Scope((1,), live_scope.start, live_scope.end, tenants=("x",))
    assert fleet(database.reader, nobody, slos=[]).frames["instances"].is_empty()


def test_without_slos_the_verdict_does_not_claim_health(database, add_requests, live_scope):
    """Nobody said what is good enough, so nothing is called healthy."""
    add_requests([1.0, 2.0, 3.0], ttft_seconds=0.5)
    view = fleet(database.reader, live_scope, slos=[])
    (sentence,) = view.sentences
    assert sentence.startswith("No SLO is defined")
    assert view.measures["objectives_in_trouble"].value is None


@pytest.mark.parametrize(
    ("age", "outcome", "word"),
    [
        (5, "ok", "ready"),
        (31, "ok", "stale"),
        (5, "timeout", "unreachable"),
        (None, None, "waiting"),
    ],
)
def test_instance_states(age, outcome, word):
    """Ready needs a fresh scrape that worked; three missed intervals are stale."""
    end = datetime(2026, 3, 1, 12)
    last = None if age is None else end - timedelta(seconds=age)
    assert state(last, outcome, "x", last, 10.0, end)[0] == word


def test_outliers_need_three_peers():
    """Of two instances nobody can say which one is odd."""
    assert outlier_scores([1.0, 9.0]) == [None, None]
    scores = outlier_scores([1.0, 1.1, 0.9, 9.0, None])
    assert scores[3] > 3.5 > max(scores[:3])
    assert scores[4] is None
    assert outlier_scores([1.0, 1.0, 1.0]) == [0.0, 0.0, 0.0]
    assert outlier_scores([1.0, 1.0, 1.0, 5.0])[3] > 3


@given(
    st.lists(st.integers(0, 10**6), min_size=3, max_size=20), st.sampled_from([1 / 1024, 1024.0])
)
def test_outlier_scores_do_not_depend_on_the_unit(values, factor):
    """Seconds or milliseconds, the same instance stands out."""
    first = outlier_scores(values)
    second = outlier_scores([value * factor for value in values])
    assert first == pytest.approx(second, rel=1e-6, abs=1e-6)


def test_instances_are_called_by_host_and_port():
    """The name on the page is what people type."""
    assert instance_name("http://gpu-3:8000/metrics") == "gpu-3:8000"
    assert instance_name("gpu-3") == "gpu-3"


def test_empty_frames_have_all_columns(database, live_scope):
    """An empty store gives the frames of the contract, empty."""
    view = fleet(database.reader, live_scope, slos=[])
    assert view.empty.kind == "nothing_connected"
    assert {name: frame.columns for name, frame in view.frames.items()} == {
        "sparklines": list(SPARKLINES_SCHEMA),
        "instances": list(INSTANCES_SCHEMA),
        "budget_line": ["at", "budget_left_ratio"],
        "ready_line": ["at", "instances_ready"],
        "events": ["at", "kind", "text"],
        "contributors": list(SPENT_SCHEMA),
        "phases": list(PHASES_SCHEMA),
    }
    assert isinstance(view.frames["events"].schema["at"], pl.Datetime)
    models = fleet_models(database.reader, live_scope, slos=[])
    assert models.empty.kind == "nothing_connected"
    assert {name: frame.columns for name, frame in models.frames.items()} == {
        "models": list(MODELS_SCHEMA),
        "model_lines": list(MODEL_LINES_SCHEMA),
    }
