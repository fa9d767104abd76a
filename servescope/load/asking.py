"""What is sent: the target's side of a request, as bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from controller.gateway.http.pool import Address
from servescope.load.planning import Planned

Api = Literal["chat", "completions"]
PATHS: Mapping[str, str] = {"chat": "/v1/chat/completions", "completions": "/v1/completions"}
TENANT_HEADER = "x-llm-d-inference-fairness-id"
SESSION_HEADER = "x-session-id"


@dataclass(frozen=True, slots=True)
class Wording:
    """How requests are put.

    Attributes:
        model: the name that the target knows.
        api: "chat" or "completions".
        is_stream: whether answers are streamed; without it no time to first token is known.
        is_exact: whether the engine is told to go on to the length of the trace (`ignore_eos`,
            which vLLM, SGLang and llama-server know).
        tenant_header: that names the tenant; "" is none.
        keys: tenant -> API key; "" is for everybody else.
        fields: tenant -> what else its requests say, or in place of the above; "" likewise.
    """

    model: str
    api: Api = "chat"
    is_stream: bool = True
    is_exact: bool = True
    tenant_header: str = TENANT_HEADER
    keys: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def body(self, prompt: str | Sequence[int], output_tokens: int, tenant: str = "") -> bytes:
        """JSON of a request; a prompt of tokens is for "completions" alone."""
        told: dict[str, Any] = {"model": self.model, "max_tokens": output_tokens}
        if self.api == "chat":
            told["messages"] = [{"role": "user", "content": prompt}]
        else:
            told["prompt"] = prompt
        if self.is_stream:
            told["stream"] = True
            told["stream_options"] = {"include_usage": True}
        if self.is_exact:
            told["ignore_eos"] = True
        told |= self.fields.get(tenant, self.fields.get("", {}))
        return orjson.dumps(told)

    def request(
        self, to: Address, planned: Planned, body: bytes, request_id: str, traceparent: str = ""
    ) -> bytes:
        """Head and body, ready for the wire."""
        head = [
            f"POST {to.root}{PATHS[self.api]} HTTP/1.1",
            f"host: {to.authority.decode()}",
            "content-type: application/json",
            f"content-length: {len(body)}",
            f"x-request-id: {_plain(request_id)}",
            *([f"traceparent: {traceparent}"] if traceparent else []),
            *self._who(planned),
        ]
        return "\r\n".join(head).encode() + b"\r\n\r\n" + body

    def _who(self, planned: Planned) -> list[str]:
        found = []
        if planned.tenant and self.tenant_header:
            found.append(f"{self.tenant_header}: {_plain(planned.tenant)}")
        if planned.session:
            found.append(f"{SESSION_HEADER}: {planned.session}")
        key = self.keys.get(planned.tenant, self.keys.get("", ""))
        if key:
            found.append(f"authorization: Bearer {key}")
        return found


def _plain(text: str) -> str:
    """As a header may hold it: a trace's tenant may be any text."""
    return "".join(sign if sign.isascii() and sign.isprintable() else "_" for sign in text)
