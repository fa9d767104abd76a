"""A made fleet whose engines tell their pace, and whose machines tell what they do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from store.database import Database
from store.targets import describe, register

STEP = 15
Values = Callable[[int], float]


class Fleet:
    """Targets on made machines, sampled every 15 s for some hours before `end`."""

    def __init__(self, database: Database, end: datetime, hours: float = 5.0) -> None:
        self.database, self.end = database, end
        self.count = int(hours * 3600 / STEP)
        self.dice = np.random.default_rng(0)

    def step_of(self, seconds_ago: float) -> int:
        """The sample so long before the end."""
        return self.count - int(seconds_ago / STEP)

    def engine(
        self, url: str, slow: Mapping[tuple[float, float], float] | None = None, model: str = "m",
        running: float = 4.0, until_ago: float = 0.0, **more: Any,
    ) -> int:  # fmt: skip
        """An engine that writes 100 tokens/s, `slow` times fewer between two times ago (s)."""
        factor = np.ones(self.count)
        for (start, end), times in (slow or {}).items():
            factor[self.step_of(start) : self.step_of(end)] = times
        noise = self.dice.normal(1, 0.02, self.count)
        written = np.cumsum(100.0 * STEP / factor * noise)
        kept = self.count - int(until_ago / STEP)
        signals = {
            "generation_tokens_total": written,
            "requests_running": np.full(self.count, running),
            **{name: self._noisy(value) for name, value in more.items()},
        }
        return self.target(url, {name: v[:kept] for name, v in signals.items()}, "vllm", model)

    def machine(self, url: str, **signals: Any) -> int:
        """A node exporter: numbers with a little noise, or (usual, {(start, end): value})."""
        return self.target(url, {name: self._noisy(v) for name, v in signals.items()}, None, None)

    def _noisy(self, value: Any) -> np.ndarray[Any, Any]:
        usual, changed = value if isinstance(value, tuple) else (value, {})
        made = np.full(self.count, float(usual))
        for (start, end), other in changed.items():
            made[self.step_of(start) : self.step_of(end)] = other
        made = made * self.dice.normal(1, 0.03, self.count)
        return made

    def target(
        self, url: str, signals: Mapping[str, Any], engine: str | None, model: str | None
    ) -> int:
        writer = self.database.writer
        target_id = register(writer, url, self.end - timedelta(days=1)).result()
        describe(writer, target_id, engine=engine, engine_version="1", model=model).result()
        for name, values in signals.items():
            at = [self.at(step) for step in range(len(values))]
            kind = "counter" if name.endswith("_total") else "gauge"
            writer.append(
                "sample",
                pl.DataFrame(
                    {
                        "target_id": target_id, "signal": name, "labels": "{}", "kind": kind,
                        "unit": "", "sampled_at": at, "value": np.asarray(values, float),
                    }
                ),
            ).result()  # fmt: skip
        stamps = [self.at(self.count - 1)]
        writer.append(
            "scrape",
            pl.DataFrame(
                {
                    "target_id": [target_id], "scraped_at": stamps, "duration_seconds": [0.01],
                    "outcome": ["ok"], "error": pl.Series([None], dtype=pl.String),
                    "bad_line_count": [0],
                }
            ),
        ).result()  # fmt: skip
        return target_id

    def at(self, step: int) -> datetime:
        """Naive UTC of a sample."""
        back = timedelta(seconds=STEP * (self.count - step))
        return (self.end - back).replace(tzinfo=None)


def fill(database: Database, end: datetime) -> None:
    """Four engines on three machines: one slowed now and before, one slowed once, one silent."""
    fleet = Fleet(database, end, hours=8.0)
    early, now, once = (15_000.0, 13_200.0), (1_500.0, 0.0), (9_000.0, 7_800.0)
    busy = {early: 11.0, now: 12.0}
    waiting = (1.0, {now: 5.0, early: 4.0})
    fleet.engine("http://gpu-1:8000/metrics", {early: 1.55, now: 1.7}, requests_waiting=waiting)
    fleet.engine("http://gpu-2:8000/metrics", {once: 1.4})
    fleet.engine("http://gpu-3:8000/metrics")
    fleet.engine("http://gpu-3:8001/metrics", until_ago=7_200.0, model="other")
    fleet.machine("http://gpu-1:9100/metrics", node_processes_running=(2, busy),
                  node_load_1m=(2, busy), node_processes_blocked=1)  # fmt: skip
    fleet.machine("http://gpu-2:9400/metrics",
                  gpu_sm_clock_hertz=(1.98e9, {once: 1.2e9}), gpu_temperature_celsius=71,
                  gpu_throttled_ratio=(0.01, {once: 0.6}))  # fmt: skip
    fleet.machine("http://gpu-3:9100/metrics", node_processes_running=2)
