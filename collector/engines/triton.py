"""NVIDIA Triton, alone and with the TensorRT-LLM backend.

Read in Triton's `docs/user_guide/metrics.md` and tensorrtllm_backend's `README.md`. Latencies are
counters of microseconds added up over requests: a mean over any window is their rate over that of
the requests, and no quantile can be had. The backend packs unrelated quantities into one family
and tells them apart by a label, a time among them. An ensemble counts its requests once for itself
and once for each of its models, so models are never added up.
"""

from __future__ import annotations

from dataclasses import replace

from collector.engines.adapter import Absent, Across, Derived, Engine, Rule, left_out

_MODEL = {"model": "model"}
_MICROSECONDS = 1e-6
_MEAN = "only time added up over requests; a mean over a window is its rate over that of requests"


_BACKEND_LABELS = {
    "request": "request_type",
    "kv_cache_block": "kv_cache_block_type",
    "runtime_memory": "memory_type",
    "general": "general_type",
}


def _backend(kind: str, value: str, signal: str, across: Across = "sum") -> Rule:
    """A row of the TensorRT-LLM backend: one value of the label that tells quantities apart."""
    where = ((_BACKEND_LABELS[kind], value),)
    return Rule(
        f"trt_llm_{kind}_metrics", signal, _MODEL, across=across, where=where, since="23.11"
    )


TRITON = Engine(
    name="triton",
    prefixes=("nv_",),
    rules=(
        _backend("request", "scheduled", "requests_running"),
        _backend("request", "waiting", "requests_waiting"),
        Rule(
            "inference_pending_request_count",
            "requests_waiting",
            _MODEL,
            fallback=True,
            since="24.01",
            note="Without the TensorRT-LLM backend: from entering the server to a backend.",
        ),
        _backend("request", "max", "requests_running_max"),
        _backend("kv_cache_block", "fraction", "kv_cache_usage_ratio", "mean"),
        _backend("kv_cache_block", "max", "kv_cache_capacity_blocks"),
        _backend("kv_cache_block", "used", "kv_cache_used_blocks"),
        _backend("kv_cache_block", "tokens_per", "kv_cache_block_tokens", "max"),
        *(
            replace(
                _backend("runtime_memory", memory, "engine_memory_bytes"),
                fixed=(("memory", memory),),
            )
            for memory in ("gpu", "cpu", "pinned")
        ),
        _backend("general", "iteration_counter", "engine_steps_total", "max"),
        Rule("inference_request_success", "requests_finished_total", _MODEL),
        Rule("inference_request_failure", "requests_failed_total", {**_MODEL, "reason": "reason"}),
        Rule(
            "inference_request_failure",
            "requests_refused_total",
            {**_MODEL, "reason": "reason"},
            where=(("reason", "REJECTED"),),
            since="24.01",
            note="Requests whose time in the scheduler's queue ran out.",
        ),
        Rule(
            "inference_request_duration_us",
            "request_busy_seconds_total",
            _MODEL,
            factor=_MICROSECONDS,
        ),
        Rule(
            "inference_queue_duration_us",
            "queue_busy_seconds_total",
            _MODEL,
            factor=_MICROSECONDS,
        ),
        Rule(
            "inference_compute_infer_duration_us",
            "inference_busy_seconds_total",
            _MODEL,
            factor=_MICROSECONDS,
        ),
        Rule(
            "inference_first_response_histogram_ms",
            "ttft_seconds",
            _MODEL,
            factor=1e-3,
            since="24.10",
            note="Decoupled models only, and with --metrics-config histogram_latencies=true.",
        ),
    ),
    derived=(
        Derived(
            "kv_cache_capacity_tokens", "kv_cache_capacity_blocks", "*", "kv_cache_block_tokens"
        ),
        Derived("kv_cache_used_tokens", "kv_cache_used_blocks", "*", "kv_cache_block_tokens"),
    ),
    absent=(
        Absent(("e2e_seconds",), f"{_MEAN}: request_busy_seconds_total"),
        Absent(("queue_seconds",), f"{_MEAN}: queue_busy_seconds_total"),
        Absent(
            ("inference_seconds", "prefill_seconds", "decode_seconds"),
            f"{_MEAN}: inference_busy_seconds_total",
        ),
        Absent(
            ("prompt_tokens_total", "generation_tokens_total"),
            "the backend tells the tokens of its current step only",
        ),
        Absent(("input_tokens", "output_tokens"), "lengths are not told"),
        Absent(("engine_start_unix_seconds",), "no process metrics on its page"),
    ),
    ignored={
        **left_out("batches, not requests", "inference", "inference_count", "inference_exec",
                   "inference_exec_count"),
        **left_out(
            "a small part of the request's time",
            "inference_compute_input_duration_us", "inference_compute_output_duration_us",
        ),
        **left_out(
            "quantiles of a sliding window, which nobody can add up",
            "inference_request_summary_us", "inference_queue_summary_us",
            "inference_compute_input_summary_us", "inference_compute_infer_summary_us",
            "inference_compute_output_summary_us",
        ),
        **left_out(
            "of the current step only", "trt_llm_inflight_batcher_metrics", "trt_llm_v1_metrics"
        ),
        **left_out(
            "milliseconds and a count under one name, typed counter",
            "trt_llm_disaggregated_serving_metrics",
        ),
        **left_out(
            "the GPU exporter tells it for every process",
            "gpu_utilization", "gpu_memory_total_bytes", "gpu_memory_used_bytes",
            "gpu_power_usage", "gpu_power_limit", "energy_consumption",
        ),
        **left_out(
            "the node exporter tells it",
            "cpu_utilization", "cpu_memory_total_bytes", "cpu_memory_used_bytes",
            "pinned_memory_pool_total_bytes", "pinned_memory_pool_used_bytes",
        ),
        **left_out(
            "the cache of whole answers",
            "cache_num_hits_per_model", "cache_num_misses_per_model",
            "cache_hit_duration_per_model", "cache_miss_duration_per_model",
        ),
        **left_out("how long models took to load, in another unit by release",
                   "model_load_duration_secs"),
    },
    reference="26.08 (e1db8a60), TensorRT-LLM backend 0b9d7d5",
    page="/metrics on port 8002",
)  # fmt: skip
