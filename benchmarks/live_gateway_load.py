"""What the engines can do, and a trace that asks for more, sent by `servescope load`.

Every tenant's demand is told as a multiple of its share of the measured capacity, in the service
that VTC counts: prompt tokens and twice the output tokens, a second.
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
from live_controller import ROOT
from live_gateway_fleet import OTHERS, SLOTS, TENANTS, Stage, Tenant

TOKENS_PER_WORD, TEMPLATE_TOKENS = 2.7, 25
"""About those of the random model's tokeniser and template; the load measures them itself."""
RETRIES = 30
WAVE_SECONDS, CALM_SECONDS = 35.0, 45.0
NAME = "live-gateway"
WARM_SECONDS = 5.0


def service(tenant: Tenant) -> float:
    """Of one request, as VTC counts it."""
    return input_tokens(tenant) + 2.0 * tenant.output_tokens


def input_tokens(tenant: Tenant) -> int:
    """Of a prompt, with its template."""
    return round(tenant.input_words * TOKENS_PER_WORD) + TEMPLATE_TOKENS


async def capacity(stage: Stage, seconds: float) -> float:
    """Service a second of the mix, by as many clients as there are slots, through the gateway.

    Tokens are counted as they come, so that long answers at the end are not left out.
    """
    key = next(one.key for one in OTHERS if one.name == "measure")
    mix = [one for one in TENANTS for _ in range(round(1000 * share(one) / service(one)) or 1)]
    dice = random.Random(7)
    begun, done = time.monotonic(), 0.0

    def is_on() -> bool:
        return time.monotonic() < begun + WARM_SECONDS + seconds

    async def client(asker: httpx2.AsyncClient) -> None:
        nonlocal done
        while is_on():
            tenant = dice.choice(mix)
            body, cost = chat(tenant, dice), 1.0 * input_tokens(tenant)
            async with asker.stream("POST", "/v1/chat/completions", json=body) as answer:
                answer.raise_for_status()
                async for line in answer.aiter_lines():
                    if '"content"' in line and is_on():
                        done += (cost + 2.0) * (time.monotonic() > begun + WARM_SECONDS)
                        cost = 0.0

    headers = {"authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(
        base_url=stage.gateway, headers=headers, timeout=120, trust_env=False
    ) as asker:
        await asyncio.gather(*(client(asker) for _ in range(2 * SLOTS)))
    return done / seconds


def chat(tenant: Tenant, dice: random.Random) -> dict[str, Any]:
    """A request of a tenant's size."""
    words = " ".join(dice.choices(("the", "queue", "of", "busy", "engine", "grows"),
                                  k=tenant.input_words))  # fmt: skip
    return {"model": "tiny", "max_tokens": tenant.output_tokens, "ignore_eos": True,
            "stream": True, "messages": [{"role": "user", "content": words}]}  # fmt: skip


def share(tenant: Tenant) -> float:
    """Of the tenants of the trace."""
    return tenant.weight / sum(one.weight for one in TENANTS)


def write_trace(path: Path, capacity: float, seconds: float) -> float:
    """The trace as CSV; gives its demand over what can be served in that time."""
    rows = []
    dice = random.Random(11)
    for tenant in TENANTS:
        rate = tenant.rate_of_share * share(tenant) * capacity / service(tenant)
        at = dice.expovariate(rate)
        while at < seconds:
            if not tenant.in_waves or at % (WAVE_SECONDS + CALM_SECONDS) < WAVE_SECONDS:
                rows.append((at, tenant))
            at += dice.expovariate(rate)
    rows.sort(key=lambda row: row[0])
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(("at", "client", "prompt", "output"))
        for at, tenant in rows:
            out.writerow((f"{at:.3f}", tenant.name, input_tokens(tenant), tenant.output_tokens))
    return sum(service(tenant) for _, tenant in rows) / (capacity * seconds)


def start(stage: Stage, trace: Path, out: Path) -> subprocess.Popen[bytes]:
    """`servescope load`, honouring Retry-After; its summary goes beside its rows."""
    told = [
        sys.executable, "-m", "servescope", "load", str(trace), "--target", stage.gateway,
        "--map", "arrived_at=at:s", "--map", "tenant=client", "--map", "input_tokens=prompt",
        "--map", "output_tokens=output", "--keys", str(stage.folder / "keys.toml"),
        "--tenant-header", "", "--model", "tiny", "--retries", str(RETRIES), "--out", str(out),
        "--name", NAME, "--json",
    ]  # fmt: skip
    with (
        out.with_suffix(".json").open("wb") as summary,
        (stage.folder / "load.log").open("wb") as log,
    ):
        return subprocess.Popen(
            told, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=summary, stderr=log
        )


def summary(out: Path) -> dict[str, Any]:
    """What the load said at its end."""
    return json.loads(out.with_suffix(".json").read_text("utf-8"))
