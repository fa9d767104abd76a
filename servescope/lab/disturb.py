"""A neighbour as a process: `python -m servescope.lab.disturb NAME FOLDER`.

It takes one line `{"duty": [share of each second]}`, says `{"working": …}` when it begins and
`{"done": …}` when it is over. It ends with its input, work or no work.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from servescope.lab.aggressors import Aggressor, aggressor
from servescope.lab.children import ERROR, bound
from servescope.lab.stressors import Step
from store.clock import Clock, WallClock
from store.errors import CollectError, ServescopeError

_SLICE_SECONDS = 0.02
_PULSE_SECONDS = 0.1
_EVEN = 1e-3


def work(step: Step, duty: Sequence[float], clock: Clock, over: threading.Event) -> None:
    """Do steps for as long as `duty` says, a share of each second.

    Args:
        step: a little work; longer ones are made up for by longer rests.
        duty: one share a second.
        clock: the time.
        over: ends it early.
    """
    start = clock.monotonic()
    busy = 0.0
    while not over.is_set():
        now = clock.monotonic()
        second = int(now - start)
        if second >= len(duty):
            return
        if duty[second] < _EVEN:
            over.wait(min(start + second + 1 - now, _PULSE_SECONDS))
            continue
        step()
        busy += clock.monotonic() - now
        if busy >= _SLICE_SECONDS:
            over.wait(min(busy * (1 - duty[second]) / duty[second], 1.0))
            busy = 0.0


def pulse(
    process: subprocess.Popen[bytes], duty: Sequence[float], clock: Clock, over: threading.Event
) -> None:
    """Let a process and its group run for a share of each second, and stop them for the rest.

    Raises:
        CollectError: it ended by itself.
    """
    group = process.pid
    start = clock.monotonic()
    while not over.is_set() and (second := int(clock.monotonic() - start)) < len(duty):
        if process.poll() is not None:
            raise CollectError(f"ended early with status {process.returncode}")
        running = duty[second] * _PULSE_SECONDS
        if running > _EVEN:
            os.killpg(group, signal.SIGCONT)
            over.wait(running)
        if running < _PULSE_SECONDS - _EVEN:
            os.killpg(group, signal.SIGSTOP)
            over.wait(_PULSE_SECONDS - running)
    os.killpg(group, signal.SIGCONT)


def main(arguments: list[str]) -> int:
    """Disturb once."""
    name, folder = arguments
    one = aggressor(name)
    try:
        line = sys.stdin.readline()
        if not line:
            return 0
        order = json.loads(line)
        over = threading.Event()
        threading.Thread(target=_listen, args=(over,), daemon=True).start()
        _disturb(one, Path(folder), order["duty"], over)
        if not over.is_set():  # else nobody listens any more
            _say({"done": name})
    except (OSError, ServescopeError) as error:
        with suppress(BrokenPipeError):
            _say({ERROR: f"{name}: {error}"})
        return 2
    return 0


def _disturb(one: Aggressor, folder: Path, duty: Sequence[float], over: threading.Event) -> None:
    clock = WallClock()
    if one.steps is None:
        with _foreign(one, folder, len(duty)) as process:
            pulse(process, duty, clock, over)
        return
    with one.steps(folder) as step:
        _say({"working": one.name})
        work(step, duty, clock, over)


@contextmanager
def _foreign(one: Aggressor, folder: Path, seconds: int) -> Iterator[subprocess.Popen[bytes]]:
    # It ends by itself should we be killed while it is stopped.
    limit = ["--timeout", str(seconds + 5), "--temp-path", str(folder)]
    command = [*one.command, *limit]
    process = subprocess.Popen(  # noqa: S603 - a literal of ours
        bound(command, os.sched_getaffinity(0)), stdout=subprocess.DEVNULL, process_group=0
    )
    _say({"working": one.name})
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGCONT)
            os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(2.0)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _listen(over: threading.Event) -> None:
    sys.stdin.read()  # ends when whoever asked is gone
    over.set()


def _say(told: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
