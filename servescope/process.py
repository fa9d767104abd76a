"""The server process: bind, start what runs beside the requests, serve, stop in order."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from analysis.views import VIEWS
from servescope.collecting import TargetCollecting
from servescope.connections import ConnectionMetrics, ConnectionRules, Connections, make_room
from servescope.garbage import look_seldom, never_look_again
from servescope.gateway import child
from servescope.jobs import JobRunner
from servescope.listening import bind, key_file
from servescope.lookups import keep_apart
from servescope.maintenance import jobs_for, keep_drops
from servescope.page_services import dashboard_server
from servescope.runtime import Beside, Runtime
from servescope.server import Lifespan, create_app
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


def serving(runtime: Runtime) -> Lifespan:
    """What starts and stops scraping and jobs with the server."""

    @asynccontextmanager
    async def beside(app: FastAPI) -> AsyncIterator[None]:
        del app
        collecting = TargetCollecting(
            runtime.database, runtime.config, runtime.clock, runtime.drops, runtime.clocks
        )
        jobs = JobRunner(jobs_for(runtime), runtime.database.writer, runtime.clock)
        planned = child.plan(runtime.config, runtime.url, runtime.database.path)
        gateway = child.GatewayChild(planned, runtime.clock) if planned else None
        runtime.beside = Beside(jobs, collecting, gateway)
        warming = asyncio.create_task(asyncio.to_thread(_warm))
        watching = asyncio.create_task(runtime.loop_lag.watch())
        try:
            await asyncio.to_thread(_load_pandas)
            await asyncio.to_thread(runtime.replaying.start)
            await asyncio.to_thread(runtime.reporting.start)
            await collecting.start()
            jobs.start()
            await runtime.controlling.start()
            await runtime.alerting.start()
            if gateway is not None:
                gateway.start()
            yield
        finally:
            watching.cancel()
            if gateway is not None:
                await gateway.aclose()
            await warming
            await runtime.alerting.aclose()
            await runtime.controlling.aclose()
            runtime.predicting.close()
            await asyncio.to_thread(runtime.replaying.close)
            await asyncio.to_thread(runtime.reporting.close)
            await jobs.aclose()
            await collecting.aclose()
            await asyncio.to_thread(runtime.people.close)
            with suppress(ServescopeError):
                await asyncio.to_thread(keep_drops, runtime)

    return beside


def _load_pandas() -> None:
    """Load it whole, where it is installed, before anybody is answered.

    DuckDB loads it in the middle of some query, and plotly, which only looks whether it is there,
    fails a page in another thread while half of it is.
    """
    if find_spec("pandas") is not None:
        import_module("pandas")


def _warm() -> None:
    """Import what the views need, so that the first viewer does not wait for scipy."""
    for spec in VIEWS.values():
        spec.function()
    never_look_again()


def _write_whole(file: Path, text: str, mode: int = 0o644) -> None:
    """A reader sees the old file or the new one, never half of it, and nobody too much."""
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as made:
        made.write(text)
    draft.replace(file)
