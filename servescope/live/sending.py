"""Load on real engines whose requests become rows: made-up clients, or the sizes of a trace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from servescope.load.asking import Wording
from servescope.load.clients import Client, of_clients
from servescope.load.planning import Planned
from servescope.load.prompts import ByteTokens, Prompts
from servescope.load.records import Sent
from servescope.load.sender import Rules, Sender
from store.clock import Clock

MODEL = "tiny"
# One that waits for an engine, or for a turn, is not given up: its time runs.
_RULES = Rules(most_connections=64, hold_seconds=86_400.0, timeout_seconds=60.0)
_TRACE_RULES = Rules(hold_seconds=86_400.0, timeout_seconds=60.0)
CLIENTS = (
    Client("chat", 2.0, 30, 40),
    Client("agent", 0.5, 120, 20),
    Client("batch", 0.2, 250, 120),
)
"""The demo's own: unequal, as real ones are."""
LLAMA_FIELDS: Mapping[str, Any] = {
    "cache_prompt": False,
    # Half a character is not sent before the other half: bytes beyond ASCII would hide tokens.
    "logit_bias": [[token, False] for token in range(127, 256)],
}
"""What llama-server is asked besides, where prompts are tokens."""


class Load:
    """Requests to engines, each reported when it is over.

    Args:
        urls: of the engines, loopback; or what tells them, where they come and go.
        clock: the time.
        report: takes each request when it has ended.
        name: goes in front of request ids, so that two loads never share one.
    """

    def __init__(
        self,
        urls: Sequence[str] | Callable[[], Sequence[str]],
        clock: Clock,
        report: Callable[[Sent], None],
        name: str = "load",
    ) -> None:
        self._urls, self._clock, self._report, self._name = urls, clock, report, name
        self._began = clock.now()

    async def clients(self, seconds: float, clients: Sequence[Client] = CLIENTS) -> None:
        """What clients ask for in that time, and the answers to it."""
        fields = {one.tenant: {"cache_prompt": False, **one.fields} for one in clients}
        wording = Wording(MODEL, "completions", fields=fields)
        await self._send(of_clients(clients, seconds), wording, Prompts(), _RULES)

    async def trace(
        self, plan: Iterable[Planned], fields: Mapping[str, Any] = LLAMA_FIELDS
    ) -> None:
        """Requests of exactly these sizes, made of meaningless tokens.

        Args:
            plan: by time.
            fields: of each request besides, as the engine understands them.
        """
        wording = Wording(MODEL, "completions", fields={"": fields})
        await self._send(plan, wording, ByteTokens(), _TRACE_RULES)

    def row(self, sent: Sent) -> dict[str, Any]:
        """A row of `store.append.REQUEST_FRAME`, as its sender saw it; without what is unknown."""
        found = {
            "request_id": f"{self._name}-{sent.planned.number}",
            "arrived_at": self._began.replace(tzinfo=None) + timedelta(seconds=sent.due_seconds),
            "status": sent.status, "tenant": sent.planned.tenant, "model": MODEL,
            "instance": sent.target.removeprefix("http://") or None,
            "finish_reason": sent.finish_reason or None, "input_tokens": sent.input_tokens,
            "output_tokens": sent.output_tokens, "ttft_seconds": sent.ttft_seconds,
            "tpot_seconds": sent.tpot_seconds, "e2e_seconds": sent.e2e_seconds,
        }  # fmt: skip
        return {name: value for name, value in found.items() if value is not None}

    async def _send(
        self, plan: Iterable[Planned], wording: Wording, prompts: Prompts | ByteTokens, rules: Rules
    ) -> None:
        sender = Sender(
            self._urls, wording, prompts, self._clock, self._report, rules=rules, name=self._name
        )
        self._began = self._clock.now()
        await sender.run(plan)


def as_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as the API takes it."""
    return {**row, "arrived_at": row["arrived_at"].isoformat() + "Z"}
