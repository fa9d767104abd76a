"""What runs beside the proxy: who the tenants are, rows on their way to the server, spans."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from collector.drops import Drops
from controller.gateway.hooks import Forgets, Recorder
from controller.gateway.proxy import Hooks
from controller.gateway.recorder import SpoolingRecorder, spooling_recorder
from controller.gateway.recording import RecorderSettings
from controller.gateway.rows import Marks
from controller.gateway.spans import Both, SpanExporter, SpanSettings, span_exporter
from controller.gateway.tenants import Tenants, WatchedTenants
from controller.gateway.tracing import Traces
from servescope.gateway.settings import GatewaySettings
from store.clock import Clock

TENANTS_SECONDS = 1.0


@dataclass(slots=True)
class Beside:
    """Parts that have a life of their own.

    Attributes:
        hooks: for the proxy.
        tenants: who asks.
        recorder: rows; None where no server is named.
        spans: None where no collector is named.
        watched: the file of tenants; None where none is named.
        drops: what was lost of spans.
    """

    hooks: Hooks
    tenants: Tenants
    clock: Clock
    recorder: SpoolingRecorder | None = None
    spans: SpanExporter | None = None
    watched: WatchedTenants | None = None
    drops: Drops = field(default_factory=Drops)
    _watching: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Take what belongs to them, before anything is served.

        Raises:
            ConfigError: the file of tenants has mistakes.
            CollectError: the spool cannot be used.
        """
        if self.watched is not None:
            self.watched.load()
        if self.recorder is not None:
            self.recorder.open()

    def start(self) -> None:
        """Go on beside the proxy."""
        if self.recorder is not None:
            self.recorder.start()
        if self.spans is not None:
            self.spans.start()
        if self.watched is not None:
            self._watching = asyncio.get_running_loop().create_task(self._watch(self.watched))

    async def aclose(self) -> None:
        """Deliver what there is, and let go."""
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
        for part in (self.spans, self.recorder):
            if part is not None:
                await part.aclose()

    async def _watch(self, watched: WatchedTenants) -> None:
        while True:
            await self.clock.sleep(TENANTS_SECONDS)
            await watched.look()


def beside(settings: GatewaySettings, clock: Clock, marks: Callable[[], Marks] = Marks) -> Beside:
    """As the settings have it; nothing is opened yet.

    Raises:
        ConfigError: an address is none.
    """
    tenants = Tenants(clock)
    recorder = spooling_recorder(_recording(settings), clock, marks) if settings.server else None
    drops = Drops()
    spans = span_exporter(_spans(settings), clock, drops) if settings.otlp_endpoint else None
    heard: list[Recorder] = [one for one in (recorder, spans) if one is not None]
    hooks = Hooks(
        callers=tenants, tracer=Traces(), recorder=Both(*heard) if heard else Forgets()
    )  # fmt: skip
    file = settings.tenants_file
    watched = WatchedTenants(Path(file).expanduser(), tenants) if file else None
    return Beside(hooks, tenants, clock, recorder, spans, watched, drops)


def name_of(settings: GatewaySettings) -> str:
    """What the server calls this gateway."""
    return settings.name or re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())


def _recording(settings: GatewaySettings) -> RecorderSettings:
    folder = Path(settings.spool_folder).expanduser() if settings.spool_folder else _spool_folder()
    return RecorderSettings(
        settings.server, name_of(settings), folder, settings.server_token_file, settings.ca_file
    )


def _spool_folder() -> Path:
    from servescope.config import data_folder

    return data_folder() / "gateway"


def _spans(settings: GatewaySettings) -> SpanSettings:
    return SpanSettings(
        settings.otlp_endpoint, settings.otlp_names, instance=name_of(settings),
        token_file=settings.otlp_token_file, ca_file=settings.ca_file,
    )  # fmt: skip
