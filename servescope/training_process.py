"""Runs the worker process that trains or back-tests a predictor, within its limits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from predictors import worker
from store.errors import PredictorError

MOST_ROWS = 2_000_000
LEAST_ROWS = 50
_LOOK_SECONDS = 0.5
_ERRORS = "stderr.txt"


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Limits of one training, or of one back-test.

    Attributes:
        limit_seconds: the worker is stopped after this long.
        threads: processor threads it may use.
        most_rows: newest rows beyond this are what it learns from.
    """

    limit_seconds: float = 1800.0
    threads: int = 1
    most_rows: int = MOST_ROWS


def work(
    folder: Path,
    doing: str,
    task: Mapping[str, Any],
    limits: TrainingSettings,
    stop: Event,
    told: Callable[[int], None] = lambda _: None,
) -> Mapping[str, Any]:
    """Let the worker do a task, in a process of its own.

    Args:
        folder: with the rows; what comes of it is left there.
        doing: "training latency-ttft", for people.
        task: for `predictors.worker`.
        limits: of time and threads.
        stop: ends it early once it is set.
        told: called with the number of windows that a back-test has done.

    Raises:
        PredictorError: it failed, was stopped, or took too long.
    """
    (folder / worker.TASK).write_text(json.dumps(dict(task)), "utf-8")
    threads = {f"{name}_NUM_THREADS": str(limits.threads) for name in ("OMP", "MKL", "OPENBLAS")}
    command = [sys.executable, "-m", "predictors.worker", str(folder)]
    with (folder / _ERRORS).open("wb") as errors:
        process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            command,
            env={**os.environ, **threads, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        try:
            code = _waited(process, folder, doing, limits, stop, told)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    return _report(folder, doing, code)


def _waited(
    process: subprocess.Popen[bytes],
    folder: Path,
    doing: str,
    limits: TrainingSettings,
    stop: Event,
    told: Callable[[int], None],
) -> int:
    """The worker's exit code."""
    done = 0
    for _ in range(max(1, int(limits.limit_seconds / _LOOK_SECONDS))):
        with suppress(subprocess.TimeoutExpired):
            return process.wait(_LOOK_SECONDS)
        if stop.is_set():
            raise PredictorError(f"{doing} was stopped: the server ends")
        with suppress(FileNotFoundError):
            done, before = (folder / worker.DONE).stat().st_size, done
            if done > before:
                told(done)
    raise PredictorError(
        f"{doing} was stopped after {limits.limit_seconds:.0f} s",
        hint="take a shorter range, or raise predict.train_limit_seconds",
    )


def _report(folder: Path, doing: str, code: int) -> Mapping[str, Any]:
    if code == 0:
        report: Mapping[str, Any] = json.loads((folder / worker.REPORT).read_text("utf-8"))
        return report
    refused = folder / worker.ERROR
    if refused.exists():
        told = json.loads(refused.read_text("utf-8"))
        raise PredictorError(told["message"], hint=told["hint"])
    said = (folder / _ERRORS).read_bytes().decode("utf-8", "replace").strip()
    last = said.splitlines()[-1:] or ["no message"]
    raise PredictorError(
        f"{doing} ended with exit code {code}: {last[0][:300]}",
        hint="out of memory ends with -9: take a shorter range",
    )
