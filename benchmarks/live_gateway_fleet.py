"""What the demonstration of the gateway runs on: engines, tenants with keys, settings, server."""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import polars as pl
from live_controller import Server

from servescope.live import obtain, tiny_model
from servescope.live.engine import LlamaServer

SLOTS, CONTEXT_TOKENS = 4, 1024
"""Of each engine: requests at a time, and tokens of each."""
FREEZE_SECONDS = 0.3
"""An engine that is stopped says nothing more, and what it said is read: what it has is known."""
EMBEDDINGS = "tiny-embed"
CONFIG = """
[server]
targets = [{targets}]
slo_file = "{folder}/slo.toml"

[collector]
scrape_interval_seconds = 5.0

[gateway]
name = "demonstration"
listen = "127.0.0.1:{port}"
upstreams = [{upstreams}]
tenants_file = "{folder}/tenants.toml"
spool_folder = "{folder}/spool"
line = "vtc"
most_waiting_of_tenant = {most_waiting}
drain_seconds = 5
log_level = "warning"
"""
SLO = """
[[slo]]
name = "first-token"
kind = "ttft"
threshold_seconds = {ttft_seconds}
target_ratio = 0.9
window = "1h"
"""


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who asks.

    Attributes:
        weight: of its share.
        requests_per_minute: that it may send; None is no limit.
        rate_of_share: demand over its share of what the engines can do; 0 sends none of the trace.
        input_words: about how long its prompts are.
        output_tokens: of its answers.
        in_waves: whether it comes in waves.
    """

    name: str
    weight: float
    requests_per_minute: int | None = None
    rate_of_share: float = 0.0
    input_words: int = 0
    output_tokens: int = 0
    in_waves: bool = False
    key: str = field(default_factory=lambda: f"sk-{secrets.token_hex(16)}")


TENANTS = (
    Tenant("flood", 1, 150, 3.0, 12, 24, in_waves=True),
    Tenant("steady", 1, None, 1.0, 20, 32),
    Tenant("long", 2, None, 1.5, 100, 160),
)
OTHERS = (Tenant("witness", 1), Tenant("measure", 1), Tenant("small", 1, 20))
"""Not of the trace: streams that look for lost chunks, the measuring, the official client."""


class Engine(LlamaServer):
    """One that can be killed, and started again at the same address."""

    def freeze(self) -> None:
        """It does nothing more, and keeps its connections."""
        os.kill(self.pid or 0, signal.SIGSTOP)
        time.sleep(FREEZE_SECONDS)

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def again(self) -> None:
        """Start it again, and wait until it is ready."""
        self.__enter__()


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that runs."""

    engines: dict[str, Engine]
    server: Server
    gateway: str
    folder: Path

    def status(self) -> dict[str, Any]:
        """What the gateway says of itself."""
        return httpx2.get(f"{self.gateway}/gateway/status", trust_env=False).json()

    def sql(self, text: str) -> pl.DataFrame:
        """Rows of the store."""
        answer = httpx2.post(
            f"{self.server.url}/api/v1/sql?format=parquet", json={"sql": text}, timeout=60,
            trust_env=False,
        )  # fmt: skip
        answer.raise_for_status()
        return pl.read_parquet(io.BytesIO(answer.content))

    def view(self, name: str, **params: str) -> dict[str, Any]:
        """A view of the last part of the store."""
        query = "&".join(f"{key}={value}" for key, value in params.items())
        return self.server.get(f"views/{name}?{query}")


@contextmanager
def running(options: Any) -> Iterator[Stage]:
    """Engines, then the server with the gateway as its child; all of it ends with the block."""
    folder = options.folder
    port = free_port()
    with ExitStack() as stack:
        engines = {
            name: stack.enter_context(engine(folder, name)) for name in ("one", "two", "embed")
        }
        write_settings(options, engines, port)
        server = stack.enter_context(Server(options, "--config", str(folder / "servescope.toml")))
        stage = Stage(engines, server, f"http://127.0.0.1:{port}", folder)
        wait_for(stage, 3)
        yield stage


def engine(folder: Path, name: str) -> Engine:
    """A llama-server with a random model; it goes behind what measures it."""
    binary = obtain.find()
    if binary is None:
        raise SystemExit("no llama-server: `make engine` builds one")
    is_embed = name == "embed"
    shape = tiny_model.TINY if is_embed else tiny_model.MID
    kind = "tiny" if is_embed else "mid"
    model = tiny_model.write(obtain.cache_folder() / "model" / f"servescope-{kind}.gguf", shape)
    more = ("--embeddings", "--pooling", "mean") if is_embed else ()
    return Engine(
        binary, model, log=folder / f"{name}.log", slots=SLOTS,
        context_tokens=SLOTS * CONTEXT_TOKENS, port=free_port(), before=("nice", "-n", "2"),
        alias=EMBEDDINGS if is_embed else "tiny", after=more,
    )  # fmt: skip


def write_settings(options: Any, engines: dict[str, Engine], port: int) -> None:
    """servescope.toml, tenants.toml, keys.toml for the load, slo.toml."""
    folder, lines = options.folder, ["keys_required = true"]
    for tenant in (*TENANTS, *OTHERS):
        digest = hashlib.sha256(tenant.key.encode()).hexdigest()
        lines += [f"[tenant.{tenant.name}]", f"weight = {tenant.weight}"]
        lines += [f'keys = ["sha256:{digest}"]']
        if tenant.requests_per_minute:
            lines.append(f"requests_per_minute = {tenant.requests_per_minute}")
    (folder / "tenants.toml").write_text("\n".join(lines))
    keys = "\n".join(f'{tenant.name} = "{tenant.key}"' for tenant in TENANTS)
    (folder / "keys.toml").write_text(keys)
    (folder / "slo.toml").write_text(SLO.format(ttft_seconds=options.ttft))
    upstreams = ", ".join(f'"{name}={one.url}"' for name, one in engines.items())
    targets = ", ".join(f'"{one.url}"' for name, one in engines.items() if name != "embed")
    (folder / "servescope.toml").write_text(
        CONFIG.format(folder=folder.resolve(), port=port, upstreams=upstreams, targets=targets,
                      most_waiting=options.most_waiting)
    )  # fmt: skip


def wait_for(stage: Stage, count: int, seconds: float = 60.0) -> None:
    """Until so many engines are ready at the gateway."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            told = stage.status()["instances"]
            if sum(one["state"] == "ready" for one in told) >= count:
                return
        except httpx2.HTTPError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"the gateway sees no {count} engines: see {stage.folder}/server.log")


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
