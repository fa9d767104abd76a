"""Result files of benchmark tools become request rows."""

import gzip
import json
from pathlib import Path

import pytest

from collector.traces.plan import FORMATS, plan, sniff
from store import bulk
from store.clock import WallClock
from store.database import Database
from store.errors import InputError
from store.settings import StoreSettings

RESULTS = Path(__file__).parents[1] / "data" / "results"


@pytest.fixture
def database(tmp_path):
    settings = StoreSettings()
    with Database.open(tmp_path / "s.duckdb", settings, WallClock(), allow_files=True) as database:
        yield database


def load(database, file):
    return [bulk.load(database.writer, spec, clock=database.clock) for spec in plan([file])]


def rows(database):
    return database.reader.frame(
        """SELECT arrived_at, status, model, input_tokens, output_tokens, cached_tokens,
        ttft_seconds, tpot_seconds, e2e_seconds, session_id, finish_reason
        FROM requests ORDER BY arrived_at"""
    ).to_dicts()


@pytest.mark.parametrize(
    ("file", "form"),
    [
        ("vllm_bench.json", "vllm-bench"),
        ("profile_export.jsonl", "aiperf"),
        ("benchmarks.json", "guidellm"),
    ],
)
def test_the_tool_is_recognised_and_a_second_import_changes_nothing(database, file, form):
    """By its field names; `--format` is not needed."""
    assert sniff(RESULTS / file).format is FORMATS[form]
    (first,) = load(database, RESULTS / file)
    (again,) = load(database, RESULTS / file)
    assert (first.rows_added, first.rows_rejected) == (first.rows_read, 0)
    assert (again.rows_added, again.rows_duplicate) == (0, first.rows_read)


def test_a_vllm_bench_result_holds_what_the_tool_printed(database):
    """Its own means come out of the rows again."""
    load(database, RESULTS / "vllm_bench.json")
    told = json.loads((RESULTS / "vllm_bench.json").read_text("utf-8"))
    found = rows(database)
    assert len(found) == told["completed"] == 12
    mean = sum(row["ttft_seconds"] for row in found) / 12
    assert mean * 1000 == pytest.approx(told["mean_ttft_ms"], rel=1e-6)
    mean = sum(row["tpot_seconds"] for row in found) / 12
    assert mean * 1000 == pytest.approx(told["mean_tpot_ms"], rel=1e-6)
    assert sum(row["input_tokens"] for row in found) == told["total_input_tokens"]
    assert sum(row["output_tokens"] for row in found) == told["total_output_tokens"]
    assert {row["model"] for row in found} == {"tiny"}
    assert found[0]["arrived_at"].year == 1970


def test_a_failed_request_of_vllm_bench_has_no_latency(database, tmp_path):
    """It is a row all the same: whoever counts successes alone flatters the server."""
    told = json.loads((RESULTS / "vllm_bench.json").read_text("utf-8"))
    told["errors"][3] = "Traceback: connection refused"
    told["itls"][3], told["ttfts"][3], told["output_lens"][3] = [], 0.0, 0
    file = tmp_path / "run.json"
    file.write_text(json.dumps(told), "utf-8")
    load(database, file)
    (failed,) = [row for row in rows(database) if row["status"] == "failed"]
    assert failed["ttft_seconds"] is None
    assert failed["output_tokens"] is None
    assert failed["input_tokens"] == 32


def test_a_large_result_is_read_whole(database, tmp_path):
    """The document is one line of megabytes, packed or not."""
    told = json.loads((RESULTS / "vllm_bench.json").read_text("utf-8"))
    for name, value in told.items():
        if isinstance(value, list):
            told[name] = value * 4_000
    told["start_times"] = [start * 1e-3 for start in range(48_000)]
    file = tmp_path / "run.json.gz"
    file.write_bytes(gzip.compress(json.dumps(told).encode(), 1))
    (report,) = load(database, file)
    assert report.rows_added == 48_000


def test_a_result_without_single_requests_says_what_to_do(tmp_path):
    """`--save-detailed` was forgotten."""
    told = json.loads((RESULTS / "vllm_bench.json").read_text("utf-8"))
    few = {name: value for name, value in told.items() if not isinstance(value, list)}
    file = tmp_path / "run.json"
    file.write_text(json.dumps(few), "utf-8")
    with pytest.raises(InputError, match="no single requests") as refused:
        plan([file])
    assert "--save-detailed" in refused.value.hint


def test_aiperf_rows_keep_their_outcome_and_session(database):
    """Cancelled, refused and good requests, in the units of the record; no warm-up."""
    load(database, RESULTS / "profile_export.jsonl")
    found = rows(database)
    assert [row["status"] for row in found] == ["ok", "aborted", "refused"]
    good = found[0]
    assert (good["input_tokens"], good["output_tokens"]) == (550, 9)
    assert good["ttft_seconds"] == pytest.approx(0.2555)
    assert good["tpot_seconds"] == pytest.approx(0.00525)
    assert good["e2e_seconds"] == pytest.approx(0.2975)
    assert good["session_id"] == found[1]["session_id"]
    assert found[1]["input_tokens"] == 700
    assert "RequestCancellationError" in found[1]["finish_reason"]


def test_a_metric_in_another_unit_is_converted_or_refused(database, tmp_path):
    """Seconds are seconds; a unit that nobody knows is no number."""
    line = json.loads((RESULTS / "profile_export.jsonl").read_text("utf-8").splitlines()[0])
    line["metrics"]["time_to_first_token"] = {"value": 0.25, "unit": "sec"}
    other = json.loads(json.dumps(line))
    other["metrics"]["request_latency"] = {"value": 3, "unit": "fortnights"}
    file = tmp_path / "profile_export.jsonl"
    file.write_text(f"{json.dumps(line)}\n{json.dumps(other)}\n", "utf-8")
    (report,) = load(database, file)
    assert (report.rows_added, report.rows_rejected) == (1, 1)
    assert rows(database)[0]["ttft_seconds"] == pytest.approx(0.25)


def test_guidellm_requests_of_all_outcomes_and_benchmarks(database):
    """Successful, cut off and failed requests of every benchmark in the report."""
    load(database, RESULTS / "benchmarks.json")
    found = rows(database)
    assert [row["status"] for row in found] == ["ok", "ok", "aborted", "failed", "ok"]
    assert {row["model"] for row in found} == {"tiny"}
    assert found[0]["ttft_seconds"] == pytest.approx(0.05)
    assert found[0]["tpot_seconds"] == pytest.approx(0.02)
    assert found[1]["cached_tokens"] == 64


@pytest.mark.parametrize("layout", [None, 2])
def test_guidellm_reports_may_be_one_line_or_many(database, tmp_path, layout):
    """The layout of a JSON document means nothing."""
    told = json.loads((RESULTS / "benchmarks.json").read_text("utf-8"))
    file = tmp_path / "report.json"
    file.write_text(json.dumps(told, indent=layout), "utf-8")
    (report,) = load(database, file)
    assert report.rows_added == 5


@pytest.mark.parametrize(
    "text",
    [
        '{"backend": "x", "model_id": 1, "tokenizer_id": 2, "num_prompts": 3,',
        '{"metadata": {"guidellm_version": "0.8"}, "benchmarks": 7}',
        '{"metadata": {"guidellm_version": "0.8"}}',
        '{"benchmarks": [{"type_": "x", "requests": {"successful": "no"}}]}',
    ],
)
def test_a_damaged_result_is_refused_in_one_line(database, tmp_path, text):
    """Whatever the damage, nothing of it is stored and the file is named."""
    file = tmp_path / "run.json"
    file.write_text(text + "\n", "utf-8")
    with pytest.raises(InputError) as refused:
        load(database, file)
    assert "\n" not in refused.value.message
    assert rows(database) == []
