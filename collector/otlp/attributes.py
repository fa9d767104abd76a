"""Which span attribute means what, by convention and version: data, newest names first.

Conventions name the same thing differently and change their names from version to version. A field
is read from the first row of `ATTRIBUTES` that the span carries, so the order is the precedence:
engines' own numbers, then the newest standard, then older names. Nothing here is code; a new
version of a convention is new rows.

Sources: vLLM `vllm/tracing/utils.py` 0.32; SGLang `observability/trace.py` 0.5; OpenTelemetry GenAI
semantic conventions up to 1.41 and their own repository since; OpenLLMetry semantic conventions;
OpenInference `spec/spans/llm`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Field = Literal[
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "queue_seconds",
    "prefill_seconds",
    "decode_seconds",
    "ttft_seconds",
    "e2e_seconds",
    "model",
    "finish_reason",
    "http_status",
    "error_type",
]
Role = Literal["engine", "server", "caller"]


@dataclass(frozen=True, slots=True)
class Attribute:
    """One row of the map.

    Args:
        field: what it is here.
        name: what it is called there.
        convention: who calls it so.
        versions: since or until when, for people.
        factor: told value times this is our unit.
    """

    field: Field
    name: str
    convention: str
    versions: str = "all"
    factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Mark:
    """What makes a span an inference: one of these attributes, with one of these values.

    Args:
        name: attribute.
        convention: who sets it.
        values: in lower case; empty means that its presence is enough.
        role: who speaks; None leaves it to the span's kind (SERVER serves, all others call).
    """

    name: str
    convention: str
    values: frozenset[str] = frozenset()
    role: Role | None = None


_ENGINE = "vLLM, SGLang, TensorRT-LLM"
_GENAI = "OTel GenAI"
_LLMETRY = "OpenLLMetry"
_INFERENCE = "OpenInference"

MARKS = (
    # Only an engine can tell these; the operation's name is absent from its spans.
    Mark("gen_ai.latency.e2e", _ENGINE, role="engine"),
    Mark("gen_ai.latency.time_to_first_token", _ENGINE, role="engine"),
    Mark("gen_ai.latency.time_in_queue", _ENGINE, role="engine"),
    Mark(
        "gen_ai.operation.name",
        _GENAI,
        frozenset({"chat", "text_completion", "generate_content", "completion"}),
    ),
    Mark("llm.request.type", _LLMETRY, frozenset({"chat", "completion"})),
    Mark("openinference.span.kind", _INFERENCE, frozenset({"llm"})),
)

ATTRIBUTES = (
    Attribute("input_tokens", "gen_ai.usage.input_tokens", _GENAI, "1.27 and newer"),
    Attribute("input_tokens", "gen_ai.usage.prompt_tokens", f"{_ENGINE}; {_LLMETRY}", "old name"),
    Attribute("input_tokens", "llm.token_count.prompt", _INFERENCE),
    Attribute("input_tokens", "llm.usage.prompt_tokens", _LLMETRY, "before 0.17"),
    Attribute("output_tokens", "gen_ai.usage.output_tokens", _GENAI, "1.27 and newer"),
    Attribute(
        "output_tokens", "gen_ai.usage.completion_tokens", f"{_ENGINE}; {_LLMETRY}", "old name"
    ),
    Attribute("output_tokens", "llm.token_count.completion", _INFERENCE),
    Attribute("output_tokens", "llm.usage.completion_tokens", _LLMETRY, "before 0.17"),
    Attribute("cached_tokens", "gen_ai.usage.cache_read.input_tokens", _GENAI, "1.40 and newer"),
    Attribute("cached_tokens", "gen_ai.usage.cached_tokens", "SGLang"),
    Attribute("cached_tokens", "gen_ai.usage.cache_read_input_tokens", _LLMETRY),
    Attribute("cached_tokens", "llm.token_count.prompt_details.cache_read", _INFERENCE),
    Attribute("queue_seconds", "gen_ai.latency.time_in_queue", _ENGINE),
    Attribute("prefill_seconds", "gen_ai.latency.time_in_model_prefill", _ENGINE),
    Attribute("decode_seconds", "gen_ai.latency.time_in_model_decode", _ENGINE),
    Attribute("ttft_seconds", "gen_ai.latency.time_to_first_token", _ENGINE),
    Attribute("ttft_seconds", "gen_ai.response.time_to_first_chunk", _GENAI, "1.41 and newer"),
    Attribute("ttft_seconds", "gen_ai.server.time_to_first_token", _LLMETRY),
    Attribute("e2e_seconds", "gen_ai.latency.e2e", _ENGINE),
    # What was asked for is what metric pages call the model; what answered may add a date.
    Attribute("model", "gen_ai.request.model", _GENAI),
    Attribute("model", "gen_ai.response.model", _GENAI),
    Attribute("model", "llm.request.model", _LLMETRY, "before 0.17"),
    Attribute("model", "llm.request.model_name", _INFERENCE),
    Attribute("model", "llm.model_name", _INFERENCE),
    Attribute("finish_reason", "gen_ai.response.finish_reasons", _GENAI),
    Attribute("finish_reason", "gen_ai.response.finish_reason", _LLMETRY, "old name"),
    Attribute("finish_reason", "llm.finish_reason", _INFERENCE),
    Attribute("http_status", "http.response.status_code", "OTel HTTP", "1.23 and newer"),
    Attribute("http_status", "http.status_code", "OTel HTTP", "before 1.23"),
    Attribute("error_type", "error.type", "OTel", "1.23 and newer"),
)

TENANT_ATTRIBUTES = (
    "servescope.tenant",
    "tenant.id",
    "http.request.header.x-llm-d-inference-fairness-id",
    "enduser.id",
    "user.id",
    "langfuse.user.id",
    "traceloop.association.properties.user_id",
)
SESSION_ATTRIBUTES = (
    "servescope.session",
    "gen_ai.conversation.id",
    "session.id",
    "langfuse.session.id",
    "traceloop.association.properties.session_id",
)
ROUTE_ATTRIBUTES = ("servescope.route",)
SLO_CLASS_ATTRIBUTES = ("servescope.slo_class",)
MODEL_RESOURCES = ("gen_ai.request.model", "service.name")
"""Where the model's name is looked for when the span has none, as vLLM's."""
INSTANCE_RESOURCES = ("service.instance.id", "k8s.pod.name", "host.name")
UNNAMED_SERVICE = "unknown_service"
"""What the SDKs call a service that nobody named; it names no model."""

HALF_REQUESTS = ("prefill Req ",)
"""Names of spans of half a request: SGLang with prefill and decode apart tells of it twice, and the
decode half has the whole time. Source: `trace_req_start`, which puts the role before the name."""
GENAI_PREFIXES = ("gen_ai.usage.", "gen_ai.operation.name", "llm.", "openinference.", "gen_ai.")
# Set on spans of agents, tools and workflows as well; reading them there would count tokens twice.
AGENT_MARKS = ("gen_ai.operation.name", "openinference.span.kind", "traceloop.span.kind")
