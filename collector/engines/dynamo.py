"""NVIDIA Dynamo: the frontend that takes requests, and the wrapper around each worker.

Read in `lib/llm/src/http/service/metrics.rs`, `prometheus_names.rs` and `DASHBOARD_METRICS.md` of
1.6.1. A worker's page shows the engine's own metrics too (vLLM, SGLang, TensorRT-LLM); where both
tell a signal the engine is believed. Histograms of the frontend begin with an edge at 0.
"""

from __future__ import annotations

from collector.engines.adapter import Absent, Engine, Rule

_MODEL = {"model": "model"}
_WORKER = {"model_name": "model", "model": "model"}
_GENERATE = ("dynamo_endpoint", "generate")  # others are upkeep, such as clear_kv_blocks
_QUEUED = (
    "From arrival to the first token, prefill included: it says nothing about a queue by itself."
)
_LORA = "one tick of the placement controller, a gauge in spite of `_total`"

DYNAMO_FRONTEND = Engine(
    name="dynamo-frontend",
    prefixes=("dynamo_frontend_", "nv_llm_http_service_"),
    rules=(
        Rule("active_requests", "gateway_requests_running", labels=_MODEL),
        Rule(
            "inflight_requests",
            "gateway_requests_running",
            labels=_MODEL,
            fallback=True,
            became="active_requests",
            note="Those on their way to a worker.",
        ),
        Rule(
            "inflight_requests_total",
            "gateway_requests_running",
            labels=_MODEL,
            fallback=True,
            became="inflight_requests",
            note="A gauge in spite of its name.",
        ),
        Rule("queued_requests", "gateway_requests_before_first_token", labels=_MODEL, note=_QUEUED),
        Rule(
            "router_queue_pending_requests",
            "gateway_requests_waiting",
            labels=_MODEL,
            note="Those held back by the router; no row without its queue.",
        ),
        Rule("requests_started_total", "gateway_requests_started_total", labels=_MODEL),
        Rule("requests_total", "gateway_requests_total", labels={**_MODEL, "status": "status"}),
        Rule(
            "requests_total",
            "gateway_requests_failed_total",
            labels={**_MODEL, "error_type": "reason"},
            where=(("status", "error"),),
        ),
        Rule(
            "model_rejection_total",
            "gateway_requests_refused_total",
            labels=_MODEL,
            fixed=(("reason", "overload"),),
        ),
        Rule(
            "requests_total",
            "gateway_requests_refused_total",
            labels=_MODEL,
            where=(("error_type", "overload"),),
            fixed=(("reason", "overload"),),
            fallback=True,
            became="model_rejection_total",
        ),
        Rule("model_cancellation_total", "gateway_requests_cancelled_total", labels=_MODEL),
        Rule(
            "requests_total",
            "gateway_requests_cancelled_total",
            labels=_MODEL,
            where=(("error_type", "cancelled"),),
            fallback=True,
            became="model_cancellation_total",
        ),
        Rule("model_migration_total", "gateway_requests_moved_total", labels=_MODEL),
        Rule(
            "output_tokens_total",
            "gateway_output_tokens_total",
            labels=_MODEL,
            note="Counted as they are made.",
        ),
        Rule(
            "input_sequence_tokens_sum",
            "gateway_input_tokens_total",
            labels=_MODEL,
            formula="sum of the histogram input_sequence_tokens",
        ),
        Rule(
            "cached_tokens_sum",
            "gateway_cached_tokens_total",
            labels=_MODEL,
            formula="sum of the histogram cached_tokens",
        ),
        Rule("model_ready", "gateway_model_ready_ratio", labels=_MODEL, across="max"),
        Rule("time_to_first_token_seconds", "gateway_ttft_seconds", labels=_MODEL),
        Rule("inter_token_latency_seconds", "gateway_itl_seconds", labels=_MODEL),
        Rule("request_duration_seconds", "gateway_e2e_seconds", labels=_MODEL),
        Rule("input_sequence_tokens", "gateway_input_tokens", labels=_MODEL),
        Rule("output_sequence_tokens", "gateway_output_tokens", labels=_MODEL),
        Rule("cached_tokens", "gateway_cached_tokens", labels=_MODEL),
        Rule(
            "dynamo_component_router_kv_hit_rate",
            "gateway_kv_hit_ratio",
            labels={},
            prefixed=False,
            note="Predicted when the worker was chosen.",
        ),
        Rule(
            "dynamo_router_overhead_total_ms",
            "gateway_scheduling_seconds",
            labels={},
            prefixed=False,
            factor=1e-3,
        ),
    ),
    absent=(
        Absent(("gateway_tpot_seconds",), "inter-token latency is told, not the mean per request"),
        Absent(("gateway_queue_seconds",), "a router's queue has a length, but no times"),
        Absent(
            ("gateway_upstream_seconds", "gateway_overhead_seconds"),
            "stage_duration_seconds splits the work in stages of Dynamo's own",
        ),
        Absent(("gateway_fallbacks_total", "gateway_spend_usd_total"), "Dynamo does no such thing"),
        Absent(("gateway_slo_violations_total",), "not told"),
        Absent(("gateway_upstream_state",), "gateway_model_ready_ratio tells it"),
    ),
    ignored={
        "lora_churn_loads_total": _LORA,
        "lora_churn_unloads_total": _LORA,
        "model_total_kv_blocks": "told by the worker",
        "model_kv_cache_block_size": "told by the worker",
        "worker_last_time_to_first_token_seconds": "the last request only",
    },
    role="gateway",
    selective=True,
    reference="1.6.1",
    page="port 8000, /metrics",
)

DYNAMO_WORKER = Engine(
    name="dynamo-worker",
    prefixes=("dynamo_component_",),
    rules=(
        Rule("inflight_requests", "requests_running", labels=_WORKER, where=(_GENERATE,)),
        Rule(
            "gpu_cache_usage_percent",
            "kv_cache_usage_ratio",
            labels=_WORKER,
            across="mean",
            note="0 to 1 in spite of its name. Prefill workers do not tell it.",
        ),
        Rule(
            "kvstats_gpu_cache_usage_percent",
            "kv_cache_usage_ratio",
            labels=_WORKER,
            across="mean",
            fallback=True,
            became="gpu_cache_usage_percent",
        ),
        Rule(
            "total_blocks",
            "kv_cache_capacity_blocks",
            labels=_WORKER,
            note="Prefill workers do not tell it.",
        ),
        Rule(
            "kvstats_total_blocks",
            "kv_cache_capacity_blocks",
            labels=_WORKER,
            fallback=True,
            became="total_blocks",
        ),
        Rule(
            "kvstats_active_blocks",
            "kv_cache_used_blocks",
            labels=_WORKER,
            note="Old releases only.",
        ),
        Rule(
            "request_duration_seconds",
            "prefill_seconds",
            labels=_WORKER,
            where=(_GENERATE, ("dynamo_component", "prefill")),
            formula="the whole stay in a prefill worker",
            note="The transfer of the KV cache is in it.",
        ),
        Rule(
            "request_duration_seconds",
            "inference_seconds",
            labels=_WORKER,
            where=(_GENERATE, ("dynamo_component", "backend")),
            formula="the whole stay in a decode worker",
            note="All output tokens; without separate prefill workers the prefill too.",
        ),
    ),
    absent=(
        Absent(("requests_waiting",), "the worker's own queue is told by its engine"),
        Absent(("ttft_seconds", "itl_seconds", "tpot_seconds", "e2e_seconds"), "the frontend's"),
    ),
    ignored={
        "requests_total": "what the worker was sent, upkeep included",
        "uptime_seconds": "of the runtime, not of the engine",
        "router_requests_total": "the frontend tells the same requests",
    },
    role="gateway",
    selective=True,
    reference="1.6.1",
    page="its system port, 9090 under Kubernetes, /metrics",
)
