"""The server process: bind, start what runs beside the requests, serve, stop in order."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from servescope.beside import serving
from servescope.chair.assembly import take_place
from servescope.connections import ConnectionMetrics, ConnectionRules, Connections, make_room
from servescope.garbage import look_seldom
from servescope.listening import bind, key_file
from servescope.lookups import keep_apart
from servescope.page_services import dashboard_server
from servescope.runtime import Runtime
from servescope.server import create_app
from servescope.settings import ServerSettings
from store.database import server_file
from store.errors import ServescopeError

log = logging.getLogger(__name__)

STOP_SECONDS = 5
SWITCH_SECONDS = 0.0005


def run(
    runtime: Runtime,
    sock: socket.socket,
    *,
    on_ready: Callable[[], None],
) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        runtime: the open store and what belongs to it.
        sock: a bound socket.
        on_ready: called once requests are answered.

    Raises:
        ConfigError: the second address, for OTLP, cannot be listened on; or a pool of the
            controller, a schedule or a channel of reports is configured in a way that cannot work.
        ServescopeError: it could not start; the log says why.
    """
    runtime.controlling.prepare(runtime.slos.definitions())
    runtime.reporting.prepare()
    runtime.people.check()
    take_place(runtime)
    second = runtime.config.otlp.listen
    is_guarded = runtime.people.asks
    sockets = [sock, bind(second, "otlp.listen", is_guarded=is_guarded)] if second else [sock]
    app = create_app(runtime, wsgi_ui=dashboard_server(runtime), lifespan=serving(runtime))
    config = uvicorn_config(app, bounded_connections(runtime, app), runtime.config.server)
    # Health, scrapes and uploads wait for the interpreter whenever a page is computed beside them;
    # by default for 5 ms at each turn, which under twenty viewers adds up to tens.
    sys.setswitchinterval(SWITCH_SECONDS)
    look_seldom()
    asyncio.run(_serve(_Server(config), sockets, on_ready, lambda: _end_gateway(runtime)))


def bounded_connections(runtime: Runtime, app: FastAPI) -> Connections:
    """The bounds on connections to `app`, by the settings; told on its own page of metrics."""
    settings = runtime.config.server
    rules = ConnectionRules(make_room(settings.most_connections), settings.head_seconds)
    connections = Connections(rules, runtime.drops)
    app.state.metrics.registry.register(ConnectionMetrics(connections))
    return connections


def uvicorn_config(
    app: FastAPI, connections: Connections, settings: ServerSettings | None = None
) -> uvicorn.Config:
    """How uvicorn serves `app`."""
    settings = settings or ServerSettings()
    protocol: Any = connections.protocol()
    return uvicorn.Config(
        app, http=protocol, log_config=None, access_log=False, server_header=False, lifespan="on",
        timeout_graceful_shutdown=STOP_SECONDS, timeout_keep_alive=30, ws="none",
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        ssl_certfile=settings.tls_certificate or None, ssl_keyfile=settings.tls_key_file or None,
    )  # fmt: skip


@contextmanager
def announced(runtime: Runtime) -> Iterator[None]:
    """Say beside the store how to reach this server, for as long as it runs."""
    path = runtime.database.path
    if path is None:
        yield
        return
    file = server_file(path)
    text = json.dumps(
        {
            "url": runtime.url,
            "pid": runtime.pid,
            "started_at": runtime.started_at.isoformat(),
            "certificate": runtime.config.server.tls_certificate,
        }
    )
    key = key_file(path)
    _write_whole(key, runtime.people.local_key, mode=0o600)
    _write_whole(file, text)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        key.unlink(missing_ok=True)


class _Server(uvicorn.Server):
    """Leaves signals to us: uvicorn raises them again after it, before the store is closed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _stopper(server: _Server, end_first: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """What a signal does: end in order; another one does not wait.

    Args:
        server: serves.
        end_first: ends what has to end while the server answers still.
    """
    ending: list[asyncio.Task[None]] = []

    async def end() -> None:
        try:
            await end_first()
        except Exception:
            log.exception("gateway_not_ended")
        finally:
            server.should_exit = True

    def stop() -> None:
        if ending:
            server.force_exit = server.should_exit = True
        else:
            ending.append(asyncio.create_task(end()))

    return stop


async def _serve(
    server: _Server,
    sockets: list[socket.socket],
    on_ready: Callable[[], None],
    end_first: Callable[[], Awaitable[None]],
) -> None:
    loop, stop = asyncio.get_running_loop(), _stopper(server, end_first)
    keep_apart(loop)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    running = asyncio.create_task(server.serve(sockets=sockets))
    while not server.started and not running.done():
        await asyncio.wait({running}, timeout=0.02)
    started = server.started
    if started:
        on_ready()
    with suppress(asyncio.CancelledError):
        await running
    if not started:
        raise ServescopeError("the server did not start", hint="the lines above say why")


async def _end_gateway(runtime: Runtime) -> None:
    """The rows of its last seconds are for this server, which must answer until it has sent them.

    Its streams may go on for as long as it drains.
    """
    if runtime.beside is not None and runtime.beside.gateway is not None:
        await runtime.beside.gateway.aclose()


def _write_whole(file: Path, text: str, mode: int = 0o644) -> None:
    """A reader sees the old file or the new one, never half of it, and nobody too much."""
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as made:
        made.write(text)
    draft.replace(file)
