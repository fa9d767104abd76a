"""Predictions of a running server about a real engine: what was said, and what came true.

A llama-server with a small model answers three tenants, whose rates swing and whose answers end on
their own or at their limit. It is restarted on the way. Every request and every start goes to the
server by its API; what the server then says of its predictions is printed, beside the naive rival.

    servescope up --target http://127.0.0.1:18093 --listen 127.0.0.1:18787 --store live.duckdb &
    servescope agent --server http://127.0.0.1:18787 &
    python benchmarks/predictors_live.py --server http://127.0.0.1:18787 --minutes 70
"""

from __future__ import annotations

import argparse
import asyncio
import math
import platform
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2

from collector.starts.logs import read_log
from servescope.live import obtain
from servescope.live.engine import LlamaServer
from servescope.live.sending import Load, as_json
from servescope.load.clients import Client
from servescope.load.records import Sent
from store.clock import WallClock

# tenant, requests a second, words asked, limit, mean length, seconds from high to high
TENANTS = (
    Client("chat", 0.55, 40, 90, 0.7, 1500.0, {"mean_tokens": 14}),
    Client("agent", 0.25, 140, 120, 0.4, 900.0, {"mean_tokens": 24}),
    Client("batch", 0.12, 300, 60, 0.9, 2700.0, {"mean_tokens": 60}),
)
FLUSH_SECONDS = 2.0
PROBES, ROUNDS = 8, 4
TOLD_SECONDS = 300.0
MOST_ROWS = 12
VIEWS = ("predictors", "predictors_forecast", "degradation_now", "predictors_models")


class Keeper:
    """Hands rows to the server; what it cannot take now is sent again."""

    def __init__(self, server: str) -> None:
        self._client = httpx2.AsyncClient(base_url=server, timeout=20.0, trust_env=False)
        self._waiting: list[dict[str, Any]] = []
        self.kept = self.cut = self.failed = 0

    def take(self, sent: Sent, row: dict[str, Any]) -> None:
        """One request that has ended."""
        self._waiting.append(as_json(row))
        self.failed += sent.status != "ok"
        self.cut += sent.finish_reason == "length"

    async def flush(self) -> None:
        """Send what waits."""
        rows, self._waiting = self._waiting, []
        if not rows:
            return
        try:
            answer = await self._client.post("/api/v1/requests", json=rows)
            answer.raise_for_status()
            self.kept += len(rows)
        except httpx2.HTTPError:
            self._waiting = rows + self._waiting

    def counts(self) -> str:
        """In words."""
        return f"{self.kept} rows kept, {self.cut} cut at their limit, {self.failed} failed"

    async def started(self, url: str, lines: list[str], began: datetime) -> None:
        """Tell the server how a start went."""
        found = read_log(
            lines,
            url.removeprefix("http://"),
            datetime.now(UTC),
            began_at=began,
            model="tiny",
            node=platform.node(),
        )
        rows = [
            {name: value for name, value in asdict(item).items() if value is not None}
            | {name: getattr(item, name).isoformat() for name in ("started_at", "ended_at")}
            for item in found
        ]
        answer = await self._client.post("/api/v1/starts", json={"observations": rows})
        print(f"{_clock()} start told: {answer.status_code} {answer.text[:120]}", flush=True)

    async def view(self, name: str) -> dict[str, Any]:
        """What the server says, and how long it takes to say it."""
        began = time.monotonic()
        params = {"from": "now-3h", "source": "live", "format": "json"}
        answer = await self._client.get(f"/api/v1/views/{name}", params=params)
        told: dict[str, Any] = answer.json()
        print(f"\n{name}: {answer.status_code}, {(time.monotonic() - began) * 1e3:.0f} ms")
        return told


async def ending(url: str, mean_tokens: float) -> dict[str, Any]:
    """Fields of a request whose answer ends on its own after about so many tokens.

    A random model hardly ever says that it is done; its logit is raised until it does so in time.
    """
    async with httpx2.AsyncClient(base_url=url, timeout=60.0, trust_env=False) as client:
        text = (await client.get("/props")).json().get("eos_token") or "</s>"
        asked = {"content": text, "parse_special": True, "add_special": False}
        tokens = (await client.post("/tokenize", json=asked)).json()["tokens"]
        bias = 5.0
        for _ in range(ROUNDS):
            fields = {
                "ignore_eos": False, "logit_bias": [[tokens[-1], round(bias, 2)]],
                "temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0,
            }  # fmt: skip
            body = {"prompt": "the queue of a busy engine", "max_tokens": 160, **fields}
            answers = [await client.post("/v1/completions", json=body) for _ in range(PROBES)]
            seen = sum(a.json()["usage"]["completion_tokens"] for a in answers) / PROBES
            if 0.6 <= seen / mean_tokens <= 1.6:
                break
            bias += math.log(max(seen, 1.0) / mean_tokens)
    print(f"{_clock()} answers of {seen:.0f} tokens with a bias of {bias:.1f}", flush=True)
    return fields


class Site:
    """The engine, its load, and the server they are told to.

    Args:
        options: of the command.
        binary: llama-server.
    """

    def __init__(self, options: argparse.Namespace, binary: Path) -> None:
        self.keeper = Keeper(options.server)
        self._options, self._binary = options, binary
        self._starts = 0
        self._engine: LlamaServer | None = None

    async def start(self) -> str:
        """Start the engine, tell how it went, give its URL."""
        self._starts += 1
        log = self._options.folder / f"engine-{self._starts}.log"
        port, model = self._options.port, self._options.model
        engine = LlamaServer(self._binary, model, log=log, port=port)
        began = datetime.now(UTC)
        await asyncio.to_thread(engine.__enter__)
        self._engine = engine
        await asyncio.sleep(1.0)
        lines = await asyncio.to_thread(log.read_text, errors="replace")
        await self.keeper.started(engine.url, lines.splitlines(), began)
        return engine.url

    async def stop(self) -> None:
        """Stop the engine."""
        if self._engine is not None:
            await asyncio.to_thread(self._engine.__exit__, None, None, None)

    async def work(self) -> None:
        """Load for the whole time, with restarts."""
        url = await self.start()
        clients = []
        for client in TENANTS:
            made = await ending(url, client.fields["mean_tokens"])
            clients.append(replace(client, fields={**made, "max_tokens": client.output_tokens}))
        name = f"live-{datetime.now(UTC):%H%M%S}"
        load = Load([url], WallClock(), lambda sent: self.keeper.take(sent, load.row(sent)), name)
        sending = asyncio.create_task(load.clients(self._options.minutes * 60, clients))
        began, told = time.monotonic(), 0.0
        due = sorted(float(word) * 60 for word in self._options.restarts.split(",") if word)
        while not sending.done():
            await asyncio.sleep(FLUSH_SECONDS)
            await self.keeper.flush()
            passed = time.monotonic() - began
            if due and passed >= due[0]:
                due.pop(0)
                await self.stop()
                await self.start()
            if passed - told >= TOLD_SECONDS:
                told = passed
                print(f"{_clock()} {self.keeper.counts()}", flush=True)
        await self.keeper.flush()


async def run(options: argparse.Namespace) -> None:
    binary = obtain.find()
    if binary is None:
        raise SystemExit("no llama-server: `make engine` builds one")
    await asyncio.to_thread(options.folder.mkdir, parents=True, exist_ok=True)
    site = Site(options, binary)
    try:
        await site.work()
    finally:
        await site.stop()
    for name in VIEWS:
        show(await site.keeper.view(name))


def show(view: dict[str, Any]) -> None:
    """Sentences and the first rows of each frame."""
    for sentence in view.get("sentences", ()):
        print("  ", sentence)
    for name, frame in view.get("frames", {}).items():
        for row in frame["rows"][:MOST_ROWS]:
            print("  ", name, row)


def _clock() -> str:
    return f"{datetime.now(UTC):%H:%M:%S}"


def main() -> None:
    model = obtain.cache_folder() / "model" / "servescope-tiny.gguf"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", default="http://127.0.0.1:8787")
    parser.add_argument("--port", type=int, default=18093, help="of the engine")
    parser.add_argument("--model", type=Path, default=model, help="GGUF file")
    parser.add_argument("--folder", type=Path, default=Path("live-run"), help="for logs")
    parser.add_argument("--minutes", type=float, default=70.0)
    parser.add_argument("--restarts", default="6,12,22,36", help="minutes at which it is restarted")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
