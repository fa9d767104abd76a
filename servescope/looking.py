"""Looking for engines on this machine: asked for by a person, on the loopback alone."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx2

from collector.detect import engines_of
from collector.exposition import parse

# Where engines listen when nobody says otherwise: vLLM and others, llama.cpp, TGI, SGLang, Ollama.
PORTS = (8000, 8001, 8080, 8081, 3000, 30000, 30001, 11434)
SECONDS = 1.0
MOST_BYTES = 4 << 20


def look(ports: Sequence[int] = PORTS) -> list[tuple[str, str]]:
    """Engines whose metrics pages answer now: (address, name of the engine), by port.

    Each port is asked once for `/metrics` on 127.0.0.1; nothing else of the machine or of the
    network is touched. A page that names no engine we know is left out.

    Args:
        ports: which ones.
    """
    with ThreadPoolExecutor(max_workers=len(ports) or 1) as pool:
        found = pool.map(_engine_at, ports)
    return [
        (f"http://127.0.0.1:{port}", name)
        for port, name in zip(ports, found, strict=True)
        if name is not None
    ]


def _engine_at(port: int) -> str | None:
    try:
        with httpx2.stream(
            "GET", f"http://127.0.0.1:{port}/metrics", timeout=SECONDS, trust_env=False
        ) as answer:
            if answer.status_code != 200:
                return None
            text = _start(answer)
    except httpx2.HTTPError:
        return None
    engines = engines_of(parse(text))
    return engines[0].name if engines else None


def _start(answer: httpx2.Response) -> str:
    """The page, at most `MOST_BYTES` of it."""
    held = b""
    for chunk in answer.iter_bytes():
        held += chunk
        if len(held) > MOST_BYTES:
            break
    return held[:MOST_BYTES].decode("utf-8", "replace")
