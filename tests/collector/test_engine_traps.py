"""The traps that engines set, each a rule of the tables that is missed when it is gone."""

import json
import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder

from collector.detect import engine_of, engines_of, model_in_url, normalise_url
from collector.engines.coverage import coverage, definitions
from collector.engines.reader import PageReader
from collector.engines.registry import ENGINES
from collector.exposition import parse
from store.signals import SIGNALS

FOLDER = Path(__file__).parents[1] / "data" / "pages"


def page(name):
    return (FOLDER / f"{name}.txt").read_text("utf-8")


def read(text, engine=None):
    told = parse(text)
    return PageReader(*([ENGINES[engine]] if engine else engines_of(told))).read(told)


def values(reading):
    return {(s.signal, s.labels): s.value for s in reading.samples}


def value(reading, signal, **labels):
    return values(reading).get((signal, json.dumps(labels, sort_keys=True, separators=(",", ":"))))


def histograms(reading):
    return {h.signal: h for h in reading.histograms}


def named(engine, signal):
    return [rule for rule in ENGINES[engine].rules if rule.signal == signal]


@pytest.mark.parametrize("name", ["vllm_0.32.0", "lmdeploy_0.16.0_dp2"])
def test_trap_01_a_name_in_total_may_be_a_histogram(name):
    """`iteration_tokens_total` holds a distribution of steps, not a count of tokens."""
    reading = read(page(name))
    steps = histograms(reading)["step_tokens"]
    assert steps.observation_count > 0
    assert steps.edges
    assert "step_tokens" not in {signal for signal, _ in values(reading)}


def test_trap_02_intervals_between_tokens_do_not_compare():
    """vLLM observes outputs, SGLang tokens: the tables say that these are two things."""
    told = definitions((ENGINES["vllm"], ENGINES["sglang"], ENGINES["lmdeploy"]), "itl_seconds")
    assert told == {
        "one observation an output of the engine": ("vllm", "lmdeploy"),
        "one observation a token": ("sglang",),
    }
    assert definitions((ENGINES["vllm"], ENGINES["sglang"]), "ttft_seconds") == {}


def test_trap_03_answers_of_one_token_have_no_time_per_token():
    """vLLM records them as 0; they are taken out by the lengths that it tells beside."""
    line = "vllm:{}{} {}\n"
    tpot = {'_bucket{le="0.01"}': 3, '_bucket{le="0.025"}': 5, '_bucket{le="+Inf"}': 5}
    tpot |= {"_count": 5, "_sum": 0.04}
    lengths = {'_bucket{le="1.0"}': 3, '_bucket{le="+Inf"}': 5, "_count": 5, "_sum": 13}
    text = "".join(
        line.format("request_time_per_output_token_seconds", *row) for row in tpot.items()
    )
    other = "".join(line.format("request_generation_tokens", *row) for row in lengths.items())
    told = histograms(read(text + other))["tpot_seconds"]
    assert (told.observation_count, told.cumulative_counts) == (2, (0, 2))
    assert told.observation_sum == 0.04
    # Without the lengths nobody knows how many there are, and nothing is made up.
    assert histograms(read(text))["tpot_seconds"].observation_count == 5


def test_trap_06_sglang_counts_tokens_while_they_are_made():
    """The counter that waits for the end of a request is only read where there is no other."""
    assert value(read(page("sglang_0.5.23_dp2_tp2")), "generation_tokens_total", model="tiny") == (
        700 * 2
    )
    old = read(page("sglang_0.4"))
    assert value(old, "generation_tokens_total", model="tiny") == 240
    assert value(old, "prompt_tokens_total", model="tiny") == 800


def test_trap_07_ranks_repeat_and_replicas_add_up():
    """Of tensor- and pipeline-parallel ranks the largest counts, data-parallel ones are added."""
    reading = read(page("sglang_0.5.23_dp2_tp2"))
    assert value(reading, "requests_running", model="tiny") == 4 * 2
    assert value(reading, "kv_cache_capacity_tokens", model="tiny") == 8192 * 2
    assert value(reading, "kv_cache_usage_ratio", model="tiny") == pytest.approx(0.4)
    assert value(reading, "preemptions_total", model="tiny") == 2 * 2
    assert histograms(reading)["queue_seconds"].observation_count == 3 * 2


def test_trap_07_only_some_ranks_report():
    """With attention in data-parallel ranks, a rank that is silent or behind takes nothing away."""
    line = 'sglang:num_running_reqs{{dp_rank="{}",tp_rank="{}"}} {}\n'
    text = line.format(0, 0, 5) + line.format(0, 1, 4) + line.format(1, 3, 2)
    assert value(read(text), "requests_running") == 7


def test_trap_07_priorities_are_parts_of_the_total():
    """The series without a priority is the total of the others; adding all would double it."""
    line = 'sglang:num_queue_reqs{{tp_rank="0",priority="{}"}} {}\n'
    text = line.format("", 5) + line.format(0, 2) + line.format(1, 3)
    assert value(read(text), "requests_waiting") == 5


def test_trap_08_distributions_that_are_no_histograms():
    """A gauge histogram and a summary are left out; `_histogram` in a name is part of the name."""
    reading = read(page("sglang_0.5.23_dp2_tp2"))
    assert reading.unknown_families == ()
    told = histograms(reading)
    assert told["input_tokens"].observation_count == 3
    assert not [s for s in values(reading) if "routing" in s[0] or "eplb" in s[0]]
    gauges = 'sglang:routing_key_running_req_count_bucket{le="1"} 3\nsglang:num_running_reqs 1\n'
    assert read(gauges).unknown_families == ()


@pytest.mark.parametrize(
    ("engine", "name"),
    [("vllm", "vllm:kv_cache_usage_perc"), ("lmdeploy", "lmdeploy:gpu_cache_usage_perc")],
)
def test_trap_10_usage_called_percent_is_a_ratio(engine, name):
    """0.4 "perc" is 40 %; and that evictable cache counts as free stands beside it."""
    assert value(read(f"{name} 0.4\n"), "kv_cache_usage_ratio") == 0.4
    assert read(f"{name} 40\n").unusable_count == 1
    assert "despite its name" in coverage(ENGINES[engine], "kv_cache_usage_ratio").note
    assert "count as free" in coverage(ENGINES["vllm"], "kv_cache_usage_ratio").note


def test_trap_11_the_newest_combination_of_adapters_counts():
    """Adapters are joined in a label, the value is a time, and old combinations stay."""
    line = (
        'vllm:lora_requests_info{{max_lora="4",running_lora_adapters="{}",'
        'waiting_lora_adapters="{}"}} {}\n'
    )
    text = line.format("a,b,c", "", 100) + line.format("a,b", "d", 300) + line.format("", "", 200)
    reading = read(text)
    assert value(reading, "lora_adapters_running") == 2
    assert value(reading, "lora_adapters_waiting") == 1


def test_trap_12_settings_are_texts():
    """`None` and `True` are Python, not numbers; a setting that is a number is read."""
    text = 'vllm:cache_config_info{{block_size="{}",num_gpu_blocks="{}",enable="True"}} 1\n'
    assert value(read(text.format(16, "None")), "kv_cache_capacity_blocks") is None
    assert value(read(text.format(16, "None")), "kv_cache_block_tokens") == 16
    assert value(read(text.format("True", 100)), "kv_cache_block_tokens") is None
    assert value(read(text.format(16, 100)), "kv_cache_capacity_tokens") == 1600
    for odd in ("inf", "-inf", "nan", "", "auto"):
        reading = read(text.format(odd, odd))
        assert (reading.samples, reading.refused) == ((), ()), f"{odd} is no number"


def test_trap_12_replicas_inside_ray_add_up_and_engines_do_not():
    """Each data-parallel engine shows the blocks of all; each replica of a Ray page its own."""
    line = (
        'ray_vllm_cache_config_info{{ReplicaId="{}",engine="{}",num_gpu_blocks="100",'
        'block_size="16"}} 1\n'
    )
    text = "".join(line.format(replica, engine) for replica in "ab" for engine in "01")
    assert value(read(text), "kv_cache_capacity_blocks") == 200
    assert value(read(text), "kv_cache_block_tokens") == 16


@pytest.mark.parametrize("engine", ["vllm", "sglang", "lmdeploy", "llama.cpp", "trtllm"])
@pytest.mark.parametrize("spelling", ["{}:", "{}_", "ray_{}:", "ray_{}_"])
def test_trap_13_colons_come_and_go(engine, spelling):
    """The wire, Ray and content negotiation spell a prefix in four ways; TYPE lines may differ."""
    table = ENGINES[engine]
    text = next(
        text
        for path in sorted(FOLDER.glob("*.txt"))
        if engine_of(parse(text := path.read_text("utf-8"))) is table
    )
    word = table.prefixes[0].rstrip(":")
    renamed = re.sub(rf"^{word}[:_]", spelling.format(word), text, flags=re.MULTILINE)
    assert engine_of(parse(renamed)) is table
    assert read(renamed) == read(text)


def test_trap_13_negotiating_openmetrics_renames_the_samples():
    """client_python as it is: samples lose the colon, their HELP and TYPE lines keep it."""
    registry = CollectorRegistry()
    for name, made in (("num_requests_running", Gauge), ("generation_tokens_total", Counter)):
        made(f"vllm:{name}", "told", ["model_name"], registry=registry).labels("m").inc(3)
    Histogram("vllm:time_to_first_token_seconds", "told", registry=registry).observe(0.3)
    encode, kind = choose_encoder("application/openmetrics-text; version=1.0.0")
    text = encode(registry).decode()
    assert "# TYPE vllm:" in text
    assert "\nvllm_num_requests_running{" in text
    told = parse(text, open_metrics="openmetrics" in kind)
    assert engine_of(told).name == "vllm"
    reading = PageReader(ENGINES["vllm"]).read(told)
    assert value(reading, "requests_running", model="m") == 3
    assert value(reading, "generation_tokens_total", model="m") == 3
    assert histograms(reading)["ttft_seconds"].observation_count == 1
    assert reading.unknown_families == ()


@pytest.mark.parametrize("suffix", ["", "_total"])
def test_trap_14_counters_with_and_without_total(suffix):
    """TGI's counters have no `_total`, and some parsers add it."""
    text = f'tgi_request_count{suffix} 12\ntgi_request_failure{suffix}{{err="overloaded"}} 2\n'
    reading = read(text)
    assert value(reading, "requests_arrived_total") == 12
    assert value(reading, "requests_refused_total", reason="overloaded") == 2
    assert reading.unknown_families == ()


def test_trap_15_a_high_water_mark_is_no_counter():
    """`n_tokens_max` is typed counter; a rate of it would mean nothing."""
    text = page("llama_server_0.3.36_under_load")
    assert "# TYPE llamacpp:n_tokens_max counter" in text
    assert value(read(text), "sequence_tokens_max") == 274
    assert SIGNALS["sequence_tokens_max"].kind == "gauge"


def test_trap_15_the_restart_header_tells_a_restart_not_a_time():
    """llama-server has no start time on its page; its header is a mark that changes."""
    assert ENGINES["llama.cpp"].restart_header == "Process-Start-Time-Unix"
    assert coverage(ENGINES["llama.cpp"], "engine_start_unix_seconds").state == "absent"
    assert SIGNALS["engine_start_mark"].low is None


def test_trap_15_a_router_is_asked_for_one_model_and_loads_none():
    """A look at a router's page names the model, and must not make it load one."""
    url = normalise_url("host:8080/metrics?model=tiny")
    assert url == "http://host:8080/metrics?model=tiny&autoload=false"
    assert normalise_url(url) == url
    assert model_in_url(url) == "tiny"
    assert normalise_url("host:8080") == "http://host:8080/metrics"
    reading = read(page("llama_server_0.3.36_router"))
    assert value(reading, "generation_tokens_total") == 20


def test_trap_16_one_family_holds_unrelated_quantities():
    """Triton's backend tells requests, blocks, bytes and a time apart by a label only."""
    reading = read(page("triton_26.08_trtllm"))
    model = {"model": "tensorrt_llm"}
    assert value(reading, "requests_running", **model) == 3
    assert value(reading, "requests_waiting", **model) == 1
    assert value(reading, "requests_running_max", **model) == 512
    assert value(reading, "kv_cache_usage_ratio", **model) == 0.4875
    assert value(reading, "kv_cache_capacity_tokens", **model) == 6239 * 64
    assert value(reading, "engine_steps_total", **model) == 900
    assert 1700074049 not in values(reading).values()
    # Milliseconds and a count, typed counter, under one name: neither is read.
    assert "trt_llm_disaggregated_serving_metrics" in ENGINES["triton"].ignored


def test_trap_17_microseconds_and_milliseconds_become_seconds():
    """Triton adds up microseconds, its first response is in milliseconds."""
    reading = read(page("triton_26.08_trtllm"))
    model = {"model": "tensorrt_llm"}
    assert value(reading, "request_busy_seconds_total", **model) == pytest.approx(41)
    assert value(reading, "queue_busy_seconds_total", **model) == pytest.approx(3.5)
    ttft = histograms(reading)["ttft_seconds"]
    assert ttft.edges == (0.1, 0.5, 2.0, 5.0)
    assert ttft.observation_sum == pytest.approx(1.73)
    assert "rate over that of requests" in coverage(ENGINES["triton"], "queue_seconds").why


def test_trap_17_an_ensemble_counts_its_requests_twice():
    """The parent and the model behind it stay apart, so nobody adds them up."""
    finished = [v for (s, _), v in values(read(page("triton_26.08_trtllm"))).items()
                if s == "requests_finished_total"]  # fmt: skip
    assert finished == [20, 20]


def test_trap_19_names_that_went_away_are_still_read():
    """A page of an old release, and one of the releases between, tell the same signals once."""
    old, between = read(page("vllm_0.8")), read(page("vllm_0.10"))
    for reading in (old, between):
        assert value(reading, "kv_cache_usage_ratio", model="tiny") == 0.5
        assert value(reading, "prefix_cache_hit_tokens_total", model="tiny") == 25
        assert histograms(reading)["itl_seconds"].observation_count == 2
    assert histograms(old)["queue_seconds"].observation_count == 2
    assert all(rule.until for rule in ENGINES["vllm"].rules if rule.fallback)


def test_trap_20_created_series_are_gauges_of_their_own():
    """A single process adds `_created` families; they are neither samples nor unknown."""
    text = page("vllm_0.32.0")
    assert "_created gauge" in text
    reading = read(text)
    assert reading.unknown_families == ()
    start = "engine_start_unix_seconds"
    assert not [s for s in reading.samples if s.value > 1e9 and s.signal != start]


def test_trap_20_several_processes_behind_one_page_have_no_start():
    """In multi-process mode nobody's start is told, so none is made up and coverage says why."""
    reading = read(page("sglang_0.5.23_dp2_tp2"))
    assert not [s for s in values(reading) if s[0].startswith(("process_", "engine_start"))]
    assert "several processes" in coverage(ENGINES["sglang"], "engine_start_unix_seconds").why
