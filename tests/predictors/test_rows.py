"""Rows of the store: what was known when a request arrived, and nothing that came later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from predictors.latency.features import REPRESENTATIVES
from predictors.rows import requests as rows
from store.clock import WallClock
from store.database import Database
from store.queries import predictor_rows
from store.queries.scope import Scope
from store.settings import StoreSettings
from store.targets import describe, register

START = datetime(2026, 3, 1)
KNOWN_LATER = (
    "finished_at", "is_ok", "finish_reason", "output_tokens", "cached_tokens", "ttft_seconds",
    "tpot_seconds", "e2e_seconds",
)  # fmt: skip


def scope(seconds=3600, **more):
    start = START.replace(tzinfo=UTC)
    return Scope((1,), start, start + timedelta(seconds=seconds), **more)


def requests(n, seed=0, **more):
    random = np.random.default_rng(seed)
    ttft = random.exponential(0.5, n)
    return pl.DataFrame(
        {
            "request_id": [f"r{i}" for i in range(n)],
            "arrived_at": [START + timedelta(seconds=0.4 * i) for i in range(n)],
            "status": ["ok"] * n,
            "model": ["m"] * n,
            "tenant": ["a" if i % 2 else "b" for i in range(n)],
            "instance": [f"node-{i % 2}:8000" for i in range(n)],
            "input_tokens": random.integers(1, 900, n),
            "output_tokens": random.integers(1, 300, n),
            "ttft_seconds": ttft,
            "e2e_seconds": ttft + random.exponential(3.0, n),
            "session_id": [f"s{i // 3}" for i in range(n)],
            **more,
        }
    )


@pytest.fixture
def database():
    with Database.open(None, StoreSettings(memory_limit_bytes=128 << 20), WallClock()) as opened:
        yield opened


def kept(database, frame):
    database.writer.append("request", frame).result()
    return rows.asked(database.reader, scope())


def test_load_is_what_one_would_count(database):
    """Waiting, running and their tokens, per instance, against counting one by one."""
    found = kept(database, requests(300))
    everything = found.to_dicts()
    for row in everything[::17]:
        before = [r for r in everything if r["instance"] == row["instance"] and r["at"] < row["at"]]
        first = {r["request_key"]: r["at"] + timedelta(seconds=r["ttft_seconds"]) for r in before}
        waits = [r for r in before if first[r["request_key"]] > row["at"]]
        runs = [
            r
            for r in before
            if first[r["request_key"]] <= row["at"] and r["finished_at"] > row["at"]
        ]
        assert row["requests_waiting"] == len(waits)
        assert row["requests_running"] == len(runs)
        assert row["tokens_waiting"] == sum(r["input_tokens"] for r in waits)
        oldest = min((r["at"] for r in waits), default=row["at"])
        assert row["oldest_wait_seconds"] == (row["at"] - oldest).total_seconds()
        ages = row["running_generated_tokens"]
        if ages is not None:
            assert len(ages) == min(len(runs), REPRESENTATIVES)
            assert ages == sorted(ages)
            context = sum(r["input_tokens"] for r in runs)
            more = len(runs) * np.mean(ages) if ages else 0.0
            assert row["context_tokens"] == pytest.approx(context + more)


def test_running_requests_are_as_far_as_answers_before_them_were_fast(database):
    """Ten tokens a second so far: who got the first token two seconds ago has put out twenty."""
    seconds = [0.0, 5.0, 6.0, 8.0]
    frame = requests(
        4, arrived_at=[START + timedelta(seconds=s) for s in seconds], instance=["one"] * 4,
        input_tokens=[100] * 4, output_tokens=[21, 50, 50, 50], ttft_seconds=[1.0] * 4,
        e2e_seconds=[3.0, 9.0, 9.0, 9.0],
    )  # fmt: skip
    found = kept(database, frame)
    ages = found["running_generated_tokens"].to_list()
    assert ages == [[], [], [0.0], [pytest.approx(10.0), pytest.approx(20.0)]]
    assert found["context_tokens"].to_list() == [0.0, 0.0, 100.0, pytest.approx(230.0)]
    assert found["oldest_wait_seconds"].to_list() == [0.0, 0.0, 0.0, 0.0]


def test_the_pace_that_the_engine_tells_comes_first(database):
    """A step of 50 ms: three seconds after its first token a request has put out sixty tokens."""
    url = "http://one:8000/metrics"
    writer = database.writer
    target = register(writer, url, START.replace(tzinfo=UTC)).result()
    describe(writer, target, engine="vllm", engine_version="1", model="m").result()
    frame = pl.DataFrame({"sampled_at": [START + timedelta(seconds=3)], "value": [0.05]})
    named = frame.with_columns(
        target_id=pl.lit(target, pl.Int32), signal=pl.lit("engine_step_seconds"),
        kind=pl.lit("gauge"), unit=pl.lit("s"), labels=pl.lit("{}"),
    )  # fmt: skip
    writer.append("sample", named).result()
    asked = requests(
        2, arrived_at=[START, START + timedelta(seconds=4)], instance=["one:8000"] * 2,
        ttft_seconds=[1.0, 1.0], e2e_seconds=[9.0, 9.0],
    )  # fmt: skip
    found = kept(database, asked)
    assert found["running_generated_tokens"].to_list() == [[], [pytest.approx(60.0)]]


def test_what_comes_later_changes_no_feature(database):
    """Two stores that differ only after an instant give the same features before it."""
    cut = 150
    one = requests(300)
    later = requests(300, seed=9)
    other = pl.concat([one.head(cut), later.tail(300 - cut)])
    with Database.open(None, StoreSettings(memory_limit_bytes=128 << 20), WallClock()) as second:
        b = kept(second, other).head(cut).drop(KNOWN_LATER)
    a = kept(database, one).head(cut).drop(KNOWN_LATER)
    assert a.equals(b)


def test_an_answer_that_goes_on_is_no_history(database):
    """The turn before counts only where it had ended by then."""
    frame = requests(6, e2e_seconds=[0.1, 50.0, 0.1, 0.1, 0.1, 0.1], ttft_seconds=[0.05] * 6)
    found = kept(database, frame)
    assert found["session_turn"].to_list() == [0, 1, 2, 0, 1, 2]
    last, tokens = found["session_last_output_tokens"].to_list(), found["output_tokens"].to_list()
    assert last == [None, tokens[0], None, None, tokens[3], tokens[4]]


def test_a_scope_cuts_rows_and_not_the_load_they_met(database):
    """One tenant's rows still meet the requests of the other, also those before the range."""
    kept(database, requests(300))
    whole = rows.asked(database.reader, scope())
    part = Scope((1,), scope().start + timedelta(seconds=60), scope().end, tenants=("a",))
    found = rows.asked(database.reader, part)
    expected = whole.filter(
        (pl.col("tenant") == "a") & (pl.col("at") >= START + timedelta(seconds=60))
    )
    assert found.equals(expected)


def test_gauges_are_the_newest_from_before_and_not_too_old(database):
    """A request meets the scrape before it, with its age; after minutes of silence none."""
    writer = database.writer
    url = "http://node-0:8000/metrics"
    target = register(writer, url, START.replace(tzinfo=UTC)).result()
    describe(writer, target, engine="vllm", engine_version="1", model="m").result()
    stamps = [START + timedelta(seconds=10 * k) for k in range(4)]
    for signal, kind, values in (
        ("requests_running", "gauge", [1.0, 2.0, 3.0, 4.0]),
        ("prompt_tokens_total", "counter", [0.0, 1000.0, 3000.0, 100.0]),
    ):
        frame = pl.DataFrame({"sampled_at": stamps, "value": values}).with_columns(
            target_id=pl.lit(target, pl.Int32), signal=pl.lit(signal), kind=pl.lit(kind),
            unit=pl.lit(""), labels=pl.lit("{}"),
        )  # fmt: skip
        writer.append("sample", frame).result()
    asked = [5.0, 15.0, 25.0, 35.0, 600.0]
    frame = requests(5, arrived_at=[START + timedelta(seconds=s) for s in asked])
    found = kept(database, frame.with_columns(instance=pl.lit("node-0:8000")))
    assert found["scraped_running"].to_list() == [1.0, 2.0, 3.0, 4.0, None]
    assert found["scraped_age_seconds"].to_list() == [5.0, 5.0, 5.0, 5.0, None]
    # The counter fell at the restart: for one scrape nothing is known.
    assert found["prompt_tokens_per_second"].to_list() == [None, 100.0, 200.0, None, None]
    assert found["engine"].to_list() == ["vllm"] * 4 + [None]


def test_what_failed_is_a_lower_bound_and_a_cut_answer_too(database):
    """Failed: at least as long as it took; cut: at least so many tokens; neither is the truth."""
    frame = requests(
        3, status=["ok", "failed", "ok"], finish_reason=["stop", None, "length"],
        e2e_seconds=[1.0, 2.0, 3.0],
    )  # fmt: skip
    kept(database, frame)
    first = rows.ttft_seconds(database.reader, scope())
    assert first["is_censored"].to_list() == [False, True, False]
    assert first["outcome"].to_list()[1] == 2.0
    tokens = rows.output_tokens(database.reader, scope())
    assert tokens["is_censored"].to_list() == [False, False, True]
    assert tokens["outcome"].to_list()[1] is None


def test_prefixes_count_blocks_that_somebody_had_before(database):
    """Whole beginnings that earlier prompts shared, not later ones."""
    found = kept(database, requests(3))
    blocks = [[1, 2, 3], [1, 2, 9], [1, 2, 9]]
    database.writer.run(
        lambda connection: [
            connection.execute("INSERT INTO request_prefix VALUES (1, ?, ?, ?)", [key, at, block])
            for (key, at), block in zip(
                found.select("request_key", "at").iter_rows(), blocks, strict=True
            )
        ]
    ).result()
    again = rows.asked(database.reader, scope())
    assert again["prefix_seen_blocks"].to_list() == [0, 2, 3]
    assert again["prefix_blocks"].to_list() == blocks


def test_a_trace_without_times_has_no_load(database):
    """Where nothing tells when requests end, the load is unknown, not zero."""
    found = kept(database, requests(20).drop("ttft_seconds", "e2e_seconds"))
    assert found["requests_running"].null_count() == 20


def test_an_empty_store_has_no_rows(database):
    """All columns, no row, no failure."""
    assert rows.ttft_seconds(database.reader, scope()).is_empty()
    assert predictor_rows.pending(database.reader, START, START + timedelta(hours=1)).is_empty()
