"""Delivery: at least once and in order, patient with a server that is busy, final with poison."""

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from collector.agent.delivery import Delivery, otlp_payload
from collector.agent.post import Poster
from collector.agent.settings import AgentSettings
from collector.agent.spool import Spool
from collector.agent.wire import BATCH, BATCH_HEADER, BATCH_TYPE, OTLP, SERVER_HEADER
from collector.drops import Drops
from collector.http_access import Access
from store.clock import VirtualClock

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


TAKEN = (200, {"Content-Type": "application/json"}, b'{"batches": 1}')


def receipt(headers):
    """What a server answers that has taken the request."""
    kind = headers["content-type"]
    return TAKEN if kind == BATCH_TYPE else (200, {"Content-Type": kind}, b"")


class Server:
    """Answers with the statuses it was given, then with 200; keeps what it was sent."""

    def __init__(self):
        self.answers = []
        self.got = []
        self.port = 0

    async def serve(self, reader, writer):
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode("latin-1"):
                lines = head.split("\r\n")
                headers = dict(line.split(": ", 1) for line in lines[1:] if line)
                headers = {name.lower(): value for name, value in headers.items()}
                body = await reader.readexactly(int(headers["content-length"]))
                self.got.append((lines[0].split()[1], headers, body))
                answer = self.answers.pop(0) if self.answers else receipt(headers)
                if answer is None:
                    return
                status, more, text = answer
                told = {"Content-Length": str(len(text)), **more}
                writer.write(f"HTTP/1.1 {status} X\r\n".encode())
                writer.write("".join(f"{n}: {v}\r\n" for n, v in told.items()).encode() + b"\r\n")
                writer.write(text)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    def batches(self):
        return [(headers[BATCH_HEADER.lower()], body) for _, headers, body in self.got]


@asynccontextmanager
async def bench(tmp_path, chance=0.0):
    server = Server()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = server.port = listener.sockets[0].getsockname()[1]
    clock, drops = VirtualClock(NOW), Drops()
    settings = AgentSettings(spool_reserve_bytes=0)
    spool = Spool(tmp_path / "spool", settings, drops, clock).open()
    posters = [Poster(f"http://127.0.0.1:{port}/base", Access(), 5.0) for _ in range(2)]
    delivery = Delivery(spool, posters, "n 1", settings, drops, clock, lambda: chance)
    try:
        yield server, spool, delivery, drops
    finally:
        for poster in posters:
            await poster.aclose()
        spool.close()
        listener.close()
        await listener.wait_closed()


async def test_batches_go_together_under_their_ids(tmp_path):
    """One request for what waits; the address is the server's own with the agent's name in it."""
    async with bench(tmp_path) as (server, spool, delivery, _):
        for body in (b"one", b"two"):
            spool.append(BATCH, 3, body)
        ids = [record.batch_id for record in spool.peek(2)]
        await delivery.flush()
        ((path, headers, body),) = server.got
        assert path == "/base/api/v1/agents/n%201/batches"
        assert (headers[BATCH_HEADER.lower()], body) == (",".join(ids), b"onetwo")
        assert spool.peek() == ()
        assert (delivery.state.delivered, delivery.state.delivered_rows) == (2, 6)


async def test_otlp_bodies_go_to_the_servers_own_door_as_they_came(tmp_path):
    """Protobuf messages may share a body, JSON documents may not."""
    async with bench(tmp_path) as (server, spool, delivery, _):
        for kind in ("application/x-protobuf", "application/json"):
            for body in (b"a", b"b"):
                spool.append(OTLP, 0, otlp_payload("/v1/traces", {"Content-Type": kind}, body))
        await delivery.flush()
        assert {path for path, _, _ in server.got} == {"/base/v1/traces"}
        told = sorted((headers["content-type"], body) for _, headers, body in server.got)
        assert told == [
            ("application/json", b"a"),
            ("application/json", b"b"),
            ("application/x-protobuf", b"ab"),
        ]


@pytest.mark.parametrize("status", [401, 404, 408, 429, 500, 502, 503, 504])
async def test_a_server_that_cannot_now_is_asked_again(tmp_path, status):
    """Nothing is given up for a server that is busy, away, or set up wrongly."""
    async with bench(tmp_path) as (server, spool, delivery, drops):
        server.answers = [(status, {}, b"")]
        spool.append(BATCH, 1, b"x")
        assert await delivery.attempt(spool.peek()) > 0
        assert f"HTTP {status}" in delivery.state.problem
        await delivery.flush()
        assert [body for _, body in server.batches()] == [b"x", b"x"]
        assert len({name for name, _ in server.batches()}) == 1
        assert (delivery.state.problem, drops.totals()) == (None, {})


@pytest.mark.parametrize(
    "stranger",
    [
        (200, {"Content-Type": "text/html"}, b"<html>please log in</html>"),
        (200, {"Content-Type": "application/json"}, b'{"login": "/sso"}'),
        (204, {}, b""),
        (202, {}, b"[1"),
    ],
)
@pytest.mark.parametrize("kind", [BATCH, OTLP])
async def test_only_a_servescope_server_can_take_a_batch(tmp_path, stranger, kind):
    """A proxy that answers 200 with its page to log in has taken nothing: no row is lost to it."""
    async with bench(tmp_path) as (server, spool, delivery, _):
        told = {"Content-Type": "application/x-protobuf"}
        body = b"x" if kind == BATCH else otlp_payload("/v1/traces", told, b"x")
        server.answers = [stranger]
        spool.append(kind, 1, body)
        assert await delivery.attempt(spool.peek()) > 0
        assert "not from a servescope server" in delivery.state.problem
        assert spool.peek()
        await delivery.flush()
        assert (delivery.state.problem, spool.peek()) == (None, ())


@pytest.mark.parametrize(
    ("told", "seconds"),
    [("7", 7.0), ("Sat, 31 Jan 2026 12:00:09 GMT", 9.0), ("99999", 300.0), ("soon", 0.25)],
)
async def test_retry_after_is_honoured(tmp_path, told, seconds):
    """Seconds or a date, at most five minutes; what cannot be read is as if it were not there."""
    async with bench(tmp_path) as (server, spool, delivery, _):
        server.answers = [(429, {"Retry-After": told}, b"")]
        spool.append(BATCH, 1, b"x")
        assert await delivery.attempt(spool.peek()) == pytest.approx(seconds)


async def test_pauses_double_up_to_their_limit_with_jitter(tmp_path):
    """A fleet whose server comes back does not come back all at once."""
    async with bench(tmp_path, chance=0.5) as (server, spool, delivery, _):
        server.answers = [(503, {}, b"")] * 9
        spool.append(BATCH, 1, b"x")
        pauses = [await delivery.attempt(spool.peek()) for _ in range(9)]
        assert pauses == [0.75 * min(0.5 * 2**n, 30.0) for n in range(9)]


@pytest.mark.parametrize("status", [400, 413, 415, 422])
async def test_poison_is_parked_and_counted_and_the_rest_goes_on(tmp_path, status):
    """One batch that the server will never take holds up no other, and can be looked at."""
    async with bench(tmp_path) as (server, spool, delivery, drops):
        for body in (b"good", b"bad", b"fine"):
            spool.append(BATCH, 5, body)
        names = [record.batch_id for record in spool.peek(3)]
        refusal = (status, {SERVER_HEADER: "1"}, b'{"detail": "no batch"}')
        server.answers = [refusal, TAKEN, refusal]  # all three; good; bad
        await delivery.flush()
        assert [body for _, body in server.batches()] == [b"goodbadfine", b"good", b"bad", b"fine"]
        assert sum(drops.totals().values()) == 5
        assert delivery.state.parked == 1
        (parked,) = (spool.folder / "parked").iterdir()
        assert (parked.stem, parked.read_bytes()) == (names[1], b"bad")


@pytest.mark.parametrize("status", [400, 413, 415, 422])
async def test_a_proxy_on_the_way_refuses_nothing_for_good(tmp_path, status):
    """What something between refuses waits and comes again, and the reason says who refused."""
    async with bench(tmp_path) as (server, spool, delivery, drops):
        server.answers = [(status, {}, b"<html>no</html>")] * 3
        spool.append(BATCH, 5, b"x")
        pauses = [await delivery.attempt(spool.peek()) for _ in range(3)]
        assert pauses == sorted(pauses)
        assert pauses[0] > 0.1
        assert "not from a servescope server" in delivery.state.problem
        await delivery.flush()
        assert (spool.peek(), delivery.state.problem) == ((), None)
        assert (drops.totals(), delivery.state.parked) == ({}, 0)


async def test_what_is_too_large_together_for_a_proxy_goes_alone(tmp_path):
    """A proxy with a small limit for bodies holds up nothing that fits."""
    async with bench(tmp_path) as (server, spool, delivery, _):
        for body in (b"a", b"b"):
            spool.append(BATCH, 5, body)
        server.answers = [(413, {}, b"")]
        await delivery.flush()
        assert [body for _, body in server.batches()] == [b"ab", b"a", b"b"]
        assert spool.peek() == ()


async def test_parked_batches_do_not_pile_up(tmp_path):
    """A server that refuses everything fills no disk."""
    async with bench(tmp_path) as (server, spool, delivery, _):
        server.answers = [(400, {SERVER_HEADER: "1"}, b"")] * 200
        for number in range(30):
            spool.append(BATCH, 1, b"%d" % number)
            await delivery.flush()
        assert len(list((spool.folder / "parked").iterdir())) == 20


async def test_a_connection_that_breaks_is_a_resend(tmp_path):
    """No answer means not delivered: the same batch comes again under the same id."""
    async with bench(tmp_path) as (server, spool, delivery, _):
        server.answers = [None]
        spool.append(BATCH, 1, b"x")
        assert await delivery.attempt(spool.peek()) > 0
        await delivery.flush()
        first, second = server.batches()
        assert first == second


async def test_an_idle_connection_that_was_closed_costs_nothing(tmp_path):
    """A server that drops idle connections does not make the agent wait."""
    async with bench(tmp_path) as (server, spool, delivery, _):
        spool.append(BATCH, 1, b"x")
        await delivery.flush()
        server.answers = [None]
        spool.append(BATCH, 1, b"y")
        await delivery.flush()
        assert spool.peek() == ()
        assert delivery.state.attempts_failed == 0


async def test_nobody_there_is_a_problem_in_one_line(tmp_path):
    """The reason is what people would type into a search box."""
    async with bench(tmp_path) as (_, spool, delivery, _):
        poster = Poster("http://127.0.0.1:1", Access(), 1.0)
        delivery._posters = (poster,)
        spool.append(BATCH, 1, b"x")
        assert await delivery.attempt(spool.peek()) > 0
        assert "refused" in delivery.state.problem.lower() or "failed" in delivery.state.problem


async def test_a_token_is_sent_and_read_again(tmp_path):
    """A rotated token needs no restart."""
    async with bench(tmp_path) as (server, spool, delivery, _):
        token = tmp_path / "token"
        token.write_text("first\n")
        url = f"http://127.0.0.1:{server.port}"
        poster = Poster(url, Access(bearer_token_file=str(token)), 1.0)
        delivery._posters = (poster,)
        spool.append(BATCH, 1, b"x")
        await delivery.flush()
        token.unlink()
        token.write_text("second one\n")
        spool.append(BATCH, 1, b"y")
        await delivery.flush()
        told = [headers["authorization"] for _, headers, _ in server.got]
        assert told == ["Bearer first", "Bearer second one"]
        await poster.aclose()
