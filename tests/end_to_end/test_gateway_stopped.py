"""A server that is stopped with its gateway: rows of the last moment are in the store."""

from __future__ import annotations

import asyncio
import os
import re
import sys

import pytest

from controller.gateway.doubles.client import Client
from controller.gateway.doubles.engine import Engine, running
from store.clock import WallClock
from store.database import Database
from store.settings import StoreSettings

CONFIG = """
[server]
listen = "127.0.0.1:0"
[gateway]
listen = "127.0.0.1:0"
upstreams = ["{url}"]
spool_folder = "{folder}/spool"
"""
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "user": "acme"}


async def until(process, pattern):
    """What a line that it says has of a pattern."""
    while True:
        line = (await process.stdout.readline()).decode()
        assert line, "it ended before it was ready"
        found = re.search(pattern, line)
        if found:
            return found.group(1)


@pytest.mark.slow
async def test_rows_of_the_last_moment_arrive(tmp_path):
    """Its gateway ends first, and the server answers until it has sent what it had."""
    store = tmp_path / "s.duckdb"
    async with running(Engine()) as engine, asyncio.timeout(60):
        config = tmp_path / "servescope.toml"
        config.write_text(CONFIG.format(url=engine.url, folder=tmp_path), "utf-8")
        told = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "servescope", "up", "--config", str(config),
            "--store", str(store), env=told, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            port = await until(process, r"http://127\.0\.0\.1:(\d+)/v1\b")
            reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
            client = Client(reader, writer)
            for _ in range(3):
                client.post(CHAT)
                assert (await client.answer()).status == 200
            writer.close()
            process.terminate()
            await process.stdout.read()
            assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    with Database.open(store, StoreSettings(), WallClock()) as database:
        assert database.reader.scalar("SELECT count(*) FROM requests WHERE tenant = 'acme'") == 3
