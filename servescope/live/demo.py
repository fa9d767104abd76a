"""`servescope demo --live`: a real engine under real load, seen by the real server.

The store of an earlier live demo is removed, unless another one is named.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import resources
from pathlib import Path

import polars as pl

from servescope import process
from servescope.cli.output import Output
from servescope.cli.serve import open_runtime
from servescope.config import data_folder, load
from servescope.demo import remove_store
from servescope.listening import bind, url_of
from servescope.live import obtain, tiny_model
from servescope.live.engine import LlamaServer
from servescope.live.sending import CLIENTS, Load
from servescope.load.records import Sent
from servescope.logs import configure
from servescope.settings import DEFAULT_HOST
from store.clock import WallClock
from store.database import Database

LONGEST_SECONDS = 8 * 3600.0
SLO_FILE = Path(str(resources.files("servescope"))) / "data" / "slo-live.toml"
_STOP_SECONDS = 5.0
RATE = sum(client.requests_per_second for client in CLIENTS)


def run(*, store: Path | None, port: int | None) -> None:
    """Start the engine, its load and the server; all of it ends with Ctrl-C."""
    out = Output()
    configure("warning")
    # The model first: it may miss a package, and building an engine takes minutes.
    model = tiny_model.write(obtain.cache_folder() / "model" / "servescope-tiny.gguf")
    binary = obtain.find() or obtain.build(out.note)
    path = store or data_folder() / "demo-live.duckdb"
    path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        if store is None and path.exists():
            remove_store(path, load(None, {"server.store": str(path)}))  # its engine is gone
        listen = f"{DEFAULT_HOST}:{port}" if port is not None else None
        log = path.with_name("llama-server.log")
        engine = stack.enter_context(LlamaServer(binary, model, log=log))
        config = load(
            None,
            {
                "server.listen": listen,
                "server.store": str(path),
                "server.slo_file": str(SLO_FILE),
                "server.targets": [engine.url],
            },
        )
        sock = stack.enter_context(bind(config.server.listen))
        runtime = open_runtime(config, path, stack, ephemeral=False)
        runtime.url = url_of(sock)
        stack.enter_context(process.announced(runtime))
        stack.enter_context(under_load(engine.url, runtime.database))

        def ready() -> None:
            out.line(f"Engine  {engine.url} ({binary.name}, a random model), its log: {log}")
            out.line(f"Open    {runtime.url}/ui/?source=live&from=now-15m")
            out.note(f"three clients send {RATE:.1f} requests a second; Ctrl-C stops all of it")

        process.run(runtime, sock, on_ready=ready)


@contextmanager
def under_load(url: str, database: Database, seconds: float = LONGEST_SECONDS) -> Iterator[None]:
    """Send requests from a thread of its own; each becomes a row as its client measured it."""
    clock = WallClock()
    over = threading.Event()

    def keep(sent: Sent) -> None:
        if not over.is_set():
            database.writer.append("request", pl.DataFrame([sending.row(sent)]))

    sending = Load([url], clock, keep, f"demo-{clock.now():%Y%m%dT%H%M%S}")

    async def send() -> None:
        work = asyncio.create_task(sending.clients(seconds))
        stopped = asyncio.create_task(asyncio.to_thread(over.wait))
        await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    thread = threading.Thread(target=asyncio.run, args=(send(),), name="demo-load", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(_STOP_SECONDS)
