"""Logs of engines that really started here, read into phases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.starts.log_patterns import FORMATS
from collector.starts.logs import read_log, recognise
from store.errors import InputError

DATA = Path(__file__).parents[2] / "data" / "starts"
NOW = datetime(2026, 11, 20, 14, 0, tzinfo=UTC)


def lines(name):
    return (DATA / name).read_text("utf-8").splitlines()


def test_vllm_tells_its_phases_and_when_it_was_ready():
    """Weights took 0.03 s of 31 s; most of the rest was engine set-up."""
    began = datetime(2026, 11, 20, 13, 51, tzinfo=UTC)
    found = read_log(lines("vllm_0.32.0_cpu.log"), "gpu-1:8000", NOW, began_at=began, model="tiny")
    ready = [item for item in found if item.phase == "ready"]
    assert [item.started_at for item in ready] == [began + timedelta(seconds=46)]
    assert "startup complete" in ready[0].evidence
    first = found[0]
    assert (first.phase, first.started_at) == ("process", began)
    weights = [item for item in found if item.phase == "weights" and "took" in item.evidence]
    assert weights[0].ended_at - weights[0].started_at == timedelta(seconds=0.03)
    assert {item.phase for item in found} >= {"process", "engine", "weights", "warmup"}
    assert {item.model for item in found} == {"tiny"}


def test_vllm_was_ready_when_its_health_said_so():
    """The log's own second and the first answer of /health, 13:51:47.7, are two apart at most."""
    found = read_log(lines("vllm_0.32.0_cpu.log"), "gpu-1:8000", NOW)
    ready = next(item for item in found if item.phase == "ready")
    health = datetime(2026, 11, 20, 13, 51, 47, 743_000, tzinfo=UTC)
    assert timedelta() <= health - ready.started_at < timedelta(seconds=2)


def test_llama_server_counts_from_its_start():
    """Weights of the tiny model: from 7 to 317 ms after the process began."""
    found = read_log(lines("llama_server_0.3.36.log"), "a:8080", NOW, began_at=NOW)
    spans = {item.phase: (item.started_at - NOW, item.ended_at - item.started_at) for item in found}
    assert spans["weights"] == (
        timedelta(microseconds=7270),
        timedelta(microseconds=316_568 - 7270),
    )
    assert spans["ready"] == (timedelta(microseconds=318_133), timedelta())


def test_a_clock_without_a_beginning_is_refused():
    """Relative stamps need an anchor; the hint says which."""
    with pytest.raises(InputError, match="counts from the start") as refused:
        read_log(lines("llama_server_0.3.36.log"), "a:8080", NOW)
    assert refused.value.hint


def test_logs_print_the_hosts_own_time():
    """A host east of Greenwich prints later hours for the same moment."""
    east = timezone(timedelta(hours=2))
    ready = [
        read_log(lines("vllm_0.32.0_cpu.log"), "a", NOW, zone=zone)[-1] for zone in (UTC, east)
    ]
    assert ready[0].started_at - ready[1].started_at == timedelta(hours=2)


def test_a_log_of_last_december_is_not_of_next_december():
    """No year is printed: the newest that is not in the future counts."""
    line = "INFO 12-31 23:59:58 [core.py:1] Initializing a V1 LLM engine"
    end = "INFO 12-31 23:59:59 [core.py:1] Application startup complete"
    found = read_log([line, end], "a", datetime(2026, 1, 1, 0, 5, tzinfo=UTC))
    assert found[-1].started_at == datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC)


def test_a_start_that_failed_says_so():
    """Nothing after it is read."""
    found = read_log(
        [
            "INFO 11-20 13:00:00 [a.py:1] Initializing a V1 LLM engine",
            "ERROR 11-20 13:00:09 [a.py:1] EngineCore failed to start.",
            "INFO 11-20 13:00:30 [a.py:1] Application startup complete",
        ],
        "a",
        NOW,
    )
    assert [item.phase for item in found] == ["engine", "failed"]


def test_another_log_is_not_guessed():
    """What is no known engine's log is refused, not half read."""
    with pytest.raises(InputError, match="no log of an engine"):
        read_log(["hello", "INFO: nothing"], "a", NOW)
    assert recognise(lines("vllm_0.32.0_cpu.log")).engine == "vllm"
    assert recognise(lines("llama_server_0.3.36.log")).engine == "llama.cpp"


@given(st.lists(st.text(max_size=80), max_size=20), st.sampled_from(sorted(FORMATS)))
def test_any_text_is_read_without_a_fault(noise, engine):
    """Log lines are anything at all; observations are never backwards."""
    stamped = [f"INFO 11-20 13:51:1{i % 10} {text}" for i, text in enumerate(noise)]
    for item in read_log([*noise, *stamped], "a", NOW, engine=engine, began_at=NOW):
        assert item.started_at <= item.ended_at


@pytest.mark.parametrize("told", [".", "1.2.3", "9" * 14, "9" * 400])
def test_a_length_that_is_none_is_stepped_over(told):
    """A line like a step, with something else than seconds in it, is a line like any other."""
    lines = [
        "INFO 01-31 12:00:01 [api_server.py:1] vLLM API server version 0.32.0",
        f"INFO 01-31 12:00:05 Model loading took 1.2 GiB and {told} seconds",
        "INFO 01-31 12:00:09 Loading weights took 3.5 seconds",
    ]
    found = read_log(lines, "gpu-1", datetime(2026, 1, 31, 13, tzinfo=UTC), engine="vllm")
    weights = [one for one in found if one.phase == "weights"]
    assert [(one.ended_at - one.started_at).total_seconds() for one in weights] == [3.5]
