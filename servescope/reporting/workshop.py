"""Has reports made by processes of their own: each with a limit of time and of memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import BoundedSemaphore, Event
from typing import Any, ClassVar

from servescope.reporting import worker
from servescope.reporting.definition import Definition
from servescope.reporting.settings import ReportsSettings
from servescope.reporting.shelf import MANIFEST
from store.errors import ServescopeError

AT_ONCE = 2
_LOOK_SECONDS = 0.2
_ERRORS = "stderr.txt"
_MOST_SAID = 64 * 1024
# Python, its compiler, C++, Rust, OpenBLAS, jemalloc and the loader each say it in their own way,
# or abort; a thread needs memory, too.
_WANTS_MEMORY = (
    "memoryerror",
    "systemerror",
    "bad_alloc",
    "memory allocation",
    "cannot allocate memory",
    "failed to map segment",
    "thread creation failed",
    "failed to spawn",
    "can't start new thread",
)
_KILLED = (-signal.SIGKILL, -signal.SIGABRT)


class NotMade(ServescopeError):
    """A report could not be made."""

    code = "report"


class Busy(ServescopeError):
    """Too many reports are made at this moment."""

    code = "busy"
    status: ClassVar[int] = 429


@dataclass(frozen=True, slots=True)
class Order:
    """A report that is wanted.

    Attributes:
        definition: template, scope, zone and forms.
        period: key of the period.
    """

    definition: Definition
    period: str


Maker = Callable[[Order, Path, Event], Mapping[str, Any]]
"""Makes an order in an empty folder, until the event is set; gives the manifest; raises NotMade."""


class Workshop:
    """Makes orders in processes of their own.

    Args:
        url: of the server, whose numbers they ask for.
        store: its file; beside it lies what the server lets them in by.
        settings: limits.
    """

    def __init__(
        self, url: str | None, settings: ReportsSettings, store: Path | None = None
    ) -> None:
        self._url, self._settings, self._store = url, settings, store
        self._free = BoundedSemaphore(AT_ONCE)

    def __call__(self, order: Order, folder: Path, stop: Event) -> Mapping[str, Any]:
        """Make an order.

        Raises:
            NotMade: it cannot be, took too long or too much memory, or the server ends.
            Busy: two are made already.
        """
        if self._url is None:
            raise NotMade("this process answers no questions", hint="run `servescope up`")
        if not self._free.acquire(timeout=self._settings.limit_seconds):
            raise Busy(f"{AT_ONCE} reports are made at this moment", hint="ask again soon")
        try:
            return self._made(order, folder, stop)
        finally:
            self._free.release()

    def _made(self, order: Order, folder: Path, stop: Event) -> Mapping[str, Any]:
        (folder / worker.TASK).write_text(json.dumps(self._task(order)), "utf-8")
        with (folder / _ERRORS).open("wb") as errors:
            process = subprocess.Popen(  # noqa: S603 - our own module, no shell
                [sys.executable, "-m", "servescope.reporting.worker", str(folder)],
                env=_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=errors,
            )  # fmt: skip
            try:
                code = self._waited(process, stop)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        return self._manifest(folder, code)

    def _task(self, order: Order) -> dict[str, Any]:
        settings, definition = self._settings, order.definition
        return {
            "url": self._url, "store": str(self._store or ""),
            "link": settings.link or self._url, "period": order.period,
            "template": definition.template, "templates": settings.templates,
            "zone": definition.zone, "scope": dict(definition.scope),
            "formats": list(definition.formats), "memory_bytes": settings.memory_bytes,
            "limit_seconds": settings.limit_seconds,
        }  # fmt: skip

    def _waited(self, process: subprocess.Popen[bytes], stop: Event) -> int:
        """The worker's exit code."""
        limit = self._settings.limit_seconds
        for _ in range(max(1, round(limit / _LOOK_SECONDS))):
            with suppress(subprocess.TimeoutExpired):
                return process.wait(_LOOK_SECONDS)
            if stop.is_set():
                raise NotMade("the server ends")
        raise NotMade(
            f"it was stopped after {limit:g} s",
            hint="choose a smaller scope, or raise reports.limit_seconds",
        )

    def _manifest(self, folder: Path, code: int) -> Mapping[str, Any]:
        said = _tail(folder / _ERRORS)
        (folder / _ERRORS).unlink(missing_ok=True)
        if code == 0:
            found: Mapping[str, Any] = json.loads((folder / MANIFEST).read_text("utf-8"))
            return found
        problem = folder / worker.PROBLEM
        if problem.exists():
            raise NotMade(str(json.loads(problem.read_text("utf-8"))["message"]))
        if code in _KILLED or any(words in said.lower() for words in _WANTS_MEMORY):
            raise NotMade(
                f"it needed more than {self._settings.memory_bytes:,} bytes of memory",
                hint="choose a smaller scope, or raise reports.memory_bytes",
            )
        last = said.splitlines()[-1:] or ["no message"]
        raise NotMade(f"its process ended with exit code {code}: {last[0][:300]}")


def _environment() -> dict[str, str]:
    """As ours, with one thread for each library: more of them only cost memory here."""
    names = ("OMP", "MKL", "OPENBLAS", "NUMEXPR")
    threads = {f"{name}_NUM_THREADS": "1" for name in names} | {"POLARS_MAX_THREADS": "2"}
    path = os.pathsep.join(filter(None, sys.path))
    return {**os.environ, **threads, "PYTHONPATH": path, "MPLBACKEND": "Agg"}


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - _MOST_SAID))
        return file.read().decode("utf-8", "replace").strip()
