"""A gateway that is killed while its server is away: every row that it recorded arrives, once."""

import contextlib
import subprocess
import sys
import threading

import uvicorn

from controller.gateway.recorder import spooling_recorder
from controller.gateway.recording import RecorderSettings
from servescope.config import load
from servescope.listening import bind
from servescope.runtime import Runtime, SloBook
from servescope.server import create_app
from store.clock import WallClock
from store.database import Database

GATEWAY = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from controller.gateway.ask import Ask
from controller.gateway.attempt import Attempt
from controller.gateway.recorder import spooling_recorder
from controller.gateway.recording import RecorderSettings
from store.clock import WallClock

async def main():
    clock = WallClock()
    # Port 9 of this host: nobody is there.
    told = RecorderSettings("http://127.0.0.1:9", "edge", Path(sys.argv[1]))
    recorder = spooling_recorder(told, clock)
    recorder.open()
    recorder.start()
    for number in range(10_000):
        ask = Ask(number, 0.0, "acme", "m", 10, 5.0, 9.0)
        told = ("/v1/completions", False, "ok", 200, "", 1.0)
        recorder.record(Attempt(ask, "r", clock.now(), *told))
        print(number, flush=True)
        await asyncio.sleep(0)

asyncio.run(main())
"""


@contextlib.contextmanager
def server(tmp_path):
    """A server on a socket: its address and its runtime."""
    config, clock = load(None, {}, {"XDG_CONFIG_HOME": str(tmp_path)}), WallClock()
    with (
        Database.open(tmp_path / "s.duckdb", config.store, clock) as database,
        bind("127.0.0.1:0") as sock,
    ):
        runtime = Runtime(config, database, clock, SloBook(None, clock))
        serving = uvicorn.Server(
            uvicorn.Config(create_app(runtime), log_config=None, lifespan="off", ws="none")
        )
        thread = threading.Thread(target=serving.run, kwargs={"sockets": [sock]})
        thread.start()
        yield f"http://127.0.0.1:{sock.getsockname()[1]}", runtime
        serving.should_exit = True
        thread.join()


async def test_no_row_is_lost(tmp_path):
    """Killed in the middle of its work, with nobody there to take rows until later."""
    spool = tmp_path / "spool"
    child = subprocess.Popen(  # noqa: ASYNC220 - a process of its own, to be killed
        [sys.executable, "-c", GATEWAY, str(spool)], stdout=subprocess.PIPE, text=True
    )
    recorded = -1
    while recorded < 500:
        recorded = int(child.stdout.readline())
    child.kill()
    recorded = max([recorded, *(int(line) for line in child.stdout if line.endswith("\n"))])
    child.wait()
    child.stdout.close()
    with server(tmp_path) as (url, runtime):
        for _ in range(2):
            recorder = spooling_recorder(RecorderSettings(url, "edge", spool), WallClock())
            recorder.open()
            await recorder.aclose()
            assert recorder.state().waiting_rows == 0
        rows = runtime.database.reader.scalar("SELECT count(*) FROM requests")
    # The one after the last that it could tell of may be there, too.
    assert rows - (recorded + 1) in (0, 1)
