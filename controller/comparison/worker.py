"""A process that replays: `python -m controller.comparison.worker FOLDER`.

It reads the folder that `protocol.save` left, then tasks from stdin, one JSON line each, and
answers on stdout. It opens no store and no socket, so that it may be stopped at any moment; when
whoever started it is gone, it goes too.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event, Thread
from typing import Any, TextIO

import numpy as np

from controller.comparison.building import built
from controller.comparison.handing import load, load_window
from controller.comparison.naming import OURS
from controller.comparison.protocol import Case, Comparison
from controller.comparison.runs import failed
from controller.comparison.tasks import Task, work
from controller.observation import Limits, Objective
from controller.profile import Profile, StepTimes
from controller.replay import ReplaySettings, replay
from controller.simulator.fleet import PoolPlan
from controller.simulator.workload import Workload
from controller.startup import StartupTimes

NICENESS = 10
TELL_SECONDS = 0.5
_LOOK_SECONDS = 2.0


class Teller:
    """Says how far a task is, not too often.

    Args:
        out: where lines go.
        task: number of the task.
    """

    def __init__(self, out: TextIO, task: int) -> None:
        self._out, self._task = out, task
        self._last = 0.0

    def __call__(self, share: float) -> None:
        """A replay began (0) or is so far."""
        now = time.monotonic()
        if share > 0 and now - self._last < TELL_SECONDS:
            return
        self._last = now
        tell(self._out, {"task": self._task, "share": share})


def tell(out: TextIO, message: Mapping[str, Any]) -> None:
    """One line."""
    out.write(json.dumps(message, allow_nan=False) + "\n")
    out.flush()


def warm() -> None:
    """Have everything compiled, so that no replay's time limit pays for it."""
    n = 60
    # Long enough for ours to look back, which is compiled, too.
    workload = Workload.of(np.linspace(0.0, 1300.0, n), np.full(n, 50), np.full(n, 5))
    profile = Profile("warm", StepTimes(0.01))
    plan = PoolPlan("pool", profile, 2, StartupTimes.about(1.0))
    settings = ReplaySettings(Objective(), {"pool": Limits(1, 2)}, {"pool": 1})
    replay(built(OURS, {}, None), workload, [plan], settings)


def serve(folder: Path, tasks: TextIO, out: TextIO) -> None:
    """Answer tasks until there are no more."""
    comparison, cases = load(folder)
    window = load_window(folder)
    warm()
    tell(out, {"ready": True})
    for line in tasks:
        message = json.loads(line)
        number, task = message["task"], Task.of_document(message["what"])
        try:
            answer = work(task, comparison, cases, Teller(out, number), window)
        except Exception as error:  # noqa: BLE001 - whoever asked is told, and asks for the next
            answer = broken(f"{type(error).__name__}: {error}", task, comparison, cases)
        tell(out, {"task": number, "answer": answer})


def broken(
    reason: str, task: Task, comparison: Comparison, cases: Sequence[Case]
) -> dict[str, Any]:
    """The answer of a task that came to nothing."""
    run = task.run
    row = {
        "case": cases[run.case].name,
        "startup_seconds": run.startup_seconds,
        "policy": run.policy,
        "title": run.policy,
        "row": run.row,
        "parameters": json.dumps(dict(run.parameters), sort_keys=True),
        "seed": comparison.seeds[run.seed_number],
        "run_seconds": None,
        **failed(reason),
    }
    return {"rows": [row], "points": [], "broken": reason}


def main(arguments: list[str]) -> int:
    """Exit code 0 once there are no more tasks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    # Whatever a policy prints goes to stderr: stdout is for answers.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)
        Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()
        serve(Path(arguments[0]), sys.stdin, out)
    return 0


def _leave_with(parent: int) -> None:
    never = Event()
    while os.getppid() == parent:
        never.wait(_LOOK_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
