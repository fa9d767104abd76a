"""The live demo: its model, its load, and what it says when something is missing."""

import asyncio
import hashlib
import json
import random

import pytest

from servescope.live import obtain, tiny_model
from servescope.live.load import Client, Load, _body, _moments
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
    moments = list(_moments(client, random.Random(3), 20_000))  # noqa: S311 - load, not secrets
    assert len(moments) == pytest.approx(40_000, rel=0.03)
    high = sum(due % 1000 < 500 for due in moments)
    assert high / (len(moments) - high) == pytest.approx(1.93, rel=0.1)
    even = list(_moments(Client("chat", 2.0, 5, 4), random.Random(3), 100))  # noqa: S311
    assert even == sorted(even)


def test_a_client_may_ask_in_its_own_way():
    """Fields of a client take the place of the usual ones."""
    client = Client("chat", 2.0, 5, 4, fields={"ignore_eos": False, "max_tokens": 9})
    body = _body(client, random.Random(3))  # noqa: S311 - load, not secrets
    assert (body["ignore_eos"], body["max_tokens"], body["stream"]) == (False, 9, True)


async def answer(reader, writer):
    """A completion of three tokens as llama-server streams it, then the connection ends."""
    await reader.readuntil(b"\r\n\r\n")
    pieces = [{"choices": [{"text": word}]} for word in ("a", "b", "c")]
    pieces.append(
        {
            "choices": [{"text": "", "finish_reason": "length"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 3},
        }
    )
    lines = "".join(f"data: {json.dumps(piece)}\n\n" for piece in pieces) + "data: [DONE]\n\n"
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    writer.write((head + lines).encode())
    await writer.drain()
    writer.close()


async def test_every_request_is_reported_as_its_sender_saw_it():
    """Lengths come from the engine, times from the client, and the identity is its own."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sent = []
    client = Client("chat", requests_per_second=40.0, input_words=5, output_tokens=3)
    load = Load(f"http://127.0.0.1:{port}", WallClock(), sent.append, clients=(client,))
    await load.run(0.3)
    server.close()
    await server.wait_closed()
    assert sent
    assert len({one.request_id for one in sent}) == len(sent)
    one = sent[0]
    assert (one.status, one.input_tokens, one.output_tokens) == ("ok", 9, 3)
    assert one.finish_reason == "length"
    assert 0 <= one.ttft_seconds <= one.e2e_seconds


async def test_a_dead_engine_is_a_failed_request():
    """The load goes on, and each request says that it failed."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    sent = []
    client = Client("chat", requests_per_second=40.0, input_words=5, output_tokens=3)
    await Load(f"http://127.0.0.1:{port}", WallClock(), sent.append, clients=(client,)).run(0.2)
    assert {one.status for one in sent} == {"failed"}
    assert all(one.ttft_seconds is None for one in sent)
