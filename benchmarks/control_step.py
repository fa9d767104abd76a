"""Seconds of a control step over many replicas, part by part: looking, deciding, writing down.

    python benchmarks/control_step.py [--replicas 1000] [--steps 20] [--policy risk]

Engines' samples of the last minutes lie in a store on disk, as a server keeps them. The target is a
step (policy, guards, record) within 50 ms for 1,000 replicas; reading the store is told beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from controller.lease import Leases

from controller.actuators.base import Applied, Scale
from controller.book import Book
from controller.cases import LLAMA_70B
from controller.hands import Hands
from controller.loop import Loop
from controller.observation import Objective
from controller.observe import StoreEyes
from controller.policies.registry import make
from controller.pools import Pool, fleets_of
from controller.settings import ControllerSettings
from store import targets
from store.clock import VirtualClock
from store.database import Database
from store.settings import StoreSettings

SCRAPE = 5.0
SIGNALS = {
    "requests_running": 20.0, "requests_waiting": 3.0, "kv_cache_usage_ratio": 0.5,
    "requests_finished_total": 30.0, "generation_tokens_total": 5000.0,
    "prompt_tokens_total": 9000.0,
}  # fmt: skip
TARGET_SECONDS = 0.05


class Still:
    """A platform that does what it is told, at once."""

    name, limit_seconds = "still", 1.0

    def __init__(self, replicas):
        self.replicas = replicas

    async def read(self, pool):
        """As it is."""
        return Scale(pool, self.replicas, self.replicas)

    async def apply(self, pool, replicas, decision_id, version=""):
        """At once."""
        return Applied("applied", "", Scale(pool, replicas, replicas))

    async def aclose(self):
        """Nothing is held."""


class Timed:
    """Counts the seconds of one part."""

    def __init__(self):
        self.seconds = []

    def of(self, work):
        """The same work, timed."""

        def timed(*args, **more):
            began = time.perf_counter()
            try:
                return work(*args, **more)
            finally:
                self.seconds.append(time.perf_counter() - began)

        return timed


def scrape(database, clock, ids, totals, random):
    at = clock.now().replace(tzinfo=None)
    frames = []
    for signal, value in SIGNALS.items():
        kind = "counter" if signal.endswith("_total") else "gauge"
        told = random.poisson(value * 10, len(ids)) / 10
        if kind == "counter":
            told = totals[signal] = totals.get(signal, 0.0) + told
        frames.append(
            pl.DataFrame(
                {"target_id": ids, "value": told.astype(float)}
            ).with_columns(
                signal=pl.lit(signal), kind=pl.lit(kind), unit=pl.lit("1"), labels=pl.lit("{}"),
                sampled_at=pl.lit(at),
            )
        )  # fmt: skip
    scrapes = pl.DataFrame({"target_id": ids}).with_columns(
        scraped_at=pl.lit(at), duration_seconds=pl.lit(0.01), outcome=pl.lit("ok")
    )
    database.writer.append("scrape", scrapes)
    return database.writer.append("sample", pl.concat(frames))


async def measure(replicas, steps, policy_name, folder):
    clock = VirtualClock(datetime(2026, 1, 31, 12, tzinfo=UTC))
    random = np.random.default_rng(1)
    table = {"name": "a", "match": {"model": "m"}, "most": 2 * replicas, "startup": 60.0,
             "policy": policy_name}  # fmt: skip
    settings = ControllerSettings(pool=(table,), mode="active")
    pool = Pool(settings.pools()[0], Objective(), LLAMA_70B)
    policy = make(policy_name)
    fleets = fleets_of([pool], {"a": policy}, settings)
    with Database.open(Path(folder) / "store.duckdb", StoreSettings(), clock) as database:
        noted = {f"http://r{n}:8000/metrics": targets.Noted(clock.now(), "vllm", "m")
                 for n in range(replicas)}  # fmt: skip
        ids = list(targets.note(database.writer, noted).result().values())
        totals = {}
        for _ in range(int(180 / SCRAPE)):
            clock.advance(SCRAPE)
            scrape(database, clock, ids, totals, random)
        database.writer.flush()
        book = Book(database, clock, ("a",), "active")
        leases = Leases(None, "benchmark")
        hands = Hands({"a": Still(replicas)}, book, leases, 1.0)
        eyes = StoreEyes(database.reader, clock, 15.0, 5.0, SCRAPE)
        look, whole = Timed(), []
        eyes.observe = look.of(eyes.observe)
        loop = Loop(fleets, eyes, hands, book, leases, settings, clock)
        loop.load()
        await loop.tick(fleets[0])
        look.seconds.clear()
        for _ in range(steps):
            for _ in range(3):
                clock.advance(SCRAPE)
                scrape(database, clock, ids, totals, random)
            database.writer.flush()
            began = time.perf_counter()
            await loop.tick(fleets[0])
            whole.append(time.perf_counter() - began)
        size = len(database.reader.scalar("SELECT max(content) FROM observation"))
    return look.seconds, whole, size


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--policy", default="risk")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        look, whole, size = asyncio.run(measure(given.replicas, given.steps, given.policy, folder))
    step = [one - seen for one, seen in zip(whole, look, strict=True)]
    told = {
        "replicas": given.replicas,
        "policy": given.policy,
        "steps": given.steps,
        "step_p50_ms": 1000 * statistics.median(step),
        "step_max_ms": 1000 * max(step),
        "look_p50_ms": 1000 * statistics.median(look),
        "look_max_ms": 1000 * max(look),
        "record_kb": size / 1000,
        "target_ms": 1000 * TARGET_SECONDS,
        "met": statistics.median(step) <= TARGET_SECONDS,
        "measured_at": datetime.now(UTC).isoformat(),
    }
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
