"""Spans of an engine's start -> phases of the start.

vLLM traces its own loading when it is started with a traces endpoint. Its spans lie inside each
other and repeat for each worker; they are handed on as they are, one phase each, and whoever shows
them decides what is part of what.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from collector.otlp.model import Span
from collector.otlp.resources import Sender

VLLM_SCOPE = "vllm."
VLLM_PHASES: Mapping[str, str] = MappingProxyType(
    {
        "Overall Loading": "engine",
        "EngineCoreProc init": "engine_core",
        "Executor init": "executor",
        "Worker init": "worker",
        "Init device": "device",
        "Loading (GPU)": "model",
        "Loading (CPU)": "model",
        "Load model": "model",
        "Prepare model": "model",
        "Download weights - HF": "download",
        "Initialize model": "build",
        "Load weights": "weights",
        "Dynamo bytecode transform": "compile",
        "Compile graph": "compile",
        "Inductor compilation": "compile",
        "Capture model": "graph_capture",
        "Warmup (GPU)": "warmup",
        "Warmup (CPU)": "warmup",
        "DeepGemm warmup": "warmup",
        "MiniMax M3 MSA warmup": "warmup",
        "CuTeDSL warmup": "warmup",
        "Allocate KV cache": "kv_cache",
        "API server setup": "api_server",
        "AsyncMPClient init": "api_server",
        "SyncMPClient init": "api_server",
    }
)
"""Span name -> phase. Source: `@instrument(span_name=…)` in vLLM 0.32."""


def start_phase(span: Span, scope: str, sender: Sender) -> dict[str, Any] | None:
    """A row for `append("instance_start", …)`, or None when the span is no phase of a start.

    Times are integers, microseconds since 1970 UTC.
    """
    phase = VLLM_PHASES.get(span.name)
    if phase is None or not scope.startswith(VLLM_SCOPE) or not span.start_ns < span.end_ns:
        return None
    return {
        "instance": sender.instance or sender.service or "unknown",
        "model": sender.model,
        "node": None,
        "phase": phase,
        "started_at": span.start_ns // 1000,
        "ended_at": span.end_ns // 1000,
        "cache_state": None,
        "evidence": f"vLLM span '{span.name}' of trace {span.trace_id}",
    }
