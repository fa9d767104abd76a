"""A whole server, asked in its own process: any operation, odd parameters, odd bodies."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote, unquote

import polars as pl

from fuzzing.mutate import VALUES, Mutator
from fuzzing.otlp import _json_seeds, _protobuf_seeds
from fuzzing.push import ALERTS, ROWS, _agent_seeds, _write_seeds
from fuzzing.target import Differs, Take, Target
from fuzzing.traces import _seeds as _trace_seeds
from servescope.config import load
from servescope.runtime import Runtime, SloBook
from servescope.server import create_app
from store.clock import VirtualClock
from store.database import Database

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
_SLOS = """[[slo]]
name = "chat"
kind = "availability"
target_ratio = 0.9
window = "1h"
"""
_CONFIG = """[controller]
mode = "dry-run"
[[controller.pool]]
name = "chat"
match = {model = "m"}
actuator = {kind = "memory", replicas = 3, most = 50}
policy = "queue-length-hpa"
most = 20
"""
_TEXTS = ("chat", "risk", "m", "now-1h", "now", "live", "csv", "arrow", "parquet", "0", "1", "-1",
          "1e9", "9" * 400, "x'\"", "%00", "%ff%fe", "%ED%A0%80", "\u00e9", "a,b", "../x", "NaN",
          "now-9999999d", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z", "")  # fmt: skip
_NAMES = ("chat", "gpu-1", "1", "workload", "fleet", "m", "length-quantiles")
_PLAIN = ("GET", "POST", "PUT", "DELETE")
_COSTLY = ("/predictors/", "/replays", "/support", "/backup")
"""Operations that start other processes, or gather everything, are asked seldom."""


class Server:
    """An application over a small store, on an event loop of its own."""

    def __init__(self, folder: Path, ending: ExitStack) -> None:
        (folder / "servescope.toml").write_text(_CONFIG, "utf-8")
        (folder / "slo.toml").write_text(_SLOS, "utf-8")
        config = load(folder / "servescope.toml", {}, {"XDG_CONFIG_HOME": str(folder)})
        clock = VirtualClock(NOW)
        database = ending.enter_context(Database.open(folder / "store.duckdb", config.store, clock))
        runtime = Runtime(config, database, clock, SloBook(folder / "slo.toml", clock),
                          "http://127.0.0.1:8787")  # fmt: skip
        database.writer.append("request", _requests()).result()
        self.app = create_app(runtime)
        self.loop = asyncio.new_event_loop()
        ending.callback(self.loop.close)
        ending.callback(lambda: self.loop.run_until_complete(self.loop.shutdown_default_executor()))
        ending.callback(self.app.state.remote_write.close)
        self.paths: dict[str, Any] = self.app.openapi()["paths"]

    def ask(self, scope: Mapping[str, Any], body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer to one request."""
        return self.loop.run_until_complete(self._ask(dict(scope), body))

    async def _ask(self, scope: dict[str, Any], body: bytes) -> tuple[int, bytes]:
        told: list[Any] = []
        waiting = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Any:
            if not waiting:
                await asyncio.Event().wait()  # the client stays until it is answered
            return waiting.pop()

        async def send(message: Any) -> None:
            told.append(message)

        await self.app(scope, receive, send)
        if not told:
            raise Differs(f"no answer to {scope['method']} {scope['path'][:60]}", repr(scope)[:500])
        return told[0]["status"], b"".join(one.get("body", b"") for one in told[1:])


def _requests() -> pl.DataFrame:
    start = NOW.replace(tzinfo=None) - timedelta(minutes=60)
    return pl.DataFrame(
        {
            "source_id": [1] * 60,
            "arrived_at": [start + timedelta(minutes=minute) for minute in range(60)],
            "status": ["failed" if minute % 10 == 9 else "ok" for minute in range(60)],
            "tenant": ["a"] * 60, "model": ["m"] * 60, "input_tokens": list(range(60)),
            "output_tokens": [10] * 60,
            "ttft_seconds": [0.1 + minute / 100 for minute in range(60)],
        }
    )  # fmt: skip


def _seeds(folder: Path) -> Sequence[bytes]:
    """Sixteen random bytes choose what is asked and how; a body may follow."""
    random = Random(7)
    bodies = [body for told in _good(folder).values() for body in told]
    return [random.randbytes(16) + body for body in (b"", b"", *bodies) for _ in range(8)]


def _good(folder: Path) -> dict[str, list[bytes]]:
    """Bodies that are taken, of the doors whose description holds no example."""
    row = {"request_id": "a", "arrived_at": 1_769_857_200, "status": "ok"}
    gateway = {"rows": [row], "drops": [[1_769_857_200, "gateway", "full", 3, ""]]}
    traces, metrics = (seed[1:] for seed in _protobuf_seeds(folder))
    packed = [seed[1:] for seed in _write_seeds(folder)][2:]
    return {
        "/api/v1/requests": [json.dumps(ROWS).encode()],
        "/api/v1/alerts/in": [json.dumps(ALERTS).encode()],
        "/api/v1/agents/{name}/batches": list(_agent_seeds(folder)),
        "/api/v1/gateways/{name}/rows": [json.dumps(gateway).encode()],
        "/api/v1/write": packed,
        "/v1/traces": [traces, *_json_seeds(folder)],
        "/v1/metrics": [metrics, *_json_seeds(folder)],
        "/v1/logs": [b'{"resourceLogs": [{"scopeLogs": [{"logRecords": [{}]}]}]}'],
        "/api/v1/imports": [seed[1:] for seed in _trace_seeds(folder) if seed[1:5] == b"PAR1"],
    }


def _made(folder: Path, ending: ExitStack) -> Take:
    server = Server(folder, ending)
    operations = sorted((path, method) for path, told in server.paths.items() for method in told)
    cheap = [one for one in operations if not any(word in one[0] for word in _COSTLY)]
    # Who sends most decides most: what takes a body is asked twice as often as all the rest.
    cheap += 2 * [one for one in cheap if "requestBody" in server.paths[one[0]][one[1]]]
    good = _good(folder)
    mutator = Mutator([b"{}"])

    def take(data: bytes) -> None:
        random = Random(data[:16])
        path, method = random.choice(operations if random.random() < 0.02 else cheap)
        described = server.paths[path][method]
        body = data[16:]
        if random.random() < 0.8 and "requestBody" in described:
            body = _body(described, good.get(path), server, random)
            if random.random() < 0.75:
                body = mutator.changed(body, random)
        status, answer = server.ask(_scope(path, method, described, random, body), body)
        # A store that is too full or too slow says so; everything else above 499 is a fault.
        if status in (500, 501, 502):
            told = answer[:800].decode("utf-8", "replace")
            raise Differs(f"{status} of {method.upper()} {path}", f"{told} to {body[:200]!r}")

    return take


def _scope(
    path: str, method: str, described: Mapping[str, Any], random: Random, body: bytes
) -> dict[str, Any]:
    texts = _TEXTS if random.random() < 0.3 else _NAMES
    told = re.sub(r"\{\w+\}", lambda _: quote(random.choice(texts), safe="%"), path)
    parameters = described.get("parameters", [])
    queries = [
        f"{one['name']}={quote(random.choice(_TEXTS), safe='%')}"
        for one in parameters if one["in"] == "query" and random.random() < 0.3
    ]  # fmt: skip
    kinds = list(described.get("requestBody", {}).get("content", {})) or ["application/json"]
    headers = {
        "host": "127.0.0.1:8787", "content-length": str(len(body)),
        "content-type": _mostly(random, random.choice(kinds), "text/plain", ""),
        "content-encoding": _mostly(random, "", "gzip", "snappy", "br"),
        "servescope-batch": _mostly(random, f"b{random.random()}", "b1", "b1,b2", "", "\xff"),
        "accept": _mostly(random, "*/*", "text/csv", "application/json;q=x", "\xe9"),
    }  # fmt: skip
    if path.endswith("/write"):
        headers["content-encoding"] = "snappy"
    elif path.startswith("/v1/"):
        headers["content-type"] = kinds[body[:1] == b"{"]
    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1",
        "method": method.upper() if random.random() < 0.95 else random.choice(_PLAIN),
        "scheme": "http", "path": unquote(told, errors="replace"), "raw_path": told.encode(),
        "query_string": "&".join(queries).encode(), "root_path": "",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()
                    if value],
        "client": ("127.0.0.1", 5), "server": ("127.0.0.1", 8787), "state": {},
    }  # fmt: skip


def _mostly(random: Random, usual: str, *odd: str) -> str:
    return usual if random.random() < 0.85 else random.choice(odd)


def _body(
    described: Mapping[str, Any], good: Sequence[bytes] | None, server: Server, random: Random
) -> bytes:
    """A good body, or one by its description."""
    if good:
        return random.choice(good)
    content = described["requestBody"]["content"].get("application/json")
    if content is None:
        return random.randbytes(random.choice((0, 3, 60)))
    components = server.app.openapi().get("components", {}).get("schemas", {})
    told = _value(content.get("schema", {}), components, random, 0)
    return json.dumps(told).encode()


def _value(schema: Mapping[str, Any], named: Mapping[str, Any], random: Random, depth: int) -> Any:
    if random.random() < 0.03 or depth > 5:
        return random.choice(VALUES)
    if "$ref" in schema:
        schema = named[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        return _value(random.choice(schema["anyOf"]), named, random, depth + 1)
    if "enum" in schema:
        return random.choice(schema["enum"])
    examples = [*schema.get("examples", ()), *filter(None, (schema.get("example"),))]
    if examples and random.random() < 0.8:
        return random.choice(examples)
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        told = {
            name: _value(one, named, random, depth + 1)
            for name, one in schema.get("properties", {}).items()
            if name in schema.get("required", ()) or random.random() < 0.6
        }
        return told or {random.choice(_TEXTS): random.choice(VALUES)}
    if kind == "array":
        return [_value(schema.get("items", {}), named, random, depth + 1) for _ in range(2)]
    plain = {"integer": (0, 1, 7, 2**31, -1), "number": (0.0, 0.5, 1e300, -1), "boolean": (True,)}
    return random.choice(plain.get(kind if isinstance(kind, str) else "", _TEXTS))


SERVER = Target("server", "every operation of the API, odd parameters and bodies", _seeds, _made)
