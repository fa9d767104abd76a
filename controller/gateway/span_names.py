"""What the attributes of spans are called, by version of the convention: data.

The GenAI conventions are still in development and rename things; a new version is new rows.
Sources: OpenTelemetry GenAI semantic conventions 1.36 and 1.41; `servescope.*` are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Field = Literal[
    "operation", "provider", "model", "most_output_tokens", "is_stream", "finish_reasons",
    "input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "ttft_seconds", "session",
    "http_status", "error_type", "instance", "tenant", "slo_class", "queue_seconds", "attempt",
    "tenant_weight", "admission_reason", "retry_after_seconds", "itl_p99_seconds",
    "predicted_output_tokens", "request_id",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class SpanAttribute:
    """One attribute.

    Attributes:
        field: what it is here.
        name: what it is called there.
    """

    field: Field
    name: str


_COMMON = (
    SpanAttribute("operation", "gen_ai.operation.name"),
    SpanAttribute("model", "gen_ai.request.model"),
    SpanAttribute("most_output_tokens", "gen_ai.request.max_tokens"),
    SpanAttribute("finish_reasons", "gen_ai.response.finish_reasons"),
    SpanAttribute("input_tokens", "gen_ai.usage.input_tokens"),
    SpanAttribute("output_tokens", "gen_ai.usage.output_tokens"),
    SpanAttribute("session", "gen_ai.conversation.id"),
    SpanAttribute("http_status", "http.response.status_code"),
    SpanAttribute("error_type", "error.type"),
    SpanAttribute("instance", "server.address"),
    SpanAttribute("tenant", "servescope.tenant"),
    SpanAttribute("slo_class", "servescope.slo_class"),
    SpanAttribute("queue_seconds", "servescope.queue_seconds"),
    SpanAttribute("attempt", "servescope.attempt"),
    SpanAttribute("tenant_weight", "servescope.tenant_weight"),
    SpanAttribute("admission_reason", "servescope.admission_reason"),
    SpanAttribute("retry_after_seconds", "servescope.retry_after_seconds"),
    SpanAttribute("itl_p99_seconds", "servescope.itl_p99_seconds"),
    SpanAttribute("predicted_output_tokens", "servescope.predicted_output_tokens"),
    SpanAttribute("request_id", "servescope.request_id"),
)
NEWEST = "genai-1.41"
VERSIONS: Mapping[str, tuple[SpanAttribute, ...]] = {
    "genai-1.36": (*_COMMON, SpanAttribute("provider", "gen_ai.system")),
    "genai-1.41": (
        *_COMMON,
        SpanAttribute("provider", "gen_ai.provider.name"),
        SpanAttribute("is_stream", "gen_ai.request.stream"),
        SpanAttribute("cached_tokens", "gen_ai.usage.cache_read.input_tokens"),
        SpanAttribute("reasoning_tokens", "gen_ai.usage.reasoning.output_tokens"),
        SpanAttribute("ttft_seconds", "gen_ai.response.time_to_first_chunk"),
    ),
}
OPERATIONS: Mapping[str, str] = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embeddings",
    "/v1/responses": "chat",
}
"""Path -> `gen_ai.operation.name`; another path is told as it is."""
