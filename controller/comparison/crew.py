"""Worker processes that replay: so many at a time, each replay with a time limit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from types import TracebackType
from typing import IO, Any, Self

from controller.comparison.tasks import Task
from store.errors import ControllerError

MOST_WORKERS = 64
# Importing and compiling, the first time on a machine.
READY_SECONDS = 300.0
_THREADS = ("OMP", "MKL", "OPENBLAS", "POLARS_MAX", "NUMBA")


@dataclass(frozen=True, slots=True)
class Message:
    """News of a task.

    Attributes:
        task: its number.
        share: of the replay that goes on.
        answer: what came of it; None: it goes on.
        reason: why nothing came of it.
    """

    task: int
    share: float = 0.0
    answer: Mapping[str, Any] | None = None
    reason: str | None = None


@dataclass(slots=True)
class _Worker:
    process: subprocess.Popen[str]
    tasks: IO[str]
    errors: Path
    began: float
    is_ready: bool = False
    task: int | None = None


class Crew:
    """Belongs to one thread.

    Args:
        folder: with the job, as `protocol.save` left it.
        workers: processes.
        run_seconds: a replay that takes longer is ended together with its process.
    """

    def __init__(self, folder: Path, workers: int, run_seconds: float) -> None:
        if not 1 <= workers <= MOST_WORKERS:
            raise ControllerError(f"{workers} worker processes are outside 1 to {MOST_WORKERS}")
        self._folder, self._most, self._run_seconds = folder, workers, run_seconds
        self._heard: Queue[tuple[int, dict[str, Any] | None]] = Queue()
        self._workers: dict[int, _Worker] = {}
        self._waiting: deque[tuple[int, Task]] = deque()
        self._born = self._asked = 0
        self._has_compiled = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def ask(self, task: Task) -> int:
        """Queue a task; gives its number."""
        self._asked += 1
        self._waiting.append((self._asked, task))
        self._feed()
        return self._asked

    def withdraw(self, number: int) -> bool:
        """Take back a task that nobody began; whether there was one."""
        before = len(self._waiting)
        self._waiting = deque(one for one in self._waiting if one[0] != number)
        return len(self._waiting) < before

    def news(self, seconds: float) -> Message | None:
        """The next message, or None when there was none for so long.

        Raises:
            ControllerError: no worker process can be started.
        """
        late = self._late()
        if late is not None:
            return late
        try:
            number, told = self._heard.get(timeout=seconds)
        except Empty:
            return None
        worker = self._workers.get(number)
        if worker is None:
            return None
        if told is None:
            return self._gone(number, worker)
        return self._understood(worker, told)

    def close(self) -> None:
        """End every process, whatever it does. Safe twice."""
        self._waiting.clear()
        workers, self._workers = list(self._workers.values()), {}
        for worker in workers:
            _ended(worker)

    def _understood(self, worker: _Worker, told: Mapping[str, Any]) -> Message | None:
        if "ready" in told:
            worker.is_ready = self._has_compiled = True
            self._feed()
            return None
        number = int(told["task"])
        if "answer" not in told:
            if told["share"] == 0:
                worker.began = time.monotonic()
            return Message(number, float(told["share"]))
        worker.task = None
        self._feed()
        return Message(number, 1.0, told["answer"])

    def _feed(self) -> None:
        for worker in self._workers.values():
            if worker.is_ready and worker.task is None and self._waiting:
                self._hand(worker, *self._waiting.popleft())
        # The first compiles for all.
        most = self._most if self._has_compiled else 1
        idle = sum(worker.task is None for worker in self._workers.values())
        while len(self._workers) < most and idle < len(self._waiting):
            self._start()
            idle += 1

    def _hand(self, worker: _Worker, number: int, task: Task) -> None:
        worker.task, worker.began = number, time.monotonic()
        line = json.dumps({"task": number, "what": task.document()})
        # Where it is gone, its reader says so in a moment.
        with suppress(OSError):
            worker.tasks.write(line + "\n")
            worker.tasks.flush()

    def _start(self) -> None:
        self._born += 1
        errors = self._folder / f"worker-{self._born}.stderr"
        with errors.open("wb") as to:
            process = subprocess.Popen(  # noqa: S603 - our own module, no shell
                [sys.executable, "-m", "controller.comparison.worker", str(self._folder)],
                env=_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=to,
                text=True,
                encoding="utf-8",
                # Ctrl-C is for whoever started it.
                start_new_session=True,
            )
        if process.stdin is None or process.stdout is None:
            raise ControllerError("a worker process has no pipes")
        self._workers[self._born] = _Worker(process, process.stdin, errors, time.monotonic())
        ears = (self._born, process.stdout, self._heard)
        Thread(target=_listen, args=ears, daemon=True).start()

    def _late(self) -> Message | None:
        now = time.monotonic()
        for number, worker in list(self._workers.items()):
            if not worker.is_ready and now - worker.began > READY_SECONDS:
                self._drop(number, worker)
                raise ControllerError(
                    f"a worker process was not ready after {READY_SECONDS:.0f} s",
                    hint="is the machine overloaded? try --workers 1",
                )
            if worker.task is not None and now - worker.began > self._run_seconds:
                task = worker.task
                self._drop(number, worker)
                limit = f"a replay took longer than {self._run_seconds:g} s and was ended"
                return Message(task, 1.0, None, limit)
        return None

    def _gone(self, number: int, worker: _Worker) -> Message | None:
        """A process ended by itself."""
        task, was_ready = worker.task, worker.is_ready
        self._workers.pop(number)
        _ended(worker)
        code = worker.process.returncode
        last = worker.errors.read_text("utf-8", "replace").strip().splitlines()[-1:] or [""]
        text = f"its process ended with code {code}" + (f": {last[0][:200]}" if last[0] else "")
        if not was_ready:
            raise ControllerError(
                f"a worker process could not start ({text})", hint="servescope doctor"
            )
        self._feed()
        return None if task is None else Message(task, 1.0, None, text)

    def _drop(self, number: int, worker: _Worker) -> None:
        self._workers.pop(number)
        _ended(worker)
        self._feed()


def _environment() -> dict[str, str]:
    threads = {f"{name}_NUM_THREADS": "1" for name in _THREADS} | {"POLARS_MAX_THREADS": "1"}
    return {**os.environ, **threads, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def _listen(number: int, answers: IO[str], heard: Queue[tuple[int, dict[str, Any] | None]]) -> None:
    with answers:
        for line in answers:
            try:
                heard.put((number, json.loads(line)))
            except ValueError:
                break
    heard.put((number, None))


def _ended(worker: _Worker) -> None:
    if worker.process.poll() is None:
        worker.process.kill()
    worker.process.wait()
    with suppress(OSError):
        worker.tasks.close()
