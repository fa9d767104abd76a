"""Connections that stall, on real sockets: closed in time, counted, and in nobody's way."""

import asyncio
import dataclasses
import resource
import socket
from contextlib import asynccontextmanager, suppress

import pytest
import uvicorn
from flask import Flask, request
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from collector.drops import Drops
from servescope import process
from servescope.api.guards import BodyPace, Guard
from servescope.connections import ConnectionRules, Connections, make_room
from servescope.listening import bind
from servescope.server import create_app

SOON = ConnectionRules(head_seconds=0.1, reader_seconds=0.1)
WHOLE = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Quiet(uvicorn.Server):
    def install_signal_handlers(self):
        """Signals are pytest's."""


@asynccontextmanager
async def serving(config):
    """The port of a server in this event loop."""
    with bind("127.0.0.1:0") as sock:
        server = Quiet(config)
        task = asyncio.create_task(server._serve(sockets=[sock]))
        await until(lambda: server.started or task.done())
        try:
            yield sock.getsockname()[1]
        finally:
            server.should_exit = server.force_exit = True
            await task


async def until(met):
    async with asyncio.timeout(30):
        while not met():
            await pause(0.01)


async def pause(seconds):
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), seconds)


def app_of(seconds=0.0, size=2):
    async def answer(request):
        del request
        if seconds:
            await pause(seconds)
        return PlainTextResponse("o" * size)

    return Starlette(routes=[Route("/", answer, methods=["GET", "POST"])])


@asynccontextmanager
async def bounded(rules, app=None):
    connections = Connections(rules, Drops())
    async with serving(process.uvicorn_config(app or app_of(), connections)) as port:
        yield port, connections


async def say(port, *parts):
    """Everything that the server answers until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        async with asyncio.timeout(30):
            return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize("start", [b"GE", WHOLE[:-2]])
async def test_half_a_head_is_not_waited_for(start):
    """Whatever is missing of a request's head, the connection is closed, and it is counted."""
    async with bounded(SOON) as (port, connections):
        assert (await say(port, start)).startswith(b"HTTP/1.1 408 ")
        await until(lambda: connections.open == 0)
    assert connections.closed == {"slow_head": 1}
    ((door, reason),) = connections.drops.totals()
    assert door == "http"
    assert "within 0.1 s" in reason


async def test_a_connection_without_a_word_is_closed_without_one():
    """Browsers open connections in advance: they are closed, and no trouble is told of."""
    async with bounded(SOON) as (port, connections):
        assert await say(port) == b""
    assert connections.closed == {"silent": 1}
    assert not connections.drops.totals()


async def drip(port, start, byte):
    """Write on and on; gives what was answered by the time the server closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(start)
    return await drip_on(reader, writer, byte)


async def drip_on(reader, writer, byte):
    answer = asyncio.ensure_future(reader.read())
    async with asyncio.timeout(30):
        while not answer.done():
            writer.write(byte)
            await asyncio.wait({answer}, timeout=0.01)
    writer.close()
    try:
        return answer.result()
    except ConnectionError:  # closed while bytes were on their way
        return b""


async def test_a_head_that_drips_gains_nothing():
    """The deadline is for the whole head, however often a byte of it comes."""
    async with bounded(SOON) as (port, connections):
        await drip(port, b"GET / HTTP/1.1\r\nX-Slow: ", b"a")
    assert connections.closed == {"slow_head": 1}


async def test_a_second_request_on_a_kept_connection_has_the_same_deadline():
    """A connection that was good once is not trusted for ever, in one piece or in two."""
    async with bounded(SOON) as (port, connections):
        answer = await say(port, WHOLE + b"GET /")
        assert connections.closed == {"slow_head": 1}
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(WHOLE)
        await reader.readuntil(b"oo")
        connections.closed.clear()
        await drip_on(reader, writer, b"a")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert connections.closed == {"slow_head": 1}


async def test_the_body_of_an_answered_request_is_not_waited_for():
    """Who goes on sending what nobody reads is let go."""
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
    async with bounded(SOON) as (port, connections):
        await drip(port, head, b"a")
    assert connections.closed == {"slow_head": 1}


async def test_an_answer_that_nobody_reads_is_given_up():
    """A client that takes nothing for long does not keep the answer in memory."""
    async with bounded(SOON, app_of(size=30_000_000)) as (port, connections):
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        writer.write(WHOLE)
        await until(lambda: connections.closed["slow_reader"] == 1 and connections.open == 0)
        writer.close()


async def test_a_slow_answer_is_no_slow_head():
    """An answer may take longer than a head; the connection is good for more after it."""
    async with bounded(SOON, app_of(seconds=0.4)) as (port, connections):
        last = WHOLE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        answer = await say(port, WHOLE + last)
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert not connections.closed


async def test_one_connection_too_many_is_told_so():
    """The others are served on, and there is room again when one of them leaves."""
    async with bounded(ConnectionRules(most=2)) as (port, connections):
        kept = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        await until(lambda: connections.open == 2)
        assert (await say(port)).startswith(b"HTTP/1.1 503 ")
        for reader, writer in kept:
            writer.write(WHOLE)
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
            writer.close()
        await until(lambda: connections.open == 0)
        last = WHOLE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        assert (await say(port, last)).startswith(b"HTTP/1.1 200 ")
    assert connections.closed == {"full": 1}


async def test_answers_are_sent_at_once():
    """No part of an answer waits until the client has confirmed the one before."""
    found = asyncio.get_running_loop().create_future()

    def note(reader, writer):
        sock = writer.get_extra_info("socket")
        found.set_result(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    with bind("127.0.0.1:0") as sock:
        async with await asyncio.start_server(note, sock=sock):
            await say(sock.getsockname()[1])
    assert await found


async def test_what_was_closed_stands_on_the_page_of_metrics(filled):
    """The server as it is put together: bound by the settings, told to Prometheus and people."""
    settings = dataclasses.replace(filled.config.server, head_seconds=0.2)
    filled.config = dataclasses.replace(filled.config, server=settings)
    app = create_app(filled)
    config = process.uvicorn_config(app, process.bounded_connections(filled, app))
    ask = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    async with serving(config) as port:
        await say(port, b"GET / HT")
        page = await say(port, ask)
    assert b'servescope_http_connections_closed_total{reason="slow_head"} 1.0' in page
    assert b"servescope_http_connections 1.0" in page
    assert [door for door, _ in filled.drops.totals()] == ["http"]


def guarded(pace):
    """A page by Starlette and one by WSGI, which holds a thread, behind the guard."""
    from a2wsgi import WSGIMiddleware

    async def length(asked):
        return PlainTextResponse(str(len(await asked.body())))

    pages = Flask("pages")
    pages.route("/", methods=["POST"])(lambda: str(len(request.get_data())))
    ui = Mount("/ui", WSGIMiddleware(pages))
    app = Starlette(routes=[Route("/", length, methods=["POST"]), ui])
    limits = {"hosts": {"localhost"}, "policy": "", "upload_max_bytes": 1 << 20}
    return Guard(app, **limits, body_max_bytes=1 << 20, pace=pace)


@pytest.mark.parametrize("path", [b"/", b"/ui/"])
async def test_a_body_that_drips_is_let_go(path):
    """Neither a task nor a thread of the dashboard waits for a body without end."""
    pace = BodyPace(seconds=0.2, idle_seconds=30, bytes_per_second=1e9)
    head = b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
    async with bounded(ConnectionRules(head_seconds=1), guarded(pace)) as (port, connections):
        await drip(port, head, b"a")
        await until(lambda: connections.open == 0)


@pytest.mark.parametrize("path", [b"/", b"/ui/"])
async def test_a_body_that_comes_in_parts_is_taken(path):
    """Parts of a body that keep coming are one body."""
    head = b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 3000\r\n\r\n"
    async with bounded(ConnectionRules(), guarded(None)) as (port, _):
        answer = await say(port, b"POST " + path + head, *[b"a" * 1000] * 3)
    assert answer.endswith(b"3000")


def test_connections_never_take_all_files_of_the_process():
    """However many are wanted, half of the files stay for the store and for scrapes."""
    assert make_room(10) == 10
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert make_room(10_000_000) == soft // 2
