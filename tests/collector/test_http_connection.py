"""Connections that are kept, and targets that behave badly on them, over real sockets."""

import asyncio
import contextlib
import gzip
import tracemalloc

import pytest

from collector.http_fetch import Answer, Failure, Fetcher

PAGE = b"a 1\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\n" + PAGE


@contextlib.asynccontextmanager
async def serving(talk):
    """A server of which `talk(reader, writer, number)` is one connection; gives its address."""
    count, going = iter(range(1000)), set()

    async def accept(reader, writer):
        going.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await talk(reader, writer, next(count))
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/metrics"
    finally:
        server.close()
        await asyncio.gather(*going, return_exceptions=True)


async def get(fetcher, url, timeout_seconds=3.0, most_bytes=100_000):
    return await fetcher.get(
        url, timeout_seconds=timeout_seconds, most_bytes=most_bytes, accept="text/plain"
    )


async def one(answer, **limits):
    """What one answer of these bytes comes to."""

    async def talk(reader, writer, _):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    fetcher = Fetcher()
    async with serving(talk) as url:
        got = await get(fetcher, url, **limits)
        await fetcher.aclose()
    return got


async def test_a_connection_is_kept():
    """Ten scrapes, one connection."""
    seen = []

    async def talk(reader, writer, number):
        while await reader.readuntil(b"\r\n\r\n"):
            seen.append(number)
            writer.write(OK)

    fetcher = Fetcher()
    async with serving(talk) as url:
        for _ in range(10):
            assert (await get(fetcher, url)).body == PAGE
        await fetcher.aclose()
    assert seen == [0] * 10


async def test_a_connection_that_closes_as_we_ask_is_no_dead_target():
    """Engines drop idle connections after five seconds; we ask every five seconds."""

    async def talk(reader, writer, number):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        if number == 0:
            await reader.readuntil(b"\r\n\r\n")  # the second question, and no answer

    fetcher = Fetcher()
    async with serving(talk) as url:
        assert isinstance(await get(fetcher, url), Answer)
        assert isinstance(await get(fetcher, url), Answer)
        await fetcher.aclose()


async def test_a_connection_that_ends_within_an_answer_is_not_asked_again():
    """Half a page is a failure, once; the target has work enough."""
    count = []

    async def talk(reader, writer, number):
        count.append(number)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK[:-2])

    fetcher = Fetcher()
    async with serving(talk) as url:
        assert isinstance(await get(fetcher, url), Answer)
        assert (await get(fetcher, url)).outcome == "truncated"
        await fetcher.aclose()
    assert count == [0]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\na \r\n2\r\n1\n\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\na 1\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    ],
)
async def test_ways_to_send_a_page(answer):
    """In chunks, until the connection closes, after an interim answer."""
    assert (await one(answer)).body == PAGE


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
BOMB = gzip.compress(bytes(200_000_000))


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (HEAD + b"Content-Length: 1000000000\r\n\r\n", "too_large"),
        (CHUNKED + b"20000\r\n" + bytes(0x20000), "too_large"),
        (HEAD + b"\r\n" + bytes(200_000), "too_large"),
        (HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB,
         "too_large"),
        (HEAD + b"X: " + b"y" * 200_000, "not_metrics"),
        (b"\x16\x03\x01\x02\x00", "not_metrics"),
        (HEAD + b"Content-Length: 9\r\n\r\na 1\n", "truncated"),
        (CHUNKED + b"zz\r\n", "truncated"),
        (HEAD + b"Content-Encoding: zstd\r\n\r\n", "not_metrics"),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 1000000000\r\n\r\n", "http_error"),
    ],
)  # fmt: skip
async def test_answers_that_are_none(answer, outcome):
    """Each in its own way, in one line."""
    got = await one(answer)
    assert isinstance(got, Failure)
    assert got.outcome == outcome
    assert "\n" not in got.error


async def test_a_bomb_is_never_unpacked():
    """200 MB of zeros in 200 kB: memory stays within a few times the limit."""
    tracemalloc.start()
    try:
        await one(HEAD + b"Content-Encoding: gzip\r\n\r\n" + BOMB)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 5_000_000


async def test_a_target_that_dribbles_is_given_up_in_time():
    """One byte now and then keeps a connection alive, but not the scrape."""

    async def talk(reader, writer, _):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + b"Content-Length: 1000\r\n\r\n")
        gone = asyncio.create_task(reader.read())
        while not gone.done():
            writer.write(b"a")
            await asyncio.wait({gone}, timeout=0.01)

    fetcher = Fetcher()
    async with serving(talk) as url:
        got = await get(fetcher, url, timeout_seconds=0.2)
        await fetcher.aclose()
    assert got.outcome == "timeout"
    assert "0.2 s" in got.error


async def test_connections_to_servers_that_are_gone_are_let_go():
    """Pods come and go by the thousand; what was open to them must not stay for ever."""

    async def talk(reader, writer, number):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await reader.read()

    async def steady(reader, writer, _):
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(OK)

    fetcher = Fetcher()
    for _ in range(5):
        async with serving(talk) as url:
            assert isinstance(await get(fetcher, url), Answer)
            for connections in fetcher._pool._idle.values():
                for connection in connections:
                    connection.close()
    async with serving(steady) as url:
        for _ in range(300):
            await get(fetcher, url)
        assert len(fetcher._pool._idle) == 1
        await fetcher.aclose()
