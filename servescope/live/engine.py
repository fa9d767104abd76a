"""One llama-server as a child process: started, ready, stopped by its own number."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import httpx2

from store.clock import WallClock
from store.errors import CollectError

READY_SECONDS = 30.0
_STOP_SECONDS = 5.0
_LOOPBACK = "127.0.0.1"


class LlamaServer:
    """An engine on loopback for as long as the context lasts.

    Args:
        binary: the program.
        model: GGUF file.
        slots: requests decoded together; more wait.
        context_tokens: of all slots together.
        log: file for what it prints.
        port: where it listens; 0 takes a free one. A restart under the same port is the same
            instance.
        before: words in front of the command, such as `taskset -c 0`.
        alias: what it calls its model.
        after: further options of its own, such as `--embeddings`.
    """

    def __init__(
        self,
        binary: Path,
        model: Path,
        *,
        log: Path,
        slots: int = 4,
        context_tokens: int = 16_384,
        port: int = 0,
        before: Sequence[str] = (),
        alias: str = "tiny",
        after: Sequence[str] = (),
    ) -> None:
        self._command = [
            *before,
            *_command(binary, model, alias),
            *_sizes(slots, context_tokens),
            *after,
        ]
        self._log = log
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> LlamaServer:
        port = self._port or _free_port()
        self.url = f"http://{_LOOPBACK}:{port}"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - a path the user chose
                [*self._command, "--port", str(port)], stdout=log, stderr=subprocess.STDOUT
            )
        try:
            self._wait()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    @property
    def pid(self) -> int | None:
        """Of the process; None before it was started."""
        return None if self._process is None else self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def _wait(self) -> None:
        clock = WallClock()
        until = clock.monotonic() + READY_SECONDS
        with httpx2.Client(base_url=self.url, timeout=2.0, trust_env=False) as client:
            while clock.monotonic() < until and self.alive:
                try:
                    if client.get("/health").status_code == 200:
                        return
                except httpx2.HTTPError:
                    _pause()
        raise CollectError(
            "llama-server did not become ready", where=str(self._log), hint="the log says why"
        )

    def _stop(self) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            # With streams still open it decodes no more and never leaves.
            process.kill()
            process.wait()


def _command(binary: Path, model: Path, alias: str) -> Sequence[str]:
    return [
        *(str(binary), "-m", str(model), "--alias", alias, "--host", _LOOPBACK),
        *("--metrics", "--slots", "--no-webui"),
    ]


def _sizes(slots: int, context_tokens: int) -> Sequence[str]:
    return ("-c", str(context_tokens), "-np", str(slots), "-t", "1", "-tb", "1")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _pause() -> None:
    threading.Event().wait(0.05)
