"""llama-server as a program of the laboratory: tokens a second and time to the first token."""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from servescope.lab.children import bound
from servescope.lab.work import Place, Program, Told, Work
from servescope.live import obtain, tiny_model
from store.clock import WallClock
from store.errors import CollectError, ConfigError

_HOST = "127.0.0.1"
_READY_SECONDS = 30.0
_REQUEST_SECONDS = 60.0
_WORDS = ("the", "queue", "of", "a", "busy", "engine", "grows", "until", "somebody", "counts")
TINY, MID = "servescope-tiny.gguf", "servescope-mid.gguf"
_SHAPES = {TINY: tiny_model.TINY, MID: tiny_model.MID}


@dataclass(frozen=True, slots=True)
class _Kind:
    """Requests of one kind: a model, words of prompts, tokens asked for, requests at once."""

    model: str
    words: tuple[int, ...]
    tokens: tuple[int, ...]
    concurrency: int = 1


_CHAT = _Kind(TINY, (20, 40, 60, 30), (24, 48, 16, 64), 2)
_PROMPT = _Kind(TINY, (250, 400, 320, 500), (2, 4, 2, 3))
_HEAVY = _Kind(MID, (16, 40, 24, 32), (6, 10, 4, 8))


@contextmanager
def _engine(kind: _Kind, place: Place) -> Iterator[Work]:
    binary = obtain.find()
    if binary is None:
        raise CollectError("no llama-server here")
    with _running(binary, _model(kind.model), kind.concurrency, place.folder) as port:
        dice = random.Random(place.seed)  # noqa: S311 - an experiment, no secret
        pieces = []
        for words, tokens in zip(kind.words, kind.tokens, strict=True):
            prompt = " ".join(dice.choices(_WORDS, k=words))
            pieces.append(partial(_complete, port, prompt, tokens))
        yield Work(pieces, kind.concurrency)


@contextmanager
def _running(binary: Path, model: Path, slots: int, folder: Path) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port = int(probe.getsockname()[1])
    command = [
        *(str(binary), "-m", str(model), "--alias", "lab", "--host", _HOST, "--port", str(port)),
        *("-c", "8192", "-np", str(slots), "-t", "1", "-tb", "1", "--no-webui"),
    ]
    with (folder / "llama-server.log").open("wb") as log:
        server = subprocess.Popen(  # noqa: S603 - a path the user chose
            bound(command, os.sched_getaffinity(0)), stdout=log, stderr=subprocess.STDOUT
        )
    try:
        _wait(port, server)
        yield port
    finally:
        server.terminate()
        try:
            server.wait(2.0)
        except subprocess.TimeoutExpired:  # with streams open it never leaves
            server.kill()
            server.wait()


def _wait(port: int, server: subprocess.Popen[bytes]) -> None:
    clock, pause = WallClock(), threading.Event()
    until = clock.monotonic() + _READY_SECONDS
    while clock.monotonic() < until and server.poll() is None:
        with suppress(OSError, http.client.HTTPException), _connection(port, 2.0) as connection:
            connection.request("GET", "/health")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        pause.wait(0.05)
    raise CollectError("llama-server did not become ready", hint="its log lies in the folder")


@contextmanager
def _connection(port: int, limit_seconds: float) -> Iterator[http.client.HTTPConnection]:
    with closing(http.client.HTTPConnection(_HOST, port, timeout=limit_seconds)) as connection:
        yield connection


def _complete(port: int, prompt: str, tokens: int) -> Told:
    """One streamed request."""
    body: dict[str, Any] = {
        "prompt": prompt,
        "n_predict": tokens,
        "stream": True,
        "ignore_eos": True,
        "cache_prompt": False,
        "temperature": 0.0,
    }
    try:
        # One connection a request: llama-server closes it after a stream although it says not to.
        with _connection(port, _REQUEST_SECONDS) as connection:
            return _streamed(connection, json.dumps(body))
    except (http.client.HTTPException, ValueError) as error:
        raise CollectError(f"llama-server gave no whole answer: {error}") from error


def _streamed(connection: http.client.HTTPConnection, body: str) -> Told:
    clock = WallClock()
    first, last = None, b"{}"
    connection.request("POST", "/completion", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    if answer.status != http.HTTPStatus.OK:
        raise CollectError(f"llama-server answered {answer.status}")
    for line in answer:
        if line.startswith(b"data: "):
            first = first if first is not None else clock.monotonic()
            last = line[len(b"data: ") :]
    # Counted by the engine: several tokens can make one character, and come in one chunk.
    return Told(first, float(json.loads(last).get("tokens_predicted", 0)))


def _model(name: str) -> Path:
    return tiny_model.write(obtain.cache_folder() / "model" / name, _SHAPES[name])


def _missing(model: str) -> str | None:
    try:
        binary = obtain.find()
    except ConfigError as error:
        return str(error)
    if binary is None:
        return "no llama-server: `make engine` builds one in minutes"
    if not (obtain.cache_folder() / "model" / model).exists() and find_spec("gguf") is None:
        return "no model, and no gguf to make it: pip install 'servescope[live]'"
    return None


def _program(name: str, about: str, kind: _Kind) -> Program:
    return Program(name, "llm", about, partial(_engine, kind), partial(_missing, kind.model))


ENGINES = (
    _program("llm_chat", "llama-server, short prompts, two streams", _CHAT),
    _program("llm_prompt", "llama-server, long prompts, few tokens", _PROMPT),
    _program("llm_heavy", "llama-server, a model six times as large", _HEAVY),
)
