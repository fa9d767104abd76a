"""Engine adapters on real pages: what each page means, and the traps that pages set."""

import json
import math
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.checks import check_scrape
from collector.detect import engine_by_name, engine_of, engines_of, unsupported
from collector.engines.reader import PageReader
from collector.engines.registry import ENGINES
from collector.exposition import PageMemory, SeriesCache, parse
from collector.model import Scrape
from store.signals import SIGNALS

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
UNIX = "engine_start_unix_seconds"
FOLDER = Path(__file__).parents[1] / "data" / "pages"
PAGES = {path.stem: path.read_text("utf-8") for path in sorted(FOLDER.glob("*.txt"))}


def read(text, engine=None):
    page = parse(text)
    return PageReader(ENGINES[engine] if engine else engine_of(page)).read(page)


def values(reading):
    return {(s.signal, s.labels): s.value for s in reading.samples}


def value(reading, signal, **labels):
    return values(reading).get((signal, json.dumps(labels, sort_keys=True, separators=(",", ":"))))


def histogram(reading, signal):
    [found] = [h for h in reading.histograms if h.signal == signal]
    return found


def test_every_rule_feeds_a_signal_of_the_catalogue():
    """Names, kinds and labels of adapters and catalogue belong together."""
    for engine in ENGINES.values():
        for rule in engine.rules:
            signal = SIGNALS[rule.signal]
            assert set(rule.labels.values()) <= {"model", *signal.labels}
            if signal.kind == "histogram":
                assert (rule.across, rule.reads) == ("sum", "value")
            assert bool(rule.label) == (rule.reads != "value")


def test_every_signal_of_the_catalogue_has_a_unit_in_its_name_or_row():
    """Nobody has to guess a unit."""
    for name, signal in SIGNALS.items():
        assert signal.unit or name == "engine_start_mark"
        assert signal.meaning.endswith(".")
        assert signal.kind != "counter" or name.endswith("_total")


@pytest.mark.parametrize("name", PAGES)
def test_no_family_of_a_real_page_is_unknown(name):
    """Each family of the captured versions is read, or left out for a stated reason."""
    reading = read(PAGES[name])
    assert reading.unknown_families == ()
    assert reading.unusable_count == 0


@pytest.mark.parametrize("name", PAGES)
def test_real_pages_give_well_formed_scrapes(name):
    """Signals, ranges, labels and histograms of every page keep the contract of a scrape."""
    reading = read(PAGES[name])
    check_scrape(Scrape(1, NOON, 0.0, "ok", samples=reading.samples, histograms=reading.histograms))


def test_vllm_under_load():
    """Eight requests run, forty wait, and the split by reason adds up."""
    reading = read(PAGES["vllm_0.32.0_under_load"])
    assert value(reading, "requests_running", model="tiny") == 8
    assert value(reading, "requests_waiting", model="tiny") == 40
    assert value(reading, "requests_waiting_by_reason", model="tiny", reason="capacity") == 40
    assert value(reading, "kv_cache_usage_ratio", model="tiny") == pytest.approx(0.00390720390)
    assert value(reading, "generation_tokens_total", model="tiny") == 936
    assert histogram(reading, "ttft_seconds").observation_count == 8


def test_vllm_after_load():
    """Counters, histograms and capacity of an idle engine that served 148 requests."""
    reading = read(PAGES["vllm_0.32.0"])
    assert value(reading, "requests_finished_total", model="tiny", finish_reason="length") == 148
    assert value(reading, "prompt_tokens_total", model="tiny") == 12551
    assert value(reading, "prompt_tokens_computed_total", model="tiny") == 12551
    blocks = value(reading, "kv_cache_capacity_blocks")
    assert blocks * value(reading, "kv_cache_block_tokens") == 524288
    ttft = histogram(reading, "ttft_seconds")
    assert (ttft.labels, ttft.observation_count) == ('{"model":"tiny"}', 148)
    assert ttft.observation_sum == pytest.approx(12.601797)
    assert (ttft.edges[0], ttft.edges[-1], len(ttft.edges)) == (0.001, 2560.0, 22)


def test_vllm_with_two_engines_is_one_instance():
    """Counts add up over the data-parallel engines; ratios and capacities do not."""
    reading = read(PAGES["vllm_0.32.0_dp2_spec_lora"])
    assert value(reading, "prompt_tokens_total", model="tiny") == 2343 + 2603
    assert value(reading, "requests_finished_total", model="tiny", finish_reason="length") == 60
    assert histogram(reading, "e2e_seconds").observation_count == 60
    # Each engine shows the blocks of both.
    assert value(reading, "kv_cache_capacity_blocks") == 8192
    assert value(reading, "engine_awake_ratio", model="tiny") == 1
    # No draft token was accepted: that is a zero, not an unknown.
    assert value(reading, "spec_decode_accepted_tokens_total", model="tiny") == 0
    assert value(reading, "lora_adapters_max") == 2


def test_vllm_iteration_tokens_total_is_a_histogram():
    """A name that ends in _total does not make it a counter."""
    reading = read(PAGES["vllm_0.32.0"])
    steps = histogram(reading, "step_tokens")
    assert (steps.observation_count, steps.observation_sum) == (1100, 22023)
    assert "step_tokens" not in {signal for signal, _ in values(reading)}


def test_vllm_created_times_are_no_samples():
    """The `_created` gauges of client_python reach neither the samples nor the unknown families."""
    reading = read(PAGES["vllm_0.32.0"])
    assert not [s for s in reading.samples if s.value > 1e9 and s.signal != UNIX]
    assert reading.unknown_families == ()


@pytest.mark.parametrize("prefix", ["vllm_", "ray_vllm_", "ray_vllm:"])
def test_vllm_prefixes_mean_the_same(prefix):
    """Colons that an exporter or Ray has replaced change nothing."""
    text = PAGES["vllm_0.32.0_under_load"]
    renamed = re.sub(r"^vllm:", prefix, text, flags=re.MULTILINE)
    assert read(renamed) == read(text)


def test_counters_are_found_with_and_without_total():
    """Exporters differ about the suffix, the signal is the same."""
    assert value(read("vllm:generation_tokens 5"), "generation_tokens_total") == 5
    assert value(read("vllm:generation_tokens_total 5"), "generation_tokens_total") == 5


def test_old_and_new_name_on_one_page_count_once():
    """While a release shows both names, the old one must not double the new one."""
    both = """
vllm:prefix_cache_hits_total{model_name="m"} 10
vllm:gpu_prefix_cache_hits_total{model_name="m"} 10
vllm:gpu_cache_usage_perc{model_name="m"} 0.5
vllm:inter_token_latency_seconds_bucket{le="1.0",model_name="m"} 3
vllm:inter_token_latency_seconds_count{model_name="m"} 4
vllm:time_per_output_token_seconds_bucket{le="1.0",model_name="m"} 3
vllm:time_per_output_token_seconds_count{model_name="m"} 4
"""
    reading = read(both)
    assert value(reading, "prefix_cache_hit_tokens_total", model="m") == 10
    assert value(reading, "kv_cache_usage_ratio", model="m") == 0.5
    assert histogram(reading, "itl_seconds").observation_count == 4


def test_vllm_lora_adapters_come_from_the_newest_series():
    """Combinations of adapters that are gone stay on the page; the largest time is now."""
    info = (
        'vllm:lora_requests_info{max_lora="4",running_lora_adapters="%s",waiting_lora_adapters=""}'
    )
    reading = read(f"{info % 'a,b,c'} 100\n{info % 'a,b'} 300\n{info % ''} 200\n")
    assert value(reading, "lora_adapters_running") == 2
    assert value(reading, "lora_adapters_waiting") == 0


def test_config_that_is_none_is_unknown():
    """The engine writes Python's None into labels; that is no number and no zero."""
    reading = read('vllm:cache_config_info{block_size="128",num_gpu_blocks="None"} 1')
    assert value(reading, "kv_cache_block_tokens") == 128
    assert value(reading, "kv_cache_capacity_blocks") is None


def test_families_without_samples_are_absent():
    """A TYPE line alone is not a zero."""
    assert read("# TYPE vllm:num_requests_running gauge\n", "vllm").samples == ()


def test_llama_cpp_0_3_36():
    """No labels; cached tokens are added to the prompt tokens; no KV gauge; no histograms."""
    reading = read(PAGES["llama_server_0.3.36_under_load"])
    assert value(reading, "requests_running") == 8
    assert value(reading, "requests_waiting") == 40
    assert value(reading, "prompt_tokens_total") == 33340 + 66
    assert value(reading, "prompt_tokens_computed_total") == 33340
    assert value(reading, "generation_tokens_total") == 27477
    assert value(reading, "sequence_tokens_max") == 274
    assert value(reading, "kv_cache_usage_ratio") is None
    assert reading.histograms == ()
    assert {labels for _, labels in values(reading)} == {"{}"}


@pytest.mark.parametrize("version", ["0.3.2", "0.3.8"])
def test_llama_cpp_before_the_kv_gauge_went(version):
    """Older pages have a KV gauge and do not tell cached tokens."""
    reading = read(PAGES[f"llama_server_{version}_under_load"])
    assert 0 < value(reading, "kv_cache_usage_ratio") < 1
    assert value(reading, "kv_cache_used_tokens") > 0
    assert value(reading, "prompt_tokens_cached_total") is None


@pytest.mark.parametrize("version", ["0.3.2", "0.3.8", "0.3.36"])
def test_llama_cpp_busy_slots_are_a_gauge_whatever_the_page_says(version):
    """Typed counter in one version and gauge in the next, it is a mean in both."""
    reading = read(PAGES[f"llama_server_{version}_under_load"])
    assert 6 < value(reading, "slots_busy_lifetime_mean") <= 8
    assert SIGNALS["slots_busy_lifetime_mean"].kind == "gauge"


def test_llama_cpp_means_since_the_last_scrape_are_no_throughput():
    """Every scraper resets them: their name says so, and only the trust layer looks at them."""
    reading = read("llamacpp:predicted_tokens_seconds 193\nllamacpp:requests_deferred 1\n")
    assert values(reading) == {
        ("requests_waiting", "{}"): 1.0,
        ("decode_since_scrape_tokens_per_second", "{}"): 193.0,
    }
    assert reading.unknown_families == ()


def test_a_reading_says_what_it_refused_and_how_many_series_it_put_together():
    """Trust is graded by values that cannot be true and by ranks that are missing."""
    page = (
        "vllm:kv_cache_usage_perc 1.7\nvllm:num_requests_waiting NaN\n"
        + "".join(f'vllm:num_requests_running{{engine="{n}"}} {n}\n' for n in range(4))
    )  # fmt: skip
    reading = read(page, "vllm")
    told = {refused.signal: refused.value for refused in reading.refused}
    assert told.pop("kv_cache_usage_ratio") == 1.7
    assert math.isnan(told.pop("requests_waiting"))
    assert told == {}
    assert reading.parts["requests_running"] == 4


def test_values_outside_their_range_are_counted_and_left_out():
    """A KV usage of 170 % or a negative counter is the engine's mistake, not our sample."""
    reading = read("vllm:kv_cache_usage_perc 1.7\nvllm:num_preemptions_total -1\n", "vllm")
    assert reading.samples == ()
    assert reading.unusable_count == 2


def test_not_a_number_is_unknown():
    """NaN gives no row and is not a fault."""
    reading = read("vllm:kv_cache_usage_perc NaN\n", "vllm")
    assert (reading.samples, reading.unusable_count) == ((), 0)


def test_families_of_a_newer_engine_are_named():
    """What an adapter does not know is counted, so that a new release is noticed."""
    page = 'vllm:new_thing_total 1\nvllm:new_thing_created 2\nvllm:odd_bucket{le="1"} 3\nother 1\n'
    assert read(page).unknown_families == ("new_thing", "odd")


BUCKETS = 'vllm:e2e_request_latency_seconds_bucket{{le="{}"}} {}\n'
COUNT = "vllm:e2e_request_latency_seconds_count {}\n"


def buckets(*pairs, count=None):
    text = "".join(BUCKETS.format(*pair) for pair in pairs)
    return read(text + (COUNT.format(count) if count is not None else ""), "vllm")


def test_histogram_edges_in_any_order_and_spelling():
    """Edges are sorted; `1` and `1.0` are one edge, of which the last counts."""
    told = histogram(buckets(("5", 9), ("1", 3), ("1.0", 4), ("+Inf", 10)), "e2e_seconds")
    assert (told.edges, told.cumulative_counts) == ((1.0, 5.0), (4.0, 9.0))
    assert (told.observation_count, told.observation_sum) == (10, None)


def test_histogram_without_the_last_bucket_takes_the_count():
    """A missing +Inf bucket is what `_count` says."""
    assert histogram(buckets(("1", 3), count=7), "e2e_seconds").observation_count == 7


def test_histogram_without_any_total_cannot_be_used():
    """Without +Inf and `_count` nobody knows how many observations there were."""
    reading = buckets(("1", 3))
    assert (reading.histograms, reading.unusable_count) == ((), 1)


def test_histograms_with_different_edges_add_at_the_edges_they_share():
    """Replicas behind one page may have different buckets; shared edges stay exact."""
    line = 'vllm:e2e_request_latency_seconds_{}{{engine="{}"{}}} {}\n'
    text = "".join(
        line.format("bucket", engine, f',le="{edge}"', count)
        for engine, edge, count in [(0, 1, 2), (0, 2, 4), (0, "+Inf", 5), (1, 2, 1), (1, 3, 1)]
    )
    told = histogram(read(text + line.format("count", 1, "", 1), "vllm"), "e2e_seconds")
    assert (told.edges, told.cumulative_counts, told.observation_count) == ((2.0,), (5.0,), 6.0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vllm:x", "vllm"),
        ("vllm_x", "vllm"),
        ("ray_vllm_x", "vllm"),
        ("ray_vllm:x", "vllm"),
        ("llamacpp:x", "llama.cpp"),
        ("vllmx", None),
        ("http_vllm_x", None),
    ],
)
def test_prefixes(name, expected):
    """The engine is told by the beginning of its names."""
    engine = engine_by_name(name)
    assert (engine.name if engine else None) == expected


def test_an_engine_is_recognised_by_its_page():
    """Names of the process around it do not hide the engine; a page of none is none."""
    assert engine_of(parse(PAGES["vllm_0.32.0"])).name == "vllm"
    assert engine_of(parse(PAGES["llama_server_0.3.8_under_load"])).name == "llama.cpp"
    assert engine_of(parse("python_info 1\n")) is None
    assert "python_info" in unsupported(parse("python_info 1\n"))


WORDS = {"llama": "llama.cpp", "ray": "ray-serve"} | {
    name: name for name, engine in ENGINES.items() if engine.role == "engine"
}


@pytest.mark.parametrize("name", [name for name in PAGES if name.partition("_")[0] in WORDS])
def test_every_page_is_recognised(name):
    """The first word of a page's file is the engine that wrote it."""
    assert engine_of(parse(PAGES[name])).name == WORDS[name.partition("_")[0]]


@pytest.mark.parametrize("front", ["ray_serve_2.60.0", "litellm_1"])
def test_engines_win_over_what_stands_in_front_of_them(front):
    """Where a page holds an engine and a gateway, shared signals are the engine's."""
    engine = re.sub(r"^vllm:", "ray_vllm_", PAGES["vllm_0.32.0_under_load"], flags=re.MULTILINE)
    gateway = PAGES.get(front, "litellm_in_flight_requests 3\n")
    page = parse(gateway + engine)
    names = [found.name for found in engines_of(page)]
    assert names[0] == "vllm"
    assert len(names) == 2
    both = PageReader(*engines_of(page)).read(page)
    assert value(both, "requests_running", model="tiny") == 8
    assert value(both, "requests_running") is None
    assert both.unknown_families == ()


def test_what_only_the_gateway_tells_is_kept():
    """A mixed page loses nothing: replicas are Ray's, tokens are vLLM's."""
    text = PAGES["ray_serve_2.60.0"] + PAGES["vllm_0.32.0"].replace("vllm:", "ray_vllm_")
    reading = PageReader(*engines_of(parse(text))).read(parse(text))
    assert value(reading, "replicas_target") == 3
    assert value(reading, "generation_tokens_total", model="tiny") > 0


@pytest.mark.parametrize("name", PAGES)
def test_a_page_laid_out_as_before_means_the_same(name):
    """The short way through a known layout gives what the long way gives, to the last row."""
    cache, memory = SeriesCache(), PageMemory()
    engines = engines_of(parse(PAGES[name]))
    long = PageReader(*engines).read(parse(PAGES[name]))
    reader = PageReader(*engines)
    for _ in range(4):
        page = parse(PAGES[name], cache, memory=memory)
        assert reader.read(page) == long
    assert page.layout is not None or page.bad_line_count or page.duplicate_count


lines = st.sampled_from(
    sorted(
        {
            line
            for text in PAGES.values()
            for line in text.splitlines()
            if line and not line.startswith("#")
        }
    )
)
odd_values = st.sampled_from(["0", "1", "-1", "NaN", "+Inf", "-Inf", "1e308", "0.5"])


@given(
    st.lists(st.tuples(lines, odd_values), max_size=30),
    st.lists(st.sampled_from(sorted(ENGINES)), min_size=1, max_size=3, unique=True),
)
def test_odd_pages_still_give_well_formed_scrapes(rows, engines):
    """Any subset of lines with any values: the contract holds, and warm reads as cold."""
    text = "\n".join(f"{line.rpartition(' ')[0]} {value}" for line, value in rows)
    page = parse(text)
    reader = PageReader(*(ENGINES[engine] for engine in engines))
    reading = reader.read(page)
    assert reader.read(page) == reading
    cache, memory = SeriesCache(), PageMemory()
    for _ in range(3):
        again = parse(text, cache, memory=memory)
        assert reader.read(again) == reading
    check_scrape(Scrape(1, NOON, 0.0, "ok", samples=reading.samples, histograms=reading.histograms))


def test_pages_of_before_leave_no_plan_behind():
    """The adapters' names in a label of vLLM make another page each time, for weeks."""
    cache, memory, reader = SeriesCache(), PageMemory(), PageReader(ENGINES["vllm"])
    for number in range(200):
        page = f'vllm:num_requests_running{{model_name="m"}} 1\nother{{names="a{number}"}} 1\n'
        reader.read(parse(page, cache, memory=memory))
    assert len(reader._plans) <= 1


def test_what_is_remembered_of_series_is_bounded():
    """An exporter with an id in its labels fills no memory."""
    reader = PageReader(ENGINES["vllm"], most_remembered=10)
    for number in range(50):
        page = parse(f'vllm:num_requests_running{{model_name="{number}"}} {number}\n')
        assert [sample.value for sample in reader.read(page).samples] == [number]
    assert max(len(reader._meaning), len(reader.resolver._remembered)) <= 11
