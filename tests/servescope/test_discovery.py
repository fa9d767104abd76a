"""Discovery inside the server: what is found is scraped, labelled, served on, and let go."""

import asyncio
import contextlib
import json
import os

import pytest
from starlette.testclient import TestClient

from collector.discovery.web import HttpDiscovery
from servescope.collecting import TargetCollecting
from servescope.config import load
from servescope.server import create_app
from store import targets
from store.errors import ConfigError

PAGE = b'vllm:num_requests_running{engine="0",model_name="m"} 3\n'
TOKEN = "token-of-the-fleet"


@contextlib.asynccontextmanager
async def engines():
    """An engine at every path that wants a token; gives its port and what it was asked."""
    asked = []

    async def talk(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            asked.append(head)
            allowed = f"Bearer {TOKEN}" in head
            status = b"200 OK" if allowed else b"401 Unauthorized"
            length = len(PAGE)
            writer.write(
                b"HTTP/1.1 %s\r\nContent-Type: text/plain\r\nConnection: close\r\n"
                b"Content-Length: %d\r\n\r\n" % (status, length) + PAGE
            )
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], asked
    finally:
        server.close()


def listed(file, *groups):
    """Write a file of target groups so that it looks changed."""
    told = [{"targets": list(names), "labels": labels} for names, labels in groups]
    file.write_text(json.dumps(told))
    stamp = file.stat().st_mtime_ns + 1_000_000 * len(file.read_text())
    os.utime(file, ns=(stamp, stamp))


class Server:
    """Scraping with discovery over a real store and a clock that a test moves."""

    def __init__(self, runtime, clock, folder, **flags):
        secret, rules = folder / "token", folder / "discovery.toml"
        secret.write_text(TOKEN)
        self.file = folder / "engines.json"
        rules.write_text(
            f'[[source]]\nfrom = "file:{self.file}"\nkeep = {{ env = "prod" }}\n'
            f'access = {{ bearer_token_file = "{secret}" }}\n'
        )
        config = load(None, {"discovery.file": str(rules), **flags}, {"XDG_CONFIG_HOME": "/none"})
        self.runtime, self.clock = runtime, clock
        self.collecting = TargetCollecting(runtime.database, config, clock, runtime.drops)

    async def until(self, sql, wanted):
        """Move the clock on until the store answers so."""
        answer = None
        for _ in range(400):
            self.clock.advance(1.0)
            for _ in range(5):
                await asyncio.sleep(0.001)  # noqa: TID251 - real sockets need a real moment
            await asyncio.to_thread(self.runtime.database.writer.flush)
            answer = self.runtime.database.reader.frame(sql).rows()
            if answer == wanted:
                return
        raise AssertionError(f"{answer} instead of {wanted}")


LIVE = "SELECT url FROM target WHERE removed_at IS NULL ORDER BY url"


async def test_what_is_found_is_scraped_labelled_and_let_go(runtime, clock, tmp_path):
    """From a file to rows of samples, with the token; a minute after it is gone it is removed."""
    async with engines() as (port, asked):
        server = Server(runtime, clock, tmp_path)
        place = f"127.0.0.1:{port}"
        url = f"http://{place}/metrics"
        listed(server.file, ([place], {"env": "prod", "rack": "a7"}), (["b:1"], {"env": "test"}))
        await server.collecting.start()
        await server.until(
            "SELECT DISTINCT signal FROM series ORDER BY 1 LIMIT 1", [("requests_running",)]
        )
        told = json.loads(runtime.database.reader.scalar("SELECT labels::VARCHAR FROM target"))
        assert told == {"env": "prod", "rack": "a7", "discovered_by": f"file:{server.file}"}
        assert runtime.database.reader.frame(LIVE).rows() == [(url,)]
        assert all(f"Authorization: Bearer {TOKEN}" in head for head in asked)

        listed(server.file)
        await server.until(LIVE, [])
        assert [state.target_count for state in server.collecting.discovered()] == [0]
        await server.collecting.aclose()
    kept = runtime.database.reader.frame("SELECT * FROM target").to_dicts()
    assert TOKEN not in str(kept)


async def test_targets_by_hand_are_never_let_go(runtime, clock, tmp_path):
    """Discovery removes only what discovery has found."""
    async with engines() as (port, _):
        url = f"http://127.0.0.1:{port}/metrics"
        await asyncio.wrap_future(targets.register(runtime.database.writer, url, clock.now()))
        server = Server(runtime, clock, tmp_path)
        listed(server.file, ([f"127.0.0.1:{port}"], {"env": "prod"}))
        await server.collecting.start()
        await server.collecting.add("http://other:1")
        for _ in range(3):
            clock.advance(30)
            await asyncio.sleep(0.01)  # noqa: TID251 - real sockets need a real moment
        listed(server.file)
        await server.until(LIVE, [(url,), ("http://other:1/metrics",)])
        clock.advance(300)
        await server.until(LIVE, [(url,), ("http://other:1/metrics",)])
        await server.collecting.aclose()


async def test_a_restart_keeps_targets_with_their_secrets(runtime, clock, tmp_path):
    """The first scrape after a start already carries the token; a source that is gone lets go."""
    async with engines() as (port, asked):
        place = f"127.0.0.1:{port}"
        first = Server(runtime, clock, tmp_path)
        listed(first.file, ([place], {"env": "prod"}))
        await first.collecting.start()
        await first.until(LIVE, [(f"http://{place}/metrics",)])
        await first.collecting.aclose()
        asked.clear()
        second = Server(runtime, clock, tmp_path)
        await second.collecting.start()
        await second.until("SELECT count(*) > 0 FROM scrape", [(True,)])
        await second.collecting.aclose()
        assert all(TOKEN in head for head in asked)
        third = Server(runtime, clock, tmp_path, **{"discovery.file": ""})
        await third.collecting.start()
        await third.until(LIVE, [])
        await third.collecting.aclose()


@pytest.fixture
def client(runtime):
    with TestClient(create_app(runtime), base_url="http://127.0.0.1:8787") as opened:
        yield opened


def test_our_inventory_is_served_as_prometheus_reads_it(runtime, client):
    """A list of groups, [] when there is none; what is pushed to us is not there to be scraped."""
    served = "/api/v1/discovery/targets"
    answer = client.get(served)
    assert (answer.json(), answer.headers["content-type"]) == ([], "application/json")
    writer, now = runtime.database.writer, runtime.clock.now()
    address = "https://gpu-3:8000/m/metrics?model=a+b"
    number = targets.register(writer, address, now, {"rack": "a7"}).result()
    targets.describe(writer, number, engine="vllm", model="llama").result()
    targets.register(writer, "http://gpu-4:8000/metrics", now).result()
    targets.register(writer, "otlp://shop/1", now).result()
    plain, vllm = client.get(served).json()
    assert plain == {
        "targets": ["gpu-4:8000"],
        "labels": {"__scheme__": "http", "__metrics_path__": "/metrics"},
    }
    assert vllm == {
        "targets": ["gpu-3:8000"],
        "labels": {
            "__scheme__": "https",
            "__metrics_path__": "/m/metrics",
            "__param_model": "a b",
            "rack": "a7",
            "engine": "vllm",
            "model": "llama",
        },
    }
    assert client.get(served, params={"engine": "vllm"}).json() == [vllm]
    assert client.get(served, params={"model": "none"}).json() == []
    assert client.get(served, params={"modle": "x"}).status_code == 400


async def test_what_we_serve_we_can_follow(runtime, client):
    """One server's inventory is another's source."""
    targets.register(
        runtime.database.writer, "http://gpu-4:8000/metrics", runtime.clock.now()
    ).result()
    body = client.get("/api/v1/discovery/targets").content

    async def talk(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % len(body) + body)
        await writer.drain()
        writer.close()

    served = await asyncio.start_server(talk, "127.0.0.1", 0)
    discovery = HttpDiscovery(f"http://127.0.0.1:{served.sockets[0].getsockname()[1]}/x")
    (found,) = await discovery.targets()
    await discovery.aclose()
    served.close()
    assert (found.address, discovery.problem) == ("gpu-4:8000", None)


def test_a_mistake_in_a_source_is_found_before_anything_starts(runtime, clock):
    """The setting is named, and what there is."""
    config = load(None, {"discovery.sources": ["fiel:x"]}, {"XDG_CONFIG_HOME": "/none"})
    with pytest.raises(ConfigError) as refused:
        TargetCollecting(runtime.database, config, clock)
    assert "fiel:x" in refused.value.message
    assert "file:PATH" in refused.value.hint
