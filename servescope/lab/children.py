"""Child processes of the laboratory: talked to in lines of JSON, never left behind."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from servescope.lab import launch
from store.clock import WallClock
from store.errors import CollectError

STOP_SECONDS = 3.0
ERROR = "error"
# One thread a library, or a victim alone would already fight with itself for its core.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")


def bound(command: Sequence[str], cores: Collection[int]) -> list[str]:
    """The command so that it runs on `cores` and ends with the process that starts it."""
    launcher = [sys.executable, "-I", "-S", launch.__file__]
    return [*launcher, ",".join(str(core) for core in sorted(cores)), *command]


class Child:
    """A Python module as a process that answers lines of JSON with lines of JSON.

    Args:
        module: run with `python -m`.
        arguments: of it.
        cores: on which it and its children run.
        log: file for what it says besides.
    """

    def __init__(
        self, module: str, arguments: Sequence[str], cores: Collection[int], log: Path
    ) -> None:
        self._module = module
        self._command = bound([sys.executable, "-m", module, *arguments], cores)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""

    def __enter__(self) -> Child:
        environment = {**os.environ, **dict.fromkeys(_ONE_THREAD, "1")}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
            )
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            process.wait(STOP_SECONDS)  # it leaves when its input ends
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def pid(self) -> int:
        """Its process number."""
        return self._running().pid

    @property
    def alive(self) -> bool:
        """Whether it is there."""
        return self._running().poll() is None

    def tell(self, message: Mapping[str, Any]) -> None:
        """Send a line.

        Raises:
            CollectError: it has ended.
        """
        stdin = self._running().stdin
        if stdin is None:
            raise CollectError(f"{self._module} has no input", where=str(self._log))
        try:
            stdin.write(json.dumps(message).encode() + b"\n")
            stdin.flush()
        except OSError as error:
            raise self._ended() from error

    def hear(self, limit_seconds: float) -> dict[str, Any]:
        """Its next line.

        Raises:
            CollectError: it ended, kept silent for too long, or told of an error.
        """
        stdout = self._running().stdout
        clock = WallClock()
        until = clock.monotonic() + limit_seconds
        while stdout is not None and b"\n" not in self._rest:
            left = until - clock.monotonic()
            if left <= 0 or not select.select([stdout], [], [], left)[0]:
                raise CollectError(
                    f"{self._module} did not answer within {limit_seconds:g} s",
                    where=str(self._log),
                )
            part = os.read(stdout.fileno(), 65_536)
            if not part:
                raise self._ended()
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        told: dict[str, Any] = json.loads(line)
        if ERROR in told:
            raise CollectError(str(told[ERROR]), where=self._module)
        return told

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise CollectError(f"{self._module} was not started")
        return self._process

    def _ended(self) -> CollectError:
        return CollectError(
            f"{self._module} ended early", where=str(self._log), hint="the log says why"
        )
