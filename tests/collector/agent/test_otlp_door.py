"""The agent's OTLP door: 200 means it is in the spool, and everything else means it is not."""

import asyncio
import socket
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import httpx2
import pytest

from collector.agent.otlp_door import OtlpDoor, loopback
from collector.agent.settings import AgentSettings
from collector.agent.spool import Spool
from collector.drops import Drops
from store.clock import VirtualClock
from store.errors import CollectError, ConfigError

JSON = {"Content-Type": "application/json"}


@asynccontextmanager
async def bench(tmp_path, **settings):
    clock = VirtualClock(datetime(2026, 1, 31, tzinfo=UTC))
    drops = Drops()
    told = AgentSettings(otlp_listen="127.0.0.1:0", spool_reserve_bytes=0, **settings)
    spool = Spool(tmp_path / "spool", told, drops, clock).open()
    door = OtlpDoor(spool, told, drops, lambda: None)
    await door.start()
    async with httpx2.AsyncClient(
        base_url=f"http://127.0.0.1:{door.port}", trust_env=False
    ) as client:
        yield client, spool, drops
    await door.aclose()
    spool.close()


@pytest.mark.parametrize("sync", [0.0, 1.0])
async def test_a_body_is_spooled_as_it_came(tmp_path, sync):
    """The answer is OTLP's, in the encoding of the request; the body is untouched."""
    async with bench(tmp_path, spool_sync_seconds=sync) as (client, spool, _):
        answer = await client.post("/v1/traces", content=b"{packed}",
                                   headers={**JSON, "Content-Encoding": "gzip"})  # fmt: skip
        assert (answer.status_code, answer.content) == (200, b"{}")
        assert answer.headers["content-type"] == "application/json"
        (record,) = spool.peek()
        head, _, body = record.payload.partition(b"\n")
        assert body == b"{packed}"
        assert b"gzip" in head
        assert b"/v1/traces" in head
        answer = await client.post("/v1/metrics", content=b"\x0a",
                                   headers={"Content-Type": "application/x-protobuf"})  # fmt: skip
        assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    ("method", "path", "headers", "size", "status"),
    [
        ("POST", "/v1/other", JSON, 1, 404),
        ("GET", "/v1/traces", JSON, 0, 405),
        ("POST", "/v1/traces", {"Content-Type": "text/plain"}, 1, 415),
        ("POST", "/v1/traces", {**JSON, "Content-Encoding": "br"}, 1, 415),
        ("POST", "/v1/traces", JSON, 2_000, 413),
    ],
)
async def test_what_it_does_not_take(tmp_path, method, path, headers, size, status):
    """Said with the right status, counted, and never spooled."""
    async with bench(tmp_path, otlp_max_body_bytes=1_000) as (client, spool, drops):
        answer = await client.request(method, path, content=b"x" * size, headers=headers)
        assert answer.status_code == status
        assert spool.peek() == ()
        assert sum(drops.totals().values()) == 1


async def test_a_spool_without_room_asks_for_later(tmp_path, monkeypatch):
    """The sender keeps what the disk cannot take."""
    async with bench(tmp_path) as (client, spool, _):
        monkeypatch.setattr(spool, "append", lambda *_: "lost")
        answer = await client.post("/v1/traces", content=b"{}", headers=JSON)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


async def test_many_requests_over_one_connection_and_noise_on_another(tmp_path):
    """A sender that talks nonsense, or leaves within a body, costs only its own connection."""
    async with bench(tmp_path) as (client, spool, _):
        port = client.base_url.port
        for noise in (
            b"\x00\x01\r\n\r\n",
            b"POST /v1/traces HTTP/1.1\r\nContent-Length: 9\r\n\r\nx",
        ):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(noise)
            writer.close()
            await writer.wait_closed()
        for _ in range(3):
            assert (await client.post("/v1/traces", content=b"{}", headers=JSON)).status_code == 200
        assert len(spool.peek(10)) == 3


async def test_a_port_that_is_taken_is_one_line(tmp_path):
    """Two agents on a node: the second is told so."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        told = AgentSettings(otlp_listen=f"127.0.0.1:{other.getsockname()[1]}")
        clock = VirtualClock(datetime(2026, 1, 31, tzinfo=UTC))
        door = OtlpDoor(Spool(tmp_path, told, Drops(), clock), told, Drops(), lambda: None)
        with pytest.raises(CollectError, match="cannot listen for OTLP"):
            await door.start()


@pytest.mark.parametrize("text", ["0.0.0.0:4318", "10.0.0.1:4318", "4318x", "127.0.0.1:99999", ""])
def test_only_loopback(text):
    """The door asks nobody who they are, so nobody else may reach it."""
    with pytest.raises(ConfigError):
        loopback(text)


def test_a_bare_port_is_loopback():
    """`4318` is enough."""
    assert loopback(":4318") == ("127.0.0.1", 4318)
    assert loopback("[::1]:4318") == ("::1", 4318)


async def test_half_a_head_does_not_keep_a_place(tmp_path):
    """A sender that never comes to the end of a request is let go, and counted."""
    drops = Drops()
    settings = AgentSettings(otlp_listen="127.0.0.1:0", spool_reserve_bytes=0)
    clock = VirtualClock(datetime(2026, 1, 31, tzinfo=UTC))
    spool = Spool(tmp_path / "spool", settings, drops, clock).open()
    door = OtlpDoor(spool, settings, drops, lambda: None, head_seconds=0.1)
    await door.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(b"POST /v1/tra")
    async with asyncio.timeout(30):
        assert await reader.read() == b""
    writer.close()
    await door.aclose()
    spool.close()
    assert drops.totals() == {("agent", "OTLP: no whole request within 0.1 s"): 1}
