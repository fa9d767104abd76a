"""Findings: what is said of known workloads, in which order, with which evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from analysis import findings
from store.clock import VirtualClock
from store.database import Database
from store.queries.scope import Scope
from store.settings import StoreSettings

START = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def findings_of() -> Iterator[Callable[..., pl.DataFrame]]:
    """Findings of sources given as name → columns with `seconds`."""
    with Database.open(None, StoreSettings(threads=1), VirtualClock(START)) as database:

        def run(**sources: dict[str, Any]) -> pl.DataFrame:
            ids = range(2, 2 + len(sources))
            for source_id, (name, columns) in zip(ids, sources.items(), strict=True):
                _fill(database, source_id, name.replace("_", "-"), columns)
            scope = Scope(
                tuple(ids), datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
            )
            view = findings.workload_findings(database.reader, scope)
            assert view.sentences == tuple(view.frames["findings"]["sentence"])
            return view.frames["findings"]

        yield run


def _fill(database: Database, source_id: int, name: str, columns: dict[str, Any]) -> None:
    database.writer.run(
        lambda c: c.execute(
            "INSERT INTO source (source_id, name, kind, format, clock, created_at)"
            " VALUES (?, ?, 'trace', 'mapped', 'utc', TIMESTAMP '2026-01-01')",
            [source_id, name],
        )
    ).result()
    given = {"status": "ok", "input_tokens": 500, "output_tokens": 200, **columns}
    stamps = np.rint((np.asarray(given.pop("seconds")) + START.timestamp()) * 1e6).astype(np.int64)
    size = len(stamps)
    rows = pl.DataFrame(
        {
            "request_id": [str(i) for i in range(size)],
            "source_id": [source_id] * size,
            "arrived_at": stamps.astype("datetime64[us]"),
            **{k: v if isinstance(v, list | np.ndarray) else [v] * size for k, v in given.items()},
        }
    )
    types = {"source_id": pl.Int16, "input_tokens": pl.Int32, "output_tokens": pl.Int32}
    database.writer.append("request", rows.cast(types)).result()


def _poisson(random, rate=5.0, size=6000):
    return np.cumsum(random.exponential(1 / rate, size))


def _bursts(random, size=6000):
    """Groups of a hundred within a second, at random moments."""
    moments = np.cumsum(random.exponential(20, size // 100))
    return np.sort(np.repeat(moments, 100) + random.random(size))


def _sentence(frame: pl.DataFrame, words: str) -> dict[str, Any]:
    found = frame.filter(pl.col("sentence").str.contains(words, literal=True))
    assert found.height == 1, frame["sentence"].to_list()
    return found.row(0, named=True)


def test_a_poisson_stream_of_one_length_is_called_that_and_nothing_else(findings_of, random):
    """Nothing stands out of a plain stream but that it is plain."""
    frame = findings_of(plain={"seconds": _poisson(random)})
    assert frame.height == 1
    assert "close to Poisson" in frame["sentence"][0]


def test_the_difference_of_two_sources_comes_first(findings_of, random):
    """A bursty, prompt-heavy source beside a plain one: one sentence says both, and what fails."""
    frame = findings_of(
        fleet_code={"seconds": _bursts(random), "input_tokens": 2000, "output_tokens": 20},
        fleet_chat={"seconds": _poisson(random)},
    )
    first = frame.row(0, named=True)
    assert first["rank"] == 1
    assert first["sentence"].startswith("code arrives")
    assert "burstier than chat" in first["sentence"]
    assert "40x more prefill-heavy (output/input 0.01 vs 0.4)" in first["sentence"]
    assert first["sentence"].endswith("a Poisson capacity plan would fail")
    assert first["command"] == "servescope analyze fleet-code --compare fleet-chat"
    assert "workload_burstiness" in first["evidence"]
    assert frame["score"].is_sorted(descending=True)


def test_bursts_are_told_with_their_busiest_second(findings_of, random):
    """The spread of counts against Poisson's, and the peak."""
    row = _sentence(findings_of(b={"seconds": _bursts(random)}), "is bursty")
    assert "busiest second held" in row["sentence"]
    assert "windows" in row["evidence"]


def test_a_beat_is_told(findings_of):
    """Even arrivals are a load generator's."""
    frame = findings_of(beat={"seconds": np.arange(0, 1200, 0.25)})
    assert "arrives like a beat" in frame["sentence"][0]


def test_a_coarse_clock_is_told_and_its_peak_is_not(findings_of, random):
    """Lumps are the clock's doing, so no busiest second is named."""
    frame = findings_of(lumps={"seconds": np.sort(random.integers(0, 100, 3000)) * 3.0})
    assert "fits are refused" in _sentence(frame, "too coarse for gaps")["sentence"]
    assert not frame["sentence"].str.contains("busiest").any()


def test_a_silence_is_told_with_when_it_began(findings_of, random):
    """Ten minutes of nothing in a stream of five a second."""
    seconds = _poisson(random)
    seconds[3000:] += 600
    row = _sentence(findings_of(hole={"seconds": seconds}), "is silent for 60")
    began = datetime.fromtimestamp(START.timestamp() + seconds[2999], UTC)
    assert f"{began:%H:%M:%S}" in row["sentence"]


def test_failures_are_told_with_where_they_fall(findings_of, random):
    """A tenth of the traffic has nearly all failures."""
    seconds = _poisson(random)
    tenant = np.where(random.random(6000) < 0.1, "mallory", "alice")
    status = np.where((tenant == "mallory") & (random.random(6000) < 0.6), "failed", "ok")
    row = _sentence(
        findings_of(f={"seconds": seconds, "tenant": tenant, "status": status}), "did not succeed"
    )
    assert "tenant mallory" in row["sentence"]
    assert "95 % interval" in row["evidence"]


def test_few_failures_are_not_a_finding(findings_of, random):
    """Two of a hundred could be chance: the interval reaches below one percent."""
    frame = findings_of(
        f={"seconds": _poisson(random, size=100), "status": ["failed"] * 2 + ["ok"] * 98}
    )
    assert not frame["sentence"].str.contains("did not succeed").any()


def test_heavy_tails_and_caps_are_told(findings_of, random):
    """Outputs with a long tail, inputs cut at 4,096."""
    frame = findings_of(
        t={
            "seconds": _poisson(random),
            "input_tokens": np.minimum(random.lognormal(7, 1.0, 6000), 4096).astype(int),
            "output_tokens": random.lognormal(3, 1.5, 6000).astype(int) + 1,
        }
    )
    assert "plan with the distribution" in _sentence(frame, "longest 1 % of outputs")["sentence"]
    assert "4,096 tokens" in _sentence(frame, "look cut off")["sentence"]


def test_skew_between_clients_is_told(findings_of, random):
    """One tenant of twenty sends four of five requests."""
    tenants = np.where(random.random(6000) < 0.8, 0, random.integers(1, 20, 6000))
    frame = findings_of(s={"seconds": _poisson(random), "tenant": tenants.astype(str)})
    assert "a few clients make the traffic" in _sentence(frame, "the ten largest")["sentence"]


def test_growing_context_is_told(findings_of, random):
    """Sessions of six turns that add 300 tokens each."""
    turn = np.tile(np.arange(6), 1000)
    frame = findings_of(
        c={
            "seconds": np.sort(_poisson(random)),
            "session_id": np.repeat(np.arange(1000), 6).astype(str),
            "input_tokens": 500 + 300 * turn,
        }
    )
    assert "adds 300 input tokens" in _sentence(frame, "each turn of a session")["sentence"]


def test_a_daily_rhythm_is_told(findings_of, random):
    """Three days with a peak at noon."""
    hours = np.arange(72)
    rates = np.rint(60 * (1 + 0.9 * np.cos(2 * np.pi * (hours - 12) / 24))).astype(int)
    seconds = np.concatenate(
        [h * 3600 + random.random(n) * 3600 for h, n in zip(hours, rates, strict=True)]
    )
    row = _sentence(findings_of(d={"seconds": np.sort(seconds)}), "daily rhythm")
    assert "about 12:00" in row["sentence"]


def test_nothing_connected_is_said(database, live_scope):
    """No findings of an empty store, and the reason."""
    view = findings.workload_findings(database.reader, live_scope)
    assert view.frames["findings"].is_empty()
    assert view.frames["findings"].schema == findings.FINDINGS_SCHEMA
    assert view.empty.kind == "nothing_connected"


def test_the_longest_of_a_few_is_not_called_a_cap(findings_of, random):
    """One request in a hundred is always at the largest value; a pile of them is a limit."""
    inputs = random.integers(100, 5000, 150)
    inputs[7] = 9000
    frame = findings_of(few={"seconds": _poisson(random, size=150), "input_tokens": inputs})
    assert not frame["sentence"].str.contains("look cut off").any()


def test_a_grid_that_is_too_wide_is_named_when_few_gaps_are_zero(findings_of, random):
    """Stamps in whole seconds, five seconds apart: the grid is the reason, not the zeros."""
    seconds = np.cumsum(1 + random.integers(0, 9, 400)).astype(float)
    row = _sentence(findings_of(grid={"seconds": seconds}), "too coarse for gaps")
    assert "stamps lie on a 1 s grid" in row["sentence"]
    assert " 0" not in row["sentence"].split(";")[0]
