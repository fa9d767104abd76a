"""Every second of GPU time goes to exactly one line, and money is never made up."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.cost import cost
from analysis.cost_lanes import COURSE_SCHEMA, KINDS
from analysis.cost_lines import lines
from analysis.cost_rules import CostRules, PoolRule
from analysis.slo_model import Slo
from store.queries.scope import Scope

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = Scope((1,), NOW - timedelta(hours=1), NOW)
PRICED = CostRules("EUR", {"*h100*": 4.0}, gpus={"m": 2}, pools=())
names = st.sampled_from(["a", "b", "c"])
maybe = st.one_of(st.none(), names)
amounts = st.floats(0, 1e6)
courses = st.lists(st.tuples(names, maybe, names, st.sampled_from(KINDS), amounts), max_size=12)
services = st.lists(st.tuples(maybe, maybe, maybe, amounts), max_size=12)


def course_of(rows):
    at = NOW.replace(tzinfo=None)
    table = [
        (pool, model, instance, at, kind, spent) for pool, model, instance, kind, spent in rows
    ]
    return pl.DataFrame(table, schema=COURSE_SCHEMA, orient="row")


def service_of(rows):
    schema = {"instance": pl.String, "model": pl.String, "tenant": pl.String, "service": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row").unique(
        ["instance", "model", "tenant"], maintain_order=True
    )


@given(rows=courses, served=services)
def test_lines_are_a_partition_of_the_gpu_time(rows, served):
    """Whoever asked for what: nothing is counted twice, nothing is lost, for each kind and pool."""
    made = lines(course_of(rows), service_of(served))
    for kind in KINDS:
        for pool in "abc":
            whole = sum(r[4] for r in rows if (r[0], r[3]) == (pool, kind)) / 3600
            found = made.filter((pl.col("kind") == kind) & (pl.col("pool") == pool))
            assert found["gpu_hours"].sum() == pytest.approx(whole, rel=1e-9, abs=1e-9)
    assert (
        made.filter(pl.col("kind") != "busy")["tenant"].null_count()
        == made.filter(pl.col("kind") != "busy").height
    )


def test_busy_time_follows_the_tokens_of_the_instance_then_of_the_model():
    """Rows that name their instance count there; others for instances that no row names."""
    rows = [("p", "m", "x", "busy", 3600.0), ("p", "m", "y", "busy", 3600.0)]
    served = [("x", "m", "t1", 30.0), ("x", "m", "t2", 10.0), (None, "m", "t3", 5.0)]
    made = lines(course_of(rows), service_of(served))
    assert dict(made.select("tenant", "gpu_hours").iter_rows()) == {
        "t1": 0.75, "t2": 0.25, "t3": 1.0
    }  # fmt: skip


@pytest.fixture
def fleet(add_target, add_requests):
    """Two replicas for an hour: one always busy, one never; two tenants on the first."""
    add_target("http://gpu-1:8000/metrics", requests_running=3)
    add_target("http://gpu-2:8000/metrics", requests_running=0)
    add_requests([float(i + 1) for i in range(400)], instance="gpu-1:8000", model="m",
                 tenant=["a"] * 300 + ["b"] * 100, input_tokens=100, output_tokens=50,
                 ttft_seconds=[0.5] * 200 + [5.0] * 200)  # fmt: skip


def test_gpu_hours_of_what_ran_with_idle_as_a_line(database, fleet):
    """Two replicas of one card for an hour are two GPU-hours, half of them idle."""
    view = cost(database.reader, HOUR)
    value = {name: measure.value for name, measure in view.measures.items()}
    assert value["gpu_hours"] == pytest.approx(2.0, rel=0.01)
    assert value["idle_ratio"] == pytest.approx(0.5, abs=0.01)
    kinds = {row["kind"]: row["gpu_hours"] for row in view.frames["kinds"].to_dicts()}
    assert kinds["idle"] == pytest.approx(1.0, rel=0.01)
    assert sum(filter(None, kinds.values())) == pytest.approx(value["gpu_hours"])
    for frame in ("pools", "models", "tenants", "lines", "course"):
        assert view.frames[frame]["gpu_hours"].sum() == pytest.approx(value["gpu_hours"]), frame
    tenants = {(r["tenant"], r["kind"]): r["gpu_hours"] for r in view.frames["tenants"].to_dicts()}
    assert tenants["a", "busy"] == pytest.approx(3 * tenants["b", "busy"])
    assert tenants[None, "idle"] == kinds["idle"]


def test_without_a_price_there_is_no_money_and_it_is_said_why(database, fleet):
    """GPU-hours stay; every number in money is unknown with the reason."""
    view = cost(database.reader, HOUR)
    for name in ("cost", "idle_cost", "cost_per_request", "cost_per_million_output_tokens"):
        assert view.measures[name].value is None
        assert "cost.currency is not set" in view.measures[name].why
    assert view.frames["pools"]["cost"].null_count() == view.frames["pools"].height
    assert "what they cost is not known" in view.sentences[0]
    assert any("One card a replica is assumed of m" in text for text in view.sentences)


def test_prices_cards_and_objectives_give_cost_by_token_and_request(database, fleet):
    """Idle time is in what a token costs; tokens weigh as their service does."""
    rules = CostRules("EUR", pool_gpu_hour={"m": 4.0}, gpus={"m": 2})
    slo = Slo("first", "ttft", 0.9, 3600.0, ttft_seconds=1.0)
    view = cost(database.reader, HOUR, slos=[slo], costs=rules)
    value = {name: measure.value for name, measure in view.measures.items()}
    assert value["gpu_hours"] == pytest.approx(4.0, rel=0.01)
    assert value["cost"] == pytest.approx(16.0, rel=0.01)
    assert value["idle_cost"] == pytest.approx(8.0, rel=0.01)
    assert value["cost_per_request"] == pytest.approx(value["cost"] / 400)
    assert value["cost_per_met_request"] == pytest.approx(value["cost"] / 200)
    tokens_in, tokens_out = 400 * 100, 400 * 50
    both = (value["cost_per_million_input_tokens"] * tokens_in
            + value["cost_per_million_output_tokens"] * tokens_out) / 1e6  # fmt: skip
    assert both == pytest.approx(value["cost"])
    assert value["cost_per_million_output_tokens"] == pytest.approx(
        2 * value["cost_per_million_input_tokens"]
    )
    assumed = view.frames["assumed"].row(0, named=True)
    assert (assumed["gpus"], assumed["gpus_from"], assumed["price_from"]) == (
        2.0, "cost.gpus", "cost.pool_gpu_hour"
    )  # fmt: skip


def test_a_pool_without_a_price_makes_the_sum_a_bound(database, add_target):
    """What is known of it is a lower bound, not a total."""
    add_target("http://gpu-1:8000/metrics", model="m", requests_running=1)
    add_target("http://gpu-2:8000/metrics", model="other", requests_running=1)
    rules = CostRules("EUR", pool_gpu_hour={"m": 4.0})
    measure = cost(database.reader, HOUR, costs=rules).measures["cost"]
    assert measure.value is None
    assert measure.low == pytest.approx(4.0, rel=0.01)
    assert measure.why.startswith("no price for other: ")


def test_an_instance_counts_as_long_as_it_answered(database, add_target):
    """Half an hour of failed scrapes is half an hour that nobody saw it run."""
    add_target("http://gpu-1:8000/metrics", requests_running=1, last_failed=180)
    assert cost(database.reader, HOUR).measures["gpu_hours"].value == pytest.approx(0.5, rel=0.02)


def test_an_engine_that_tells_no_load_is_neither_busy_nor_idle(database, add_target):
    """Unknown is a line of its own."""
    add_target("http://gpu-1:8000/metrics", kv_cache_usage_ratio=0.5)
    view = cost(database.reader, HOUR)
    kinds = {row["kind"]: row["gpu_hours"] for row in view.frames["kinds"].to_dicts()}
    assert kinds["untold"] == pytest.approx(1.0, rel=0.01)
    assert view.measures["idle_ratio"].why.startswith("of 1 GPU-hours nobody tells")


def test_one_engine_behind_two_doors_runs_once(database, add_target):
    """Scraped and pushed at the same time it is one replica."""
    add_target("http://gpu-1:8000/metrics", requests_running=1)
    add_target("remote-write://vllm/gpu-1:8000", requests_running=1)
    assert cost(database.reader, HOUR).measures["gpu_hours"].value == pytest.approx(1.0, rel=0.01)


def test_starts_are_a_line_of_their_own(database, add_target):
    """Ten minutes from the container to ready, before it answered: none of it idle."""
    add_target("http://gpu-1:8000/metrics", requests_running=1)
    began = (NOW - timedelta(minutes=80)).replace(tzinfo=None)
    rows = {
        "instance": ["gpu-1:8000", "gpu-1:8000"], "model": ["m", "m"], "node": ["n", "n"],
        "phase": ["container", "ready"], "evidence": ["log", "log"],
        "started_at": [began, began + timedelta(minutes=10)],
        "ended_at": [began + timedelta(minutes=10), began + timedelta(minutes=10)],
        "cache_state": [None, None],
    }  # fmt: skip
    database.writer.append("instance_start", pl.DataFrame(rows)).result()
    wide = Scope((1,), NOW - timedelta(hours=2), NOW)
    kinds = dict(
        cost(database.reader, wide).frames["kinds"].select("kind", "gpu_hours").iter_rows()
    )
    assert kinds["starting"] == pytest.approx(10 / 60)
    assert kinds["busy"] == pytest.approx(1.0, rel=0.01)


def test_energy_comes_from_the_counter_or_from_power(database, add_target):
    """A card of 400 W for an hour takes 0.4 kWh; with tokens, joules a token follow."""
    add_target("gpu://node-1", engine=None, model=None, gpu_power_watts=400.0)
    add_target("http://node-1:8000/metrics", requests_running=1, generation_tokens_total=100)
    rules = CostRules("EUR", energy_per_kwh=0.5)
    view = cost(database.reader, HOUR, costs=rules)
    value = {name: measure.value for name, measure in view.measures.items()}
    assert value["energy_kwh"] == pytest.approx(0.4, rel=0.01)
    assert value["energy_cost"] == pytest.approx(0.2, rel=0.01)
    assert value["joules_per_output_token"] == pytest.approx(400 / 10, rel=0.01)


def test_the_period_before_stands_beside_it(database, add_target):
    """Half as long before: the change is told, and unknown where nothing was."""
    add_target("http://gpu-1:8000/metrics", requests_running=1)
    last = Scope((1,), NOW - timedelta(minutes=40), NOW)
    rows = {r["quantity"]: r for r in cost(database.reader, last).frames["trend"].to_dicts()}
    assert rows["gpu_hours"]["change_ratio"] == pytest.approx(1.0, rel=0.05)
    hour = {r["quantity"]: r for r in cost(database.reader, HOUR).frames["trend"].to_dicts()}
    assert (hour["gpu_hours"]["before"], hour["gpu_hours"]["change_ratio"]) == (None, None)


def test_each_empty_state_says_which_it_is(database, add_requests, add_target, live_scope):
    """A trace, nothing connected, requests without engines, and too late a range."""
    reader = database.reader
    assert cost(reader, Scope((2,), HOUR.start, HOUR.end)).empty.kind == "metric_absent"
    assert cost(reader, HOUR).empty.kind == "nothing_connected"
    add_requests([10.0], input_tokens=1, output_tokens=1)
    assert "No engine was scraped" in cost(reader, HOUR).empty.text
    add_target("http://gpu-1:8000/metrics", requests_running=1)
    late = Scope((1,), NOW + timedelta(hours=1), NOW + timedelta(hours=2))
    assert cost(reader, late).empty.kind == "outside_range"
    nobody = Scope((1,), HOUR.start, HOUR.end, models=("other",))
    assert cost(reader, nobody).empty.kind == "no_traffic"


def test_prices_are_found_in_the_order_that_is_documented():
    """Pool, profile, type of card; patterns in their order, whatever the case."""
    pools = (PoolRule("chat", {"model": "llama*"}, 4, "NVIDIA H100 80GB HBM3", 3.0),)
    rules = CostRules("EUR", {"*h100*": 2.5, "*": 1.0}, {"code": 9.0}, pools=pools)
    assert rules.pool_of({"model": "llama-70b"}) == "chat"
    assert rules.pool_of({"model": "qwen", "pool": "code"}) == "code"
    assert rules.pool_of({"model": "qwen"}) == "qwen"
    assert rules.gpus_of("chat", {}).value == 4
    assert rules.gpus_of("qwen", {"gpus": "8"}) == (8.0, "the target's label gpus")
    assert rules.price_of("chat", "anything").value == 3.0
    assert rules.price_of("code", "").value == 9.0
    assert rules.price_of("qwen", "nvidia h100").value == 2.5
    assert rules.price_of("qwen", "A10G").value == 1.0
    assert rules.price_of("qwen", "").value is None
