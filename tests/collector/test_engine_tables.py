"""Every engine table keeps its contract on pages of its engine, and says what it cannot tell."""

from dataclasses import replace
from pathlib import Path

import pytest

from collector.detect import engine_of
from collector.engines.adapter import Absent, Derived, Engine, Rule, spelled
from collector.engines.check import check_engine
from collector.engines.coverage import conversion, coverage, matrix, renames
from collector.engines.llama_cpp import LLAMA_CPP
from collector.engines.registry import ENGINES
from collector.engines.versions import in_range, parts
from collector.engines.vllm import VLLM
from collector.exposition import parse
from store.signals import ENGINE_SIGNALS, SIGNALS

FOLDER = Path(__file__).parents[1] / "data" / "pages"


def pages_of(engine):
    texts = (path.read_text("utf-8") for path in sorted(FOLDER.glob("*.txt")))
    return [text for text in texts if engine_of(parse(text)).name == engine.name]


TABLES = ("vllm", "sglang", "tgi", "trtllm", "triton", "llama.cpp", "lmdeploy", "ray-serve")


@pytest.mark.parametrize("name", TABLES)
def test_table_keeps_the_contract(name):
    """Signals, labels and releases are known, nothing is read and left out, every row is used."""
    check_engine(ENGINES[name], pages_of(ENGINES[name]))


def test_there_are_enough_signals():
    """The issue of a common language is settled by at least thirty words."""
    told = [
        sum(coverage(engine, signal.name).state != "absent" for signal in ENGINE_SIGNALS)
        for engine in ENGINES.values()
    ]
    assert len(ENGINE_SIGNALS) >= 30
    assert max(told) >= 30


PAGE = 'box:running{model_name="m"} 1\nbox:blocks{model_name="m"} 5\nbox:size{model_name="m"} 16\n'
BOX = Engine(
    name="box",
    prefixes=spelled("box"),
    rules=(
        Rule("running", "requests_running"),
        Rule("blocks", "kv_cache_capacity_blocks"),
        Rule("size", "kv_cache_block_tokens"),
    ),
    derived=(
        Derived(
            "kv_cache_capacity_tokens", "kv_cache_capacity_blocks", "*", "kv_cache_block_tokens"
        ),
    ),
    absent=(Absent(("ttft_seconds",), "not measured"),),
    ignored={},
)


def with_rule(**changes):
    return replace(BOX, rules=(*BOX.rules[1:], replace(BOX.rules[0], **changes)))


@pytest.mark.parametrize(
    ("engine", "page", "what"),
    [
        (BOX, PAGE + "box:new 1\n", "no row names: new"),
        (BOX, "box:running 1\n", "no page uses blocks"),
        (BOX, PAGE.replace("} 1\n", "} -1\n"), "in its range"),
        (with_rule(signal="requests_runing"), PAGE, "in the catalogue"),
        (with_rule(labels={"model_name": "modell"}), PAGE, "labels are the signal's"),
        (with_rule(fixed=(("colour", "red"),)), PAGE, "labels are the signal's"),
        (with_rule(reads="label_number"), PAGE, "label goes with reads"),
        (with_rule(since="new"), PAGE, "is a release"),
        (with_rule(since="2.0", until="1.0"), PAGE, "since < until"),
        (with_rule(became="walking"), PAGE, "feeds the same signal"),
        (replace(BOX, ignored={"running": "why not"}), PAGE, "not both"),
        (replace(BOX, absent=(Absent(("requests_running",), "no"),)), PAGE, "no row feeds it"),
        (replace(BOX, absent=(Absent(("ttft_seconds",), ""),)), PAGE, "has a reason"),
        (replace(BOX, rules=BOX.rules[:2]), PAGE, "both sides can be had"),
    ],
)
def test_a_wrong_table_is_named(engine, page, what):
    """The check says in one line what is wrong with which row."""
    check_engine(BOX, [PAGE])
    with pytest.raises(AssertionError, match=what):
        check_engine(engine, [page])


def test_each_cell_is_exact_derived_or_absent():
    """A derived cell has a formula, an absent one a reason, an exact one a family."""
    for cell in matrix(ENGINES.values(), SIGNALS).values():
        assert bool(cell.why) == (cell.state == "absent")
        assert bool(cell.formula) == (cell.state == "derived")
        assert bool(cell.families) or cell.state != "exact"


@pytest.mark.parametrize(
    ("engine", "signal", "state", "says"),
    [
        ("vllm", "ttft_seconds", "exact", "vllm:time_to_first_token_seconds"),
        ("vllm", "kv_cache_capacity_tokens", "derived", "capacity_blocks *"),
        ("vllm", "requests_swapped", "absent", "went away with 0.10"),
        ("tgi", "ttft_seconds", "absent", "no such family"),
        ("tgi", "kv_cache_usage_ratio", "derived", "kv_cache_used_tokens / "),
        ("tgi", "prompt_tokens_total", "derived", "sum of the histogram"),
        ("triton", "e2e_seconds", "absent", "rate over that of requests"),
        ("triton", "request_busy_seconds_total", "exact", "x 1e-06"),
        ("llama.cpp", "kv_cache_usage_ratio", "absent", "/slots"),
        ("llama.cpp", "engine_start_mark", "exact", "header Process-Start-Time-Unix"),
        ("sglang", "requests_running", "exact", "largest of tp_rank"),
        ("ray-serve", "e2e_seconds", "exact", "x 0.001"),
    ],
)
def test_what_an_engine_tells(engine, signal, state, says):
    """Cells that people look for, each with its family, formula or reason."""
    cell = coverage(ENGINES[engine], signal)
    assert cell.state == state
    assert says in " ".join((*cell.families, cell.formula, cell.why, cell.note))


def test_coverage_follows_the_release():
    """An old release tells by its old name, what came later is absent there."""
    old = coverage(VLLM, "kv_cache_usage_ratio", "0.8.5")
    assert old.families == ("vllm:gpu_cache_usage_perc",)
    assert coverage(VLLM, "kv_cache_usage_ratio", "0.11").families == ("vllm:kv_cache_usage_perc",)
    assert coverage(VLLM, "requests_swapped", "0.8.5").state == "exact"
    assert coverage(LLAMA_CPP, "kv_cache_usage_ratio", "0.3.8").state == "exact"
    assert coverage(LLAMA_CPP, "sequence_tokens_max", "0.3.8").state == "absent"


def test_renames_are_rows():
    """What vLLM called otherwise before stands in the table, with the release that ended it."""
    gone = {(rule.family, rule.became, rule.until) for rule in renames(VLLM)}
    assert ("gpu_cache_usage_perc", "kv_cache_usage_perc", "0.12") in gone
    assert ("time_per_output_token_seconds", "inter_token_latency_seconds", "0.15") in gone


def test_releases_compare_by_number():
    """0.10 comes after 0.9, and a build that is no number counts as the newest."""
    assert parts("v0.10.1rc1") == (0, 10, 1)
    assert in_range("0.10", since="0.9.2")
    assert not in_range("0.12.0", until="0.12")
    assert in_range("b4200-7841fc7", since="0.3.36")
    assert not in_range("b4200-7841fc7", until="0.3.36")


def test_conversions_are_told_in_words():
    """Factor, label conditions and the way series are put together can be read."""
    rule = Rule("x", "e2e_seconds", factor=0.001, where=(("kind", "a"),), max_over=("tp_rank",))
    assert conversion(rule) == 'x 0.001, kind="a", largest of tp_rank'
