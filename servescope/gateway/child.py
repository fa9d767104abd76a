"""The gateway as a child of the server: started, watched, started again, ended with it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from servescope.config import Config
from servescope.listening import key_file
from store.clock import Clock

log = logging.getLogger("servescope.gateway")

CHILD = "SERVESCOPE_GATEWAY_CHILD"
"""Set for a gateway that ends when its standard input does: with whoever started it."""
FIRST_PAUSE_SECONDS = 1.0
MOST_PAUSE_SECONDS = 30.0
STEADY_SECONDS = 60.0
"""A child that ran so long is started again at once; pauses begin anew."""
KILL_AFTER_SECONDS = 5.0
MOST_LINE_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class ChildPlan:
    """How the child is started.

    Attributes:
        command: program and arguments.
        environment: of the process.
        drain_seconds: streams may go on so long at the end.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    drain_seconds: float = 30.0


def plan(config: Config, server_url: str | None, store: Path | None = None) -> ChildPlan | None:
    """The child that a configuration asks for; None where it names no engine for a gateway.

    Args:
        config: of the server.
        server_url: where it answers; the gateway's rows go there unless its settings say otherwise.
        store: the server's; beside it lies what the gateway shows at the server's door.
    """
    settings = config.gateway
    if not (settings.upstreams or settings.upstreams_file):
        return None
    command = [sys.executable, "-m", "servescope", "gateway"]
    if config.file is not None:
        command += ["--config", str(config.file)]
    environment = {**os.environ, CHILD: "1"}
    if server_url and not settings.server:
        environment["SERVESCOPE_GATEWAY__SERVER"] = server_url
        if store is not None and not settings.server_token_file:
            environment["SERVESCOPE_GATEWAY__SERVER_TOKEN_FILE"] = str(key_file(store.absolute()))
    return ChildPlan(command, environment, settings.drain_seconds)


class GatewayChild:
    """Keeps one gateway running until it is closed.

    Args:
        planned: how it is started.
        clock: the time.
        show: takes each line that it says.
    """

    def __init__(
        self, planned: ChildPlan, clock: Clock, show: Callable[[str], None] | None = None
    ) -> None:
        self.starts = 0
        self.pid: int | None = None
        self.last_exit: int | None = None
        self._plan, self._clock = planned, clock
        self._show = show or _pass_on
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start it, and again whenever it ends."""
        self._task = asyncio.create_task(self._keep_running())

    async def aclose(self) -> None:
        """End it: its streams may go on for as long as it drains. Safe twice, and without start."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _keep_running(self) -> None:
        pause_seconds = FIRST_PAUSE_SECONDS
        while True:
            began = self._clock.monotonic()
            try:
                await self._once()
            except OSError as error:
                log.warning("gateway_not_started", extra={"why": error.strerror})
            ran_seconds = self._clock.monotonic() - began
            if ran_seconds >= STEADY_SECONDS:
                pause_seconds = FIRST_PAUSE_SECONDS
            log.warning(
                "gateway_ended",
                extra={"exit": self.last_exit, "ran_seconds": round(ran_seconds, 1),
                       "again_in_seconds": pause_seconds},
            )  # fmt: skip
            await self._clock.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, MOST_PAUSE_SECONDS)

    async def _once(self) -> None:
        """From its start to its end; ends it when cancelled."""
        process = await asyncio.create_subprocess_exec(
            *self._plan.command, env=dict(self._plan.environment), stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, limit=MOST_LINE_BYTES,
            # A Ctrl-C in the terminal is for the server, which then ends it in order.
            start_new_session=True,
        )  # fmt: skip
        self.starts += 1
        self.pid = process.pid
        telling = asyncio.create_task(self._tell(process))
        try:
            self.last_exit = await process.wait()
        except asyncio.CancelledError:
            await self._end(process)
            raise
        finally:
            self.pid = None
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
            if process.stdin is not None:
                process.stdin.close()

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(self._plan.drain_seconds + KILL_AFTER_SECONDS):
                    self.last_exit = await process.wait()
            except TimeoutError:
                process.kill()
                self.last_exit = await process.wait()

    async def _tell(self, process: asyncio.subprocess.Process) -> None:
        """Show what it says; nothing that it says may stop it from saying more."""
        out = process.stdout
        while out is not None:
            try:
                line = await out.readline()
            except ValueError:  # longer than the limit: what was read of it is gone
                continue
            if not line:
                return
            self._show(line.decode("utf-8", "replace").rstrip())


def end_with_parent(stop: Callable[[], None]) -> None:
    """In the child: call `stop` when whoever started it is gone. Without one, nothing."""
    if not os.environ.get(CHILD):
        return
    loop, source = asyncio.get_running_loop(), sys.stdin.fileno()

    def look() -> None:
        if not os.read(source, 1_024):
            loop.remove_reader(source)
            stop()

    loop.add_reader(source, look)


def _pass_on(line: str) -> None:
    # A line of its log is one of ours: it has its own time, level and name.
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
