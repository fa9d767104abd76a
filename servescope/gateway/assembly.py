"""The gateway put together from its settings."""

from __future__ import annotations

import asyncio
import resource
import signal
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import Any

from controller.gateway.fairness_metrics import FairnessReading
from controller.gateway.fairness_watch import FairnessWatch
from controller.gateway.fleet import Pace
from controller.gateway.gate import Gate
from controller.gateway.health import Health
from controller.gateway.hooks import Recorder
from controller.gateway.http.connections import Connections
from controller.gateway.http.limits import HttpLimits
from controller.gateway.pace_book import PaceBook
from controller.gateway.proxy import Proxy
from controller.gateway.proxy_metrics import ProxyMetrics
from controller.gateway.proxy_pages import pages
from controller.gateway.proxy_server import ProxyServer, ServeSettings
from controller.gateway.proxy_settings import ProxySettings
from controller.gateway.upstream import HealthSettings
from servescope.garbage import look_seldom, never_look_again
from servescope.gateway.beside import Beside, beside
from servescope.gateway.child import end_with_parent
from servescope.gateway.policy import limits, policies
from servescope.gateway.settings import GatewaySettings
from servescope.gateway.upstreams import Upstreams, named
from store.clock import Clock
from store.errors import ConfigError


@dataclass(slots=True)
class Gateway:
    """All parts, ready to run."""

    gate: Gate
    health: Health
    proxy: Proxy
    server: ProxyServer
    upstreams: Upstreams
    beside: Beside
    fairness: FairnessWatch
    clock: Clock

    async def run(self, sock: socket, stop: asyncio.Event, on_ready: Callable[[], None]) -> None:
        """Serve until told to stop.

        Raises:
            ConfigError: an engine's address is none, or the file of tenants has mistakes.
            CollectError: the spool cannot be used.
        """
        self.upstreams.look()
        self.beside.open()
        self.beside.start()
        loop = asyncio.get_running_loop()
        watching = [loop.create_task(one) for one in (self.upstreams.watch(), self.fairness.run())]
        try:
            await self.server.run(sock, stop, on_ready)
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
            await self.beside.aclose()


def build(settings: GatewaySettings, clock: Clock, recorder: Recorder | None = None) -> Gateway:
    """A gateway as the settings have it.

    Args:
        settings: all of it.
        clock: the time.
        recorder: hears of attempts instead of the one that the settings name.

    Raises:
        ConfigError: a policy, an engine or a certificate cannot be used.
    """
    fairness = FairnessWatch(clock)
    gate = Gate(fairness.over(policies(settings)), limits(settings), paces=PaceBook())
    fairness.attach(gate)
    health = Health(
        gate, clock,
        HealthSettings(
            probe_seconds=settings.probe_seconds, timeout_seconds=settings.probe_timeout_seconds,
            seats=settings.seats, cache_tokens=settings.cache_tokens or None,
            pace=Pace(*settings.pace) if settings.pace else None, key=settings.upstream_api_key,
        ),
        settings.connect_seconds,
    )  # fmt: skip
    metrics = ProxyMetrics()
    parts = beside(settings, clock)
    if recorder is not None:
        parts.hooks.recorder = recorder
    proxy = Proxy(gate, health, _proxy(settings), parts.hooks, clock, metrics)
    connections = Connections(_limits(settings))
    metrics.watch(gate, connections, proxy.hedges)
    metrics.registry.register(FairnessReading(fairness))
    serving = ServeSettings(settings.drain_seconds, tls=tls(settings))
    server = ProxyServer(proxy, connections, serving, clock)
    proxy.pages.update(
        pages(proxy, server, lambda: {"fairness": fairness.state(), **parts.status()})
    )
    parts.steering.attach(gate, proxy.pump, fairness)
    parts.details = lambda: {**_details(proxy, server), "fairness": fairness.state()}
    file = Path(settings.upstreams_file).expanduser() if settings.upstreams_file else None
    upstreams = Upstreams(health, named(settings.upstreams), file, clock)
    return Gateway(gate, health, proxy, server, upstreams, parts, fairness, clock)


def tls(settings: GatewaySettings) -> ssl.SSLContext | None:
    """Of the certificate; None where there is none.

    Raises:
        ConfigError: it cannot be used.
    """
    if not settings.tls_certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"the certificate cannot be used ({error.strerror or error})",
            where=settings.tls_certificate,
            hint="gateway.tls_certificate and gateway.tls_key_file name PEM files",
        ) from None
    return context


def make_room(connections: int) -> None:
    """Let the process have as many files open as it needs: two for each client."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * connections + 256
    if soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


async def serve(gateway: Gateway, sock: socket, on_ready: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    end_with_parent(stop.set)

    def ready() -> None:
        never_look_again()
        on_ready()

    look_seldom()
    await gateway.run(sock, stop, ready)


def _details(proxy: Proxy, server: ProxyServer) -> dict[str, Any]:
    """What the server is told of the gateway, besides its rows."""
    gate = proxy.gate
    return {
        "waiting": len(gate.waiting),
        "running": len(proxy.flights) - len(gate.waiting),
        "instances_ready": sum(one.state == "ready" for one in gate.instances.values()),
        "instances": len(gate.instances),
        "line": gate.policies.line.spec.name,
        "way": gate.policies.way.spec.name,
        "draining": server.is_draining,
    }


def _proxy(settings: GatewaySettings) -> ProxySettings:
    return ProxySettings(
        deadline_seconds=settings.deadline_seconds,
        deadline_header=settings.deadline_header.lower(),
        connect_seconds=settings.connect_seconds,
        silence_seconds=settings.silence_seconds,
        hold_seconds=settings.hold_seconds,
        retries=settings.retries,
        hedge_seconds=settings.hedge_seconds,
        hedge_share=settings.hedge_share,
        whole_bytes=settings.whole_bytes,
        forwards_authorization=settings.forwards_authorization,
        names_instance=settings.names_instance,
        upstream_key=settings.upstream_api_key,
    )


def _limits(settings: GatewaySettings) -> HttpLimits:
    return HttpLimits(
        head_bytes=settings.head_bytes,
        headers=settings.headers,
        body_bytes=settings.body_bytes,
        bodies_bytes=settings.bodies_bytes,
        head_seconds=settings.head_seconds,
        body_seconds=settings.body_seconds,
        idle_seconds=settings.idle_seconds,
        stalled_seconds=settings.stalled_seconds,
        linger_seconds=settings.linger_seconds,
        connections=settings.connections,
        connections_of_client=settings.connections_of_client,
        write_bytes=settings.write_bytes,
    )
