"""Jobs: periods, skips, missed periods, failures; every run leaves its mark."""

import asyncio
import threading
from datetime import UTC, datetime

import pytest

from servescope.jobs import Job, JobRunner
from store.clock import VirtualClock


class Rows:
    """Collects `job_run` rows."""

    def __init__(self):
        self.rows = []

    def append(self, table, frame):
        assert table == "job_run"
        self.rows += frame.to_dicts()


@pytest.fixture
def clock():
    return VirtualClock(datetime(2026, 1, 31, tzinfo=UTC))


async def settle(times=20):
    """Let tasks and worker threads come to rest."""
    for _ in range(times):
        await asyncio.to_thread(lambda: None)


async def test_a_job_runs_once_a_period_and_each_run_is_a_row(clock):
    """Three periods, three rows with outcome and details."""
    rows, runs = Rows(), []
    runner = JobRunner([Job("tidy", 60, lambda: runs.append(1) or {"freed": 7})], rows, clock)
    runner.start()
    await settle(1)
    for _ in range(3):
        clock.advance(60)
        await settle()
    await runner.aclose()
    assert len(runs) == 3
    assert [row["outcome"] for row in rows.rows] == ["done"] * 3
    assert rows.rows[0]["details"] == '{"freed": 7}'
    assert rows.rows[0]["started_at"] == datetime(2026, 1, 31, 0, 1)


async def test_a_missed_period_runs_once(clock):
    """After an hour asleep there is one run, not sixty."""
    runs = []
    runner = JobRunner([Job("tidy", 60, lambda: runs.append(1))], Rows(), clock)
    runner.start()
    await settle(1)
    clock.advance(3600)
    await settle()
    await runner.aclose()
    assert len(runs) == 1


async def test_a_run_is_skipped_while_the_one_before_goes_on(clock):
    """The skip is recorded, the work is not doubled."""
    rows, gate, runs = Rows(), threading.Event(), []

    def slow():
        runs.append(1)
        gate.wait(5)

    runner = JobRunner([Job("slow", 10, slow)], rows, clock)
    runner.start()
    await settle(1)
    clock.advance(10)
    await settle(3)
    clock.advance(10)
    await settle(3)
    gate.set()
    await runner.aclose()
    assert len(runs) == 1
    assert sorted(row["outcome"] for row in rows.rows) == ["done", "skipped"]


async def test_a_failure_is_recorded_and_the_next_run_heals_it(clock):
    """One bad run neither ends the loop nor stays forever."""
    rows, fail = Rows(), [True, False]

    def work():
        if fail.pop(0):
            raise RuntimeError("disk gone")

    runner = JobRunner([Job("tidy", 60, work)], rows, clock)
    runner.start()
    await settle(1)
    clock.advance(60)
    await settle()
    assert runner.failing() == {"tidy": "RuntimeError: disk gone"}
    clock.advance(60)
    await settle()
    await runner.aclose()
    assert runner.failing() == {}
    assert [row["outcome"] for row in rows.rows] == ["failed", "done"]


async def test_closing_is_safe_twice_and_without_a_start(clock):
    """Shutdown paths may cross."""
    runner = JobRunner([Job("tidy", 60, lambda: None)], Rows(), clock)
    await runner.aclose()
    runner.start()
    await runner.aclose()
    await runner.aclose()
