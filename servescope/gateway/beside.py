"""What runs beside the proxy: tenants, rows on their way, spans, and the server's word."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from collector.drops import Drops
from controller.gateway.hooks import Forgets, Hooks, Recorder
from controller.gateway.quota_file import QuotaFile
from controller.gateway.recorder import SpoolingRecorder, spooling_recorder
from controller.gateway.recording import RecorderSettings, server_poster
from controller.gateway.spans import Both, SpanExporter, SpanSettings, span_exporter
from controller.gateway.tenants import Tenants, WatchedTenants
from controller.gateway.tracing import Traces
from servescope.gateway.settings import GatewaySettings
from servescope.gateway.steering import Standing, Steering
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
        steering: what decides, when the server or the file of tenants says otherwise.
        recording: how rows are kept; None where no server is named.
        quotas: on disk; None where there is no folder for it.
        details: tells what else the server is to know; set by who puts the gateway together.
        url: where clients come to.
    """

    hooks: Hooks
    tenants: Tenants
    clock: Clock
    steering: Steering
    recorder: SpoolingRecorder | None = None
    spans: SpanExporter | None = None
    watched: WatchedTenants | None = None
    drops: Drops = field(default_factory=Drops)
    recording: RecorderSettings | None = None
    quotas: QuotaFile | None = None
    details: Standing = dict
    url: str = ""
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

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
        if self.recording is not None:
            told = self.recording
            poster = server_poster(told)
            self.steering.ask(told.name, self.url, poster, told.folder, self.standing)
        if self.quotas is not None:
            self.quotas.load()

    def start(self) -> None:
        """Go on beside the proxy."""
        if self.recorder is not None:
            self.recorder.start()
        if self.spans is not None:
            self.spans.start()
        self.steering.start()
        loop = asyncio.get_running_loop()
        if self.watched is not None:
            self._tasks.append(loop.create_task(self._watch(self.watched)))
        if self.quotas is not None:
            self._tasks.append(loop.create_task(self.quotas.run()))

    async def aclose(self) -> None:
        """Deliver what there is, and let go."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.quotas is not None:
            await self.quotas.aclose()
        for part in (self.steering, self.spans, self.recorder):
            if part is not None:
                await part.aclose()

    def standing(self) -> Mapping[str, Any]:
        """How it stands, for the server."""
        rows = self.recorder.state() if self.recorder is not None else None
        return {
            "waiting_rows": rows.waiting_rows if rows else 0,
            "dropped_rows": sum(rows.dropped.values()) if rows else 0,
            "details": {**self.details(), "problem": self.problem},
        }

    @property
    def problem(self) -> str | None:
        """The first of what is wrong here, but for a server that is away: it would not hear it."""
        parts = (part for part in (self.watched, self.quotas) if part is not None)
        return next((part.problem for part in parts if part.problem), None)

    def status(self) -> dict[str, Any]:
        """How it stands, for people on this machine."""
        rows = self.recorder.state() if self.recorder is not None else None
        told = {} if rows is None else {**asdict(rows), "dropped": dict(rows.dropped)}
        return {
            "control": self.steering.status(),
            "rows": told or None,
            "spans": self.spans and {"sent": self.spans.sent, "waiting": self.spans.waiting,
                                     "problem": self.spans.problem},
            "tenants": {
                "named": len(self.tenants.book.tenants), "unauthorized": self.tenants.unauthorized,
                "shared": self.tenants.shared,
                "problem": self.watched and self.watched.problem,
            },
            "quotas": {
                "are_kept": self.quotas is not None,
                "problem": self.quotas and self.quotas.problem,
            },
        }  # fmt: skip

    async def _watch(self, watched: WatchedTenants) -> None:
        while True:
            await self.clock.sleep(TENANTS_SECONDS)
            await watched.look()


def beside(settings: GatewaySettings, clock: Clock) -> Beside:
    """As the settings have it; nothing is opened yet.

    Raises:
        ConfigError: an address is none.
    """
    tenants = Tenants(clock)
    steering = Steering(settings, clock)
    recording = _recording(settings) if settings.server else None
    recorder = spooling_recorder(recording, clock, steering.marks) if recording else None
    drops = Drops()
    spans = span_exporter(_spans(settings), clock, drops) if settings.otlp_endpoint else None
    heard: list[Recorder] = [one for one in (recorder, spans) if one is not None]
    hooks = Hooks(
        callers=tenants, lengths=steering.lengths, tracer=Traces(),
        recorder=Both(*heard) if heard else Forgets(),
    )  # fmt: skip
    file = settings.tenants_file
    watched = WatchedTenants(Path(file).expanduser(), tenants, steering.use_book) if file else None
    folder = _folder(settings) if settings.server or settings.spool_folder else None
    quotas = QuotaFile(folder, clock, steering.rules) if folder else None
    scheme = "https" if settings.tls_certificate else "http"
    return Beside(
        hooks, tenants, clock, steering, recorder, spans, watched, drops, recording,
        quotas, url=f"{scheme}://{settings.listen}",
    )  # fmt: skip


def name_of(settings: GatewaySettings) -> str:
    """What the server calls this gateway."""
    return settings.name or re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())


def _recording(settings: GatewaySettings) -> RecorderSettings:
    return RecorderSettings(
        settings.server, name_of(settings), _folder(settings), settings.server_token_file,
        settings.ca_file,
    )  # fmt: skip


def _folder(settings: GatewaySettings) -> Path:
    from servescope.config import data_folder

    told = settings.spool_folder
    return Path(told).expanduser() if told else data_folder() / "gateway"


def _spans(settings: GatewaySettings) -> SpanSettings:
    return SpanSettings(
        settings.otlp_endpoint, settings.otlp_names, instance=name_of(settings),
        token_file=settings.otlp_token_file, ca_file=settings.ca_file,
    )  # fmt: skip
