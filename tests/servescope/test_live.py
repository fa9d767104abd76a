"""The live demo: its model, its load, and what it says when something is missing."""

import asyncio
import hashlib
import json
import random
from contextlib import asynccontextmanager

import pytest

from servescope.live import obtain, tiny_model
from servescope.live.sending import LLAMA_FIELDS, Load
from servescope.load.clients import Client, arrivals, of_clients, of_sizes
from store.clock import WallClock
from store.errors import ConfigError


def test_the_model_is_the_same_bytes_every_time(tmp_path):
    """Two machines that make the model get one file."""
    pytest.importorskip("gguf")
    small = tiny_model.Shape(layers=1, heads=1, kv_heads=1, feed_forward=64)
    files = [tiny_model.write(tmp_path / name, small) for name in ("a.gguf", "b.gguf")]
    assert len({hashlib.sha256(file.read_bytes()).hexdigest() for file in files}) == 1
    assert files[0].read_bytes()[:4] == b"GGUF"


def test_a_named_engine_that_cannot_run_is_refused(monkeypatch, tmp_path):
    """A wrong path is said, not passed over."""
    monkeypatch.setenv(obtain.BINARY, str(tmp_path / "nothing"))
    with pytest.raises(ConfigError, match=obtain.BINARY):
        obtain.find()


def test_without_a_compiler_the_build_says_what_to_install(monkeypatch, tmp_path):
    """Nothing is downloaded before the tools are there."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(ConfigError, match="cmake") as failure:
        obtain.build(pytest.fail)
    assert "apt-get install cmake g++" in failure.value.hint
    assert not list(tmp_path.iterdir())


def test_a_rate_swings_around_its_mean():
    """Twice as many arrive in the high half of a period as in the low one; the mean stays."""
    client = Client("chat", 2.0, 5, 4, swing_ratio=0.5, swing_seconds=1000.0)
    moments = list(arrivals(client, random.Random(3), 20_000))  # noqa: S311 - load, not secrets
    assert len(moments) == pytest.approx(40_000, rel=0.03)
    high = sum(due % 1000 < 500 for due in moments)
    assert high / (len(moments) - high) == pytest.approx(1.93, rel=0.1)
    even = list(arrivals(Client("chat", 2.0, 5, 4), random.Random(3), 100))  # noqa: S311
    assert even == sorted(even)


def test_clients_are_merged_by_time_and_the_same_every_time():
    """Numbers rise with time; a seed decides everything; lengths are about what was asked for."""
    clients = (Client("chat", 5.0, 30, 40), Client("batch", 1.0, 200, 100))
    plan = list(of_clients(clients, 200.0, seed=3))
    assert plan == list(of_clients(clients, 200.0, seed=3))
    assert [one.number for one in plan] == list(range(len(plan)))
    assert [one.at_seconds for one in plan] == sorted(one.at_seconds for one in plan)
    chat = [one for one in plan if one.tenant == "chat"]
    assert len(chat) == pytest.approx(1000, rel=0.15)
    assert sum(one.input_tokens for one in chat) / len(chat) == pytest.approx(32.5, rel=0.1)
    assert max(one.output_tokens for one in chat) <= 40


class Engine:
    """Completions of three tokens as llama-server streams them, then the connection ends."""

    def __init__(self):
        self.asked = []

    async def __call__(self, reader, writer):
        """One request and its answer."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        self.asked.append(json.loads(await reader.readexactly(length)))
        pieces = [{"choices": [{"text": word}]} for word in ("a", "b", "c")]
        usage = {"prompt_tokens": 9, "completion_tokens": 3}
        pieces.append({"choices": [{"text": "", "finish_reason": "length"}], "usage": usage})
        lines = "".join(f"data: {json.dumps(piece)}\n\n" for piece in pieces) + "data: [DONE]\n\n"
        head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
        writer.write((head + lines).encode())
        await writer.drain()
        writer.close()


@asynccontextmanager
async def running():
    """An engine on a free port, and its URL."""
    engine = Engine()
    server = await asyncio.start_server(engine, "127.0.0.1", 0)
    try:
        yield engine, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


async def test_every_request_is_a_row_as_its_sender_saw_it():
    """Lengths come from the engine, times from the client, and the identity is its own."""
    rows, clock = [], WallClock()
    client = Client("chat", requests_per_second=40.0, input_words=5, output_tokens=3)
    async with running() as (engine, url):
        load = Load([url], clock, lambda sent: rows.append(load.row(sent)), "demo-1")
        await load.clients(0.3, (client,))
    assert rows
    assert len({row["request_id"] for row in rows}) == len(rows) == len(engine.asked)
    row = rows[0]
    assert (row["status"], row["tenant"], row["model"]) == ("ok", "chat", "tiny")
    assert (row["input_tokens"], row["output_tokens"], row["finish_reason"]) == (9, 3, "length")
    assert row["instance"] == url.removeprefix("http://")
    assert 0 <= row["ttft_seconds"] <= row["e2e_seconds"]
    assert abs((clock.now().replace(tzinfo=None) - row["arrived_at"]).total_seconds()) < 60


async def test_a_client_may_ask_in_its_own_way():
    """Fields of a client take the place of the usual ones, and are nobody else's."""
    own = Client("chat", 20.0, 5, 4, fields={"ignore_eos": False, "max_tokens": 9})
    usual = Client("batch", 20.0, 5, 4)
    async with running() as (engine, url):
        await Load([url], WallClock(), lambda sent: None).clients(0.5, (own, usual))
    asked = {(body["ignore_eos"], body["max_tokens"] == 9) for body in engine.asked}
    assert asked == {(False, True), (True, False)}
    assert all(body["cache_prompt"] is False and body["stream"] for body in engine.asked)


async def test_a_dead_engine_is_a_failed_request():
    """The load goes on, and each request says that it failed."""
    async with running() as (_, url):
        pass
    rows = []
    client = Client("chat", requests_per_second=40.0, input_words=5, output_tokens=3)
    load = Load([url], WallClock(), lambda sent: rows.append(load.row(sent)))
    await load.clients(0.2, (client,))
    assert {row["status"] for row in rows} == {"failed"}
    assert not any("ttft_seconds" in row for row in rows)


async def test_a_trace_has_exactly_its_sizes_and_waits_for_an_engine():
    """Prompts are so many tokens; where no engine takes requests yet, its time runs."""
    looks, sent = [], []
    async with running() as (engine, url):

        def urls():
            looks.append(1)
            return [] if len(looks) == 1 else [url]

        load = Load(urls, WallClock(), sent.append, "trace")
        await load.trace(of_sizes([(0.0, 12, 3), (0.01, 700, 5)], "trace"))
    sizes = sorted((len(body["prompt"]), body["max_tokens"]) for body in engine.asked)
    assert sizes == [(12, 3), (700, 5)]
    assert all(body["logit_bias"] == LLAMA_FIELDS["logit_bias"] for body in engine.asked)
    assert {one.status for one in sent} == {"ok"}
    late = max(sent, key=lambda one: one.held_seconds)
    assert late.ttft_seconds >= late.held_seconds > 0
