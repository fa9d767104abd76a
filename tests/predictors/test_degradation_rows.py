"""Rows for the degradation predictor: from a running fleet, and from public measurements."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from collector.agent.files import KernelFiles
from collector.lab import host as lab_host
from predictors.base import OUTCOME
from predictors.degradation import cloudperftrace, data, live, vllm_logs
from predictors.degradation.model import Degradation
from predictors.degradation.rivals import Constant
from predictors.degradation.windows import METRICS, WINDOW, unpack
from predictors.serving import Served
from store.clock import VirtualClock
from store.database import Database
from store.errors import PredictorError
from store.queries.scope import Scope
from store.settings import StoreSettings
from store.targets import describe, register

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SCRAPES = 180
SLOW_FROM = 120


@pytest.fixture
def database() -> Iterator[Database]:
    """A store in memory with one engine that a neighbour slowed down in the last ten minutes."""
    with Database.open(None, StoreSettings(), VirtualClock(NOW)) as opened:
        engine = add_target(opened, "http://node-1:8000/metrics")
        machine = add_target(opened, "http://node-1:9100/metrics")
        slow = np.arange(SCRAPES) >= SLOW_FROM
        add(opened, engine, "requests_running", np.full(SCRAPES, 4.0))
        add(opened, engine, "generation_tokens_total", np.where(slow, 400.0, 1000.0).cumsum())
        add(opened, engine, "requests_arrived_total", np.full(SCRAPES, 5.0).cumsum())
        waiting = "node_pressure_cpu_waiting_seconds_total"
        add(opened, machine, waiting, np.where(slow, 8.0, 0.5).cumsum())
        yield opened


def add_target(database: Database, url: str) -> int:
    """A target of a vLLM."""
    number = register(database.writer, url, NOW - timedelta(days=1)).result()
    describe(database.writer, number, engine="vllm", engine_version="1.0", model="m").result()
    return number


def add(
    database: Database, target: int, signal: str, values: np.ndarray, labels: str = "{}"
) -> None:
    """A point every ten seconds until now."""
    end = NOW.replace(tzinfo=None)
    times = [end - timedelta(seconds=10 * (SCRAPES - k) - 1) for k in range(SCRAPES)]
    database.writer.append(
        "sample",
        pl.DataFrame({"sampled_at": times, "value": values}).with_columns(
            target_id=pl.lit(target, pl.Int32),
            signal=pl.lit(signal),
            labels=pl.lit(labels),
            unit=pl.lit(""),
            kind=pl.lit("counter" if signal.endswith("_total") else "gauge"),
        ),
    ).result()


SCOPE = Scope((1,), NOW - timedelta(hours=1), NOW)


def test_rows_of_a_fleet_know_host_pressure_and_what_it_did(database: Database) -> None:
    """P falls to two fifths where the neighbour came; the pressure of its machine is beside it."""
    rows = live.rows(database.reader, SCOPE)
    known = rows.filter(pl.col(OUTCOME).is_not_null())
    assert known.height > 20
    assert known[OUTCOME][5] == pytest.approx(1.0, abs=0.05)
    assert known[OUTCOME][-1] == pytest.approx(0.4, abs=0.05)
    windows = unpack(known)
    pressure = windows.values[:, :, windows.names.index("host.cpu_waiting_ratio")]
    assert np.nanmean(pressure[5]) == pytest.approx(0.05, abs=0.01)
    assert np.nanmean(pressure[-1]) == pytest.approx(0.8, abs=0.01)
    assert rows["application"].unique().to_list() == ["m"]


def test_host_signals_carry_the_names_of_the_laboratory(database: Database) -> None:
    """A model that learnt in the laboratory finds processor, memory, disks and switches live."""
    machine = add_target(database, "http://node-1:9200/metrics")
    steady = np.arange(SCRAPES, dtype=np.float64)
    for mode, share in {"user": 4.0, "system": 2.0, "idle": 13.0, "iowait": 1.0}.items():
        labels = json.dumps({"mode": mode})
        add(database, machine, "node_cpu_seconds_total", share * steady, labels)
    for device, share in {"sda": 2.0, "sdb": 1.0}.items():
        labels = json.dumps({"device": device})
        add(database, machine, "node_disk_busy_seconds_total", share * steady, labels)
    add(database, machine, "node_context_switches_total", 1000.0 * steady)
    add(database, machine, "node_memory_capacity_bytes", np.full(SCRAPES, 100.0))
    add(database, machine, "node_memory_available_bytes", np.full(SCRAPES, 25.0))
    rows = live.rows(database.reader, SCOPE)
    windows = unpack(rows)
    newest = dict(zip(windows.names, windows.values[-1, -1].tolist(), strict=True))
    expected = {
        "host.cpu_ratio": 0.3,
        "host.user_ratio": 0.2,
        "host.system_ratio": 0.1,
        "host.iowait_ratio": 0.05,
        "host.disk_busy_ratio": 0.3,
        "host.switches_per_s": 100.0,
        "host.memory_used_ratio": 0.75,
    }
    assert {name: pytest.approx(newest[name]) for name in expected} == expected
    assert "host.steal_ratio" not in newest
    assert not any("bytes" in name for name in newest)
    known = {f"host.{name}" for name in _lab_names()}
    assert expected.keys() <= known


def _lab_names() -> set[str]:
    """What the laboratory calls the metrics of this very host."""
    files = KernelFiles()
    before, after = (lab_host.look(files, 100) for _ in range(2))
    busy = {core: {mode: s + 1 for mode, s in modes.items()} for core, modes in after.cores.items()}
    told = lab_host.changed(before, replace(after, cores=busy), 1.0, [0])
    return {*told, "disk_busy_ratio"}


def test_an_engine_with_little_to_do_is_judged_by_its_decoding_time() -> None:
    """Gauges hardly ever meet short requests; the time that they decoded is added up."""
    with Database.open(None, StoreSettings(), VirtualClock(NOW)) as opened:
        engine = add_target(opened, "http://node-1:8000/metrics")
        slow = np.arange(SCRAPES) >= SLOW_FROM
        add(opened, engine, "requests_running", np.zeros(SCRAPES))
        add(opened, engine, "generation_tokens_total", np.full(SCRAPES, 100.0).cumsum())
        add(opened, engine, "decode_busy_seconds_total", np.where(slow, 0.5, 0.2).cumsum())
        known = live.rows(opened.reader, SCOPE).drop_nulls(OUTCOME)
    assert known.height > 20
    assert known[OUTCOME][5] == pytest.approx(1.0, abs=0.01)
    assert known[OUTCOME][-1] == pytest.approx(0.4, abs=0.01)
    assert "requests_decoding" not in known[METRICS][0]


def test_the_answer_is_no_input(database: Database) -> None:
    """What the engine writes decides P and therefore is not sampled."""
    names = live.rows(database.reader, SCOPE)[METRICS][0].split()
    assert "tokens_per_s" not in names
    assert "load.offered_per_s" in names


def test_rows_ahead_hold_what_came_after_the_window(database: Database) -> None:
    """The window ends before the neighbour came, its outcome is from after that."""
    rows = live.rows_ahead(database.reader, SCOPE).filter(pl.col(OUTCOME).is_not_null())
    windows = unpack(rows)
    last = windows.values[:, -1, windows.names.index("host.cpu_waiting_ratio")]
    surprised = (last < 0.2) & (rows[OUTCOME].to_numpy() < 0.9)
    assert surprised.sum() == 1


def test_what_is_asked_live_is_answered_with_an_interval(database: Database) -> None:
    """From samples to an answer for the instance, with the age of its newest sample."""
    rows = live.rows(database.reader, SCOPE)
    champion, rival = Degradation("extra", is_quick=True), Constant()
    champion.fit(rows)
    rival.fit(rows)
    asked = live.questions(database.reader, NOW + timedelta(seconds=20))
    assert asked["instance"].to_list() == ["http://node-1:8000/metrics"]
    made = Served(champion, rival).predict(asked).prediction
    assert made.quantiles.at(0.5)[0] == pytest.approx(0.4, abs=0.1)
    assert made.features_age_seconds.tolist() == [20.0]
    assert not made.was_fallback.any()


def test_a_fleet_without_samples_has_no_rows() -> None:
    """Nothing connected: no rows, no error."""
    with Database.open(None, StoreSettings(), VirtualClock(NOW)) as empty:
        assert live.rows(empty.reader, SCOPE).is_empty()
        assert live.questions(empty.reader, NOW).is_empty()


def _sample(run: int, place: int) -> dict[str, object]:
    intensity = float(run % 2)
    return {
        "neighbour": "acme",
        "time_s": 1000 + 13 * (4 * run + place),
        "acme_db_cpu_pct": 5.0,
        "acme_db_mem_pct": 1.0,
        "acme_web_cpu_pct": 0.0 if place == 0 else 20.0,
        "acme_web_mem_pct": 1.0,
        "host_cpu_pct": 30.0 + 50 * intensity,
        "host_mem_pct": 20.0,
        "class": int(intensity),
        "httperf_num": 3125,
        "httperf_period_s": 0.032,
        "request_rate_per_s": 238.9,
        "interference_wkld_intensity": intensity,
        "total_time_ms": 2.0 * (1 + intensity),
    }


def interference_file(folder: Path, runs: int = 12) -> Path:
    """A file shaped like the public one: two settings of a neighbour, four samples a run."""
    rows = [_sample(run, place) for run in range(runs) for place in range(4)]
    path = folder / "interference.parquet"
    pl.DataFrame(rows).write_parquet(path)
    return path


def test_executions_are_parted_where_the_setting_changes(tmp_path: Path) -> None:
    """Each run is one row without its first sample; label, setting and memory are no metrics."""
    samples = data.interference(interference_file(tmp_path))
    rows = data.executions(samples)
    assert rows.height == 12
    assert rows[OUTCOME].to_list() == [1.0, 0.5] * 6
    assert rows["weight"].to_list() == [4.0] * 12
    windows = unpack(rows)
    assert set(windows.lengths) == {3}
    assert windows.values[0, 0, windows.names.index("self.web_cpu_pct")] == 20.0
    assert not any("mem" in n or "total" in n or "intens" in n for n in windows.names)


def test_trailing_windows_know_nothing_of_what_comes(tmp_path: Path) -> None:
    """A window ends at its sample; ahead of it lies only the outcome."""
    samples = data.interference(interference_file(tmp_path))
    alone, long = data.trailing(samples, 1), data.trailing(samples, 8)
    assert alone.height == long.height == 48
    assert unpack(long).lengths.tolist()[:10] == [1, 2, 3, 4, 5, 6, 7, 8, 8, 8]
    ahead = data.trailing(samples, 5, ahead=2)
    assert ahead.height == 46
    assert ahead[OUTCOME][2] == pytest.approx(0.75)


def trace_folder(folder: Path, broken: bool = False) -> Path:
    """Two executions in the schema of CloudPerfTrace, five and three seconds long."""
    place = folder / "parquet_ds" / "tasks=5"
    place.mkdir(parents=True)
    row: dict[str, list[object]] = {"perf_ori": [0.8, 0.5], "workload": [1.0, 2.0]}
    for name, width in {"tr": 54, "lin": 39, "td": 13}.items():
        for who in ("self", "oth"):
            more = 1 if broken and name == "td" else 0
            row[f"{name}_{who}"] = [
                [float(n) for n in range(width * steps + more)] for steps in (5, 3)
            ]
    row["lin_oth"] = [row["lin_oth"][0], None]
    pl.DataFrame(row).write_parquet(place / "part-0.parquet")
    return folder


def test_cloudperftrace_becomes_rows(tmp_path: Path) -> None:
    """206 metrics a second, time stamps left out, a family that was not recorded unknown."""
    rows = cloudperftrace.executions(trace_folder(tmp_path))
    assert rows["application"].to_list() == ["redis", "redis"]
    assert rows[OUTCOME].to_list() == [0.8, 0.5]
    windows = unpack(rows)
    assert windows.values.shape == (2, 5, 206)
    assert windows.lengths.tolist() == [5, 3]
    first = windows.values[0, :2, windows.names.index("self.tr_01")]
    assert first.tolist() == [1.0, 55.0]
    other = windows.values[1, :, windows.names.index("neighbour.lin_01")]
    assert np.isnan(other).all()


def test_cloudperftrace_can_be_learnt(tmp_path: Path) -> None:
    """Its rows fit every method without more ado."""
    rows = cloudperftrace.executions(trace_folder(tmp_path))
    many = pl.concat([rows] * 30)
    predictor = Degradation("ridge", is_quick=True)
    predictor.fit(many)
    assert len(predictor.predict(rows)) == 2


def test_a_torn_trace_is_refused_with_the_file(tmp_path: Path) -> None:
    """Samples that are no whole rows say which column of which file."""
    with pytest.raises(PredictorError, match="td_self holds 66 numbers") as caught:
        cloudperftrace.executions(trace_folder(tmp_path, broken=True))
    assert "part-0.parquet" in str(caught.value.where)
    with pytest.raises(PredictorError, match="no folders tasks=N"):
        cloudperftrace.executions(tmp_path / "nothing")


def test_requests_of_an_engine_see_only_gauges_from_before(tmp_path: Path) -> None:
    """A request is labelled by its time alone, and its window ends before it arrived."""
    load, event = np.repeat([100, 500], 10), np.tile(np.arange(10), 2)
    total = np.where(load == 100, 2.0, 4.0)
    arrived = 50.0 + event
    pl.DataFrame(
        {
            "scale": load,
            "event_id": event,
            "in_len_tokens": [100] * 20,
            "total_chunk_time_s": total,
            "record_time_s": arrived + total,
        }
    ).write_parquet(tmp_path / "requests.parquet")
    times = np.arange(45.0, 62.0, 0.5)
    names = [*vllm_logs._ENGINE]
    engine = dict.fromkeys(names, times) | {"timestamp_s": times, "scale": [500] * len(times)}
    pl.DataFrame(engine).write_parquet(tmp_path / "engine.parquet")
    pl.DataFrame(
        {"scale": [500], "record_time_s": [46.0], "gpu_util_pct": [50], "gpu_temp_celsius": [60]}
    ).write_parquet(tmp_path / "gpu.parquet")
    rows = vllm_logs.requests(tmp_path)
    assert rows.height == 10
    assert rows[OUTCOME].unique().to_list() == [0.5]
    windows = unpack(rows)
    newest = windows.values[0, windows.lengths[0] - 1, windows.names.index("self.requests_running")]
    assert newest < 50.0
    assert rows[WINDOW].list.len().max() == 20 * len(vllm_logs.NAMES)
