"""Writes the metric pages of engines that do not run here: `python tests/data/make_pages.py`.

Names, labels, types and buckets are those of the engines' sources (releases in the file names);
the values are made up, and the same every time. client_python writes the pages of the engines that
use it; the Rust exporter of TGI and Triton's own writer are imitated line by line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Summary,
    disable_created_metrics,
    generate_latest,
)

FOLDER = Path(__file__).parent / "pages"
Labels = Mapping[str, str]

TTFT = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40,
    80, 160, 640, 2560,
)  # fmt: skip
TPOT = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
)  # fmt: skip
PHASE = (
    0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680,
)  # fmt: skip
LENGTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
SGLANG_TTFT = (0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8, 10, 20, 40, 60, 80, 100, 200, 400)
SGLANG_ITL = (
    0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.06, 0.08, 0.1, 0.2,
    0.4, 0.6, 0.8, 1, 2, 4, 6, 8,
)  # fmt: skip
SGLANG_E2E = (*SGLANG_TTFT, 600, 1200, 1800, 2400)
SGLANG_QUEUE = (
    0.0, 0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.5, 1, 2, 3, 4, 5, 10, 15, 20, 30, 40, 50, 60, 70, 80,
    90, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000, 1200, 1400, 1600, 1800, 2000, 2500, 3000,
)  # fmt: skip
SGLANG_LENGTHS = (100, 300, 500, 700, 1000, 1500, 2000, 3000, 4000, 5000, 10000, 100000)
STEPS = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
TIMES = (0.004, 0.03, 0.03, 0.2, 0.7, 1.4)


class Book:
    """A registry that makes families on the way."""

    def __init__(self, prefix: str) -> None:
        self.registry = CollectorRegistry()
        self.prefix = prefix
        self._made: dict[str, Gauge | Counter | Histogram | Summary] = {}

    def gauge(self, name: str, value: float, labels: Labels) -> None:
        """One gauge series."""
        self._family(Gauge, name, labels).labels(**labels).set(value)

    def counter(self, name: str, value: float, labels: Labels) -> None:
        """One counter series."""
        self._family(Counter, name, labels).labels(**labels).inc(value)

    def histogram(
        self, name: str, edges: Sequence[float], labels: Labels, told: Iterable[float] = TIMES
    ) -> None:
        """One histogram series with a few observations."""
        series = self._family(Histogram, name, labels, buckets=edges).labels(**labels)
        for value in told:
            series.observe(value)

    def summary(self, name: str, value: float, labels: Labels) -> None:
        """One summary series."""
        self._family(Summary, name, labels).labels(**labels).observe(value)

    def page(self) -> str:
        """The page in text format."""
        return generate_latest(self.registry).decode()

    def _family(self, kind, name, labels, **options):
        if name not in self._made:
            self._made[name] = kind(
                self.prefix + name, name.replace("_", " "), list(labels),
                registry=self.registry, **options,
            )  # fmt: skip
        return self._made[name]


def sglang() -> str:
    """SGLang 0.5.23: two data-parallel ranks, each with two tensor-parallel ones."""
    book = Book("sglang:")
    for rank in range(4):
        labels = {
            "model_name": "tiny", "engine_type": "unified", "tp_rank": str(rank), "pp_rank": "0",
            "moe_ep_rank": str(rank), "dp_rank": str(rank // 2),
        }  # fmt: skip
        _sglang_scheduler(book, labels)
    _sglang_tokenizer(book, {"model_name": "tiny", "engine_type": "unified"})
    return book.page()


def _sglang_scheduler(book: Book, labels: Labels) -> None:
    gauges = {
        "num_running_reqs": 4, "num_queue_reqs": 3, "num_grammar_queue_reqs": 0,
        "num_prefill_bootstrap_queue_reqs": 0, "num_prefill_inflight_queue_reqs": 0,
        "num_decode_prealloc_queue_reqs": 1, "num_decode_transfer_queue_reqs": 0,
        "num_paused_reqs": 0, "gen_throughput": 431.5, "cache_hit_rate": 0.25,
        "decode_sum_seq_lens": 900, "token_usage": 0.4, "full_token_usage": 0.4,
        "swa_token_usage": 0, "mamba_usage": 0, "num_used_tokens": 3276, "kv_used_tokens": 3276,
        "kv_available_tokens": 4000, "kv_evictable_tokens": 916, "max_total_num_tokens": 8192,
        "page_size": 16, "num_pages": 512, "hicache_host_used_tokens": 1024,
        "hicache_host_total_tokens": 16384, "spec_accept_length": 2.5, "spec_accept_rate": 0.5,
        "lora_pool_slots_used": 1, "lora_pool_slots_total": 4, "lora_pool_utilization": 0.25,
        "num_retracted_reqs": 0, "utilization": 0.7, "fwd_occupancy": 55, "new_token_ratio": 0.6,
        "is_cuda_graph": 1, "context_len": 2048, "weight_memory_usage_gb": 0.1,
        "kv_cache_memory_usage_gb": 1, "startup_available_gpu_memory_gb": 70,
        "num_unique_running_routing_keys": 0,
    }  # fmt: skip
    for name, value in gauges.items():
        book.gauge(name, value, labels)
    for low, high in (("0", "1"), ("1", "2"), ("2", "+Inf")):
        book.gauge("routing_key_running_req_count", 1, {**labels, "gt": low, "le": high})
    counters = {
        "num_retracted_requests_total": 2, "num_retracted_input_tokens_total": 120,
        "num_retracted_output_tokens_total": 40, "scheduler_idle_seconds_total": 31,
        "estimated_flops_per_gpu_total": 5e12, "estimated_read_bytes_per_gpu_total": 7e9,
        "estimated_write_bytes_per_gpu_total": 3e9,
    }  # fmt: skip
    for name, value in counters.items():
        book.counter(name, value, labels)
    for mode, value in (("prefill_compute", 900), ("prefill_cache", 300), ("decode", 700)):
        book.counter("realtime_tokens_total", value, {**labels, "mode": mode})
    for mode, value in (("input", 900), ("device_hit", 250), ("host_hit", 50), ("storage_hit", 0)):
        book.counter("prefill_effective_tokens_total", value, {**labels, "mode": mode})
    for category, value in (("decode", 20), ("extend", 9)):
        book.counter("forward_execution_seconds_total", value, {**labels, "category": category})
    book.histogram("queue_time_seconds", SGLANG_QUEUE, labels, (0.0, 0.002, 0.3))
    stages = [0.001 * 1.62**step for step in range(30)]
    for stage in ("prefill_waiting", "prefill_forward", "decode_forward"):
        book.histogram("per_stage_req_latency_seconds", stages, {**labels, "stage": stage})
    book.summary("eplb_balancedness", 0.9, {**labels, "forward_mode": "decode"})


def _sglang_tokenizer(book: Book, labels: Labels) -> None:
    for phase, value in (("load_weight", 12.5), ("kv_cache_allocation", 0.5)):
        book.gauge("startup_time_seconds", value, {**labels, "phase": phase})
    for streaming, requests in (("true", 5), ("false", 3)):
        told = {**labels, "is_streaming": streaming}
        book.counter("prompt_tokens_total", 100 * requests, told)
        book.counter("generation_tokens_total", 30 * requests, told)
        book.counter("num_requests_total", requests, told)
        book.histogram("time_to_first_token_seconds", SGLANG_TTFT, told, TIMES[:requests])
        book.histogram("e2e_request_latency_seconds", SGLANG_E2E, told, TIMES[:requests])
        book.histogram("request_time_per_output_token_seconds", SGLANG_ITL, told, (0.02, 0.03))
    for source, value in (("device", 200), ("host", 40)):
        book.counter("cached_tokens_total", value, {**labels, "cache_source": source})
    book.counter("num_aborted_requests_total", 1, labels)
    book.counter("spec_verify_calls_total", 12, labels)
    book.histogram("inter_token_latency_seconds", SGLANG_ITL, labels, (0.01, 0.01, 0.02))
    for name in ("prompt", "generation", "uncached_prompt"):
        book.histogram(f"{name}_tokens_histogram", SGLANG_LENGTHS, labels, (80, 120, 400))


def sglang_old() -> str:
    """SGLang 0.4: no real-time tokens, its per-request time per token under the old name."""
    book = Book("sglang:")
    labels = {"model_name": "tiny"}
    book.gauge("num_running_reqs", 2, labels)
    book.gauge("num_queue_reqs", 0, labels)
    book.gauge("num_used_tokens", 700, labels)
    book.gauge("token_usage", 0.1, labels)
    book.counter("prompt_tokens_total", 800, labels)
    book.counter("generation_tokens_total", 240, labels)
    book.counter("cached_tokens_total", 60, labels)
    book.histogram("time_per_output_token_seconds", SGLANG_ITL, labels, (0.02, 0.03))
    return book.page()


def trtllm() -> str:
    """TensorRT-LLM's own server."""
    book = Book("trtllm_")
    labels = {"model_name": "tiny", "engine_type": "trtllm"}
    gauges = {
        "num_requests_running": 3, "num_requests_waiting": 2, "num_paused_requests": 0,
        "max_num_active_requests": 8, "kv_cache_utilization": 0.3, "kv_cache_max_blocks": 128,
        "kv_cache_free_blocks": 90, "kv_cache_used_blocks": 38, "kv_cache_tokens_per_block": 32,
        "kv_cache_host_utilization": 0.1, "kv_cache_hit_rate": 0.2,
        "kv_cache_iter_reuse_rate": 0.1, "iteration_latency_seconds": 0.012,
        "gpu_memory_usage_bytes": 9e9, "cpu_memory_usage_bytes": 2e9,
        "pinned_memory_usage_bytes": 1e8, "max_batch_size_static": 8, "max_batch_size_runtime": 8,
        "max_num_tokens_runtime": 2048, "num_context_requests": 1, "num_generation_requests": 2,
        "num_scheduled_requests": 3, "total_context_tokens": 64,
        "avg_decoded_tokens_per_iter": 1.5, "spec_decode_acceptance_length": 1.5,
        "spec_decode_draft_overhead": 0.1, "prefill_batch_occupancy": 0.1,
        "scheduled_batch_size": 3,
    }  # fmt: skip
    for name, value in gauges.items():
        book.gauge(name, value, labels)
    book.gauge("model_config_info", 1, {**labels, "dtype": "bfloat16"})
    counters = {
        "kv_cache_reused_blocks": 40, "kv_cache_missed_blocks": 160, "prompt_tokens_total": 1000,
        "generation_tokens_total": 500, "prompt_cached_tokens_total": 200,
        "num_requests_completed_total": 9, "spec_decode_num_draft_tokens_total": 90,
        "spec_decode_num_accepted_tokens_total": 45, "kv_cache_onboard_bytes_total": 0,
    }  # fmt: skip
    for name, value in counters.items():
        book.counter(name, value, labels)
    book.counter("request_success_total", 7, {**labels, "finished_reason": "stop"})
    book.counter("request_success_total", 2, {**labels, "finished_reason": "length"})
    book.counter("request_error_total", 1, {**labels, "http_code": "400"})
    for level, tier in (("0", "gpu"), ("1", "host")):
        told = {**labels, "cache_level": level, "cache_tier": tier}
        book.counter("prompt_cache_hit_tokens_total", 100, told)
    for name in ("drafted", "accepted"):
        for position in ("0", "1"):
            told = {**labels, "token_position": position}
            book.counter(f"spec_decode_{name}_tokens_total", 20, told)
    book.histogram("time_to_first_token_seconds", TTFT, labels)
    book.histogram("time_per_output_token_seconds", TPOT, labels, (0.02, 0.03))
    for phase in ("queue", "prefill", "decode", "inference"):
        book.histogram(f"request_{phase}_time_seconds", PHASE, labels)
    book.histogram("e2e_request_latency_seconds", PHASE, labels)
    cached = (0, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
    book.histogram("prompt_cached_tokens_per_request", cached, labels, (0, 32, 96))
    book.histogram("prefill_batch_tokens", (64, 128, 256), labels, (64,))
    return book.page()


def lmdeploy() -> str:
    """LMDeploy 0.16 with two data-parallel ranks; what left with 0.11 stands at the end."""
    book = Book("lmdeploy:")
    for engine in ("0", "1"):
        labels = {"model_name": "tiny", "engine": engine}
        gauges = {
            "num_requests_succeeded": 5, "num_requests_failed": 1, "num_api_requests_routed": 6,
            "num_api_requests_waiting": 0, "num_requests_running": 2, "num_requests_waiting": 1,
            "gpu_cache_usage_perc": 0.2, "prefix_cache_hit_rate": 0.1,
            "spec_decode_mean_accept_rate": 0.4, "spec_decode_mean_accept_length": 1.4,
        }  # fmt: skip
        for name, value in gauges.items():
            book.gauge(name, value, labels)
        counters = {
            "prompt_tokens_total": 300, "generation_tokens_total": 150, "cached_tokens_total": 30,
            "spec_decode_num_drafts_total": 20, "spec_decode_num_draft_tokens_total": 60,
            "spec_decode_num_accepted_tokens_total": 24,
        }  # fmt: skip
        for name, value in counters.items():
            book.counter(name, value, labels)
        for reason in ("FINISH", "LENGTH"):
            book.counter("request_success_total", 2, {**labels, "finished_reason": reason})
        at = {**labels, "position": "0"}
        book.counter("spec_decode_num_accepted_tokens_per_pos_total", 14, at)
        book.gauge("spec_decode_per_position_accept_rate", 0.7, at)
        _lmdeploy_histograms(book, labels)
    page = book.page()
    page += "# TYPE lmdeploy:backend_config_info gauge\n"
    page += 'lmdeploy:backend_config_info{block_size="64",cache_block_seq_len="64",'
    return page + 'max_batch_size="128",cache_max_entry_count="0.8"} 1.0\n' + _process()


def _lmdeploy_histograms(book: Book, labels: Labels) -> None:
    book.histogram("time_to_first_token_seconds", TTFT, labels)
    for name in ("time_per_output_token_seconds", "iter_token_latency"):
        book.histogram(name, (0.005, *TPOT), labels, (0.02, 0.03))
    for name in ("queue_time", "inference_time", "prefill_time", "decode_time"):
        book.histogram(f"request_{name}_seconds", PHASE, labels)
    book.histogram("e2e_request_latency_seconds", PHASE, labels)
    names = ("prompt_tokens", "generation_tokens", "cached_tokens", "params_max_tokens")
    for name in names:
        book.histogram(f"request_{name}", LENGTHS, labels, (30, 60))
    book.histogram("request_params_n", (1, 2, 5, 10, 20), labels, (1,))
    book.histogram("request_cache_hit_ratio", (0, 0.5, 1), labels, (0.1,))
    book.histogram("iteration_tokens_total", STEPS, labels, (30, 1, 1))


def vllm_old(both: bool) -> str:
    """vLLM 0.8 (old names) and 0.10 (old and new names side by side)."""
    book = Book("vllm:")
    labels = {"model_name": "tiny", "engine": "0"}
    book.gauge("num_requests_running", 2, labels)
    book.gauge("num_requests_waiting", 1, labels)
    book.gauge("gpu_cache_usage_perc", 0.5, labels)
    for name, value in (("queries", 100), ("hits", 25)):
        book.counter(f"gpu_prefix_cache_{name}_total", value, labels)
        if both:
            book.counter(f"prefix_cache_{name}_total", value, labels)
    book.histogram("time_per_output_token_seconds", TPOT, labels, (0.02, 0.03))
    if both:
        book.gauge("kv_cache_usage_perc", 0.5, labels)
        book.counter("corrupted_requests_total", 1, labels)
    else:
        book.gauge("num_requests_swapped", 0, labels)
        book.gauge("cpu_cache_usage_perc", 0, labels)
        book.histogram("time_in_queue_requests", PHASE, labels, (0.1, 0.4))
    return book.page()


def vllm_offload() -> str:
    """vLLM 0.32 with KV offloading, the families that the captured pages do not have."""
    book = Book("vllm:")
    labels = {"model_name": "tiny", "engine": "0"}
    book.gauge("kv_cache_usage_perc", 0.9, labels)
    book.gauge("kv_offload_cpu_cache_usage_perc", 0.25, labels)
    book.gauge("simple_kv_offload_used_blocks", 12, labels)
    book.counter("kv_offload_tiering_chunk_hits", 4, labels)
    book.counter("watermark_requests", 0, {**labels, "status": "skipped"})
    book.histogram("kv_block_lifetime_seconds", PHASE, labels, (0.4,))
    return book.page()


def tgi() -> str:
    """TGI 3.3 as its Rust exporter writes it: no `_total`, no HELP for most, no labels."""
    durations = [0.0001 * 1.5**step for step in range(35)]
    lines = ["# TYPE tgi_request_count counter", "tgi_request_count 12", ""]
    lines += ["# TYPE tgi_request_success counter", "tgi_request_success 9", ""]
    lines += ["# TYPE tgi_request_failure counter"]
    lines += [f'tgi_request_failure{{err="{why}"}} 1' for why in ("overloaded", "validation")]
    for what in ("count", "success"):
        lines += ["", f"# TYPE tgi_batch_inference_{what} counter"]
        lines += [f'tgi_batch_inference_{what}{{method="{m}"}} 40' for m in ("decode", "prefill")]
    lines += ["", "# TYPE tgi_batch_concat counter", 'tgi_batch_concat{reason="backpressure"} 2']
    gauges = {
        "batch_current_size": 3, "queue_size": 1, "batch_current_max_tokens": 900,
        "batch_max_total_tokens": 3000,
    }  # fmt: skip
    for name, value in gauges.items():
        lines += ["", f"# TYPE tgi_{name} gauge", f"tgi_{name} {value}"]
    for name in ("", "queue_", "validation_", "inference_", "mean_time_per_token_"):
        lines += _plain_histogram(f"tgi_request_{name}duration", durations, "")
    for name in ("input_length", "generated_tokens", "max_new_tokens", "skipped_tokens"):
        lines += _plain_histogram(f"tgi_request_{name}", [20, 40, 60, 80, 100], "", (30.0, 70.0))
    lines += _plain_histogram("tgi_batch_next_size", range(1, 9), "", (1.0, 3.0))
    for name in ("forward", "decode", "filter", "inference"):
        for method in ("decode", "prefill"):
            lines += _plain_histogram(
                f"tgi_batch_{name}_duration", durations, f'method="{method}"',
                typed=method == "decode",
            )  # fmt: skip
    return "\n".join(lines) + "\n"


def _plain_histogram(
    name: str,
    edges: Iterable[float],
    labels: str,
    told: Sequence[float] = TIMES,
    typed: bool = True,
) -> list[str]:
    lines = ["", f"# TYPE {name} histogram"] if typed else []
    comma = f"{labels}," if labels else ""
    for edge in (*map(float, edges), float("inf")):
        text = "+Inf" if edge == float("inf") else f"{edge:.15g}"
        count = sum(value <= edge for value in told)
        lines.append(f'{name}_bucket{{{comma}le="{text}"}} {count}')
    braces = f"{{{labels}}}" if labels else ""
    return [*lines, f"{name}_sum{braces} {sum(told):.15g}", f"{name}_count{braces} {len(told)}"]


def triton() -> str:
    """Triton with the TensorRT-LLM backend: an ensemble and the model behind it."""
    lines: list[str] = []

    def family(name: str, kind: str, rows: Sequence[tuple[str, float]]) -> None:
        lines.extend((f"# HELP {name} {name}", f"# TYPE {name} {kind}"))
        lines.extend(f"{name}{{{labels}}} {value:.10g}" for labels, value in rows)

    models = ('model="ensemble",version="1"', 'model="tensorrt_llm",version="1"')
    reasons = {"REJECTED": 1, "CANCELED": 2, "BACKEND": 0, "OTHER": 0}
    family("nv_inference_request_success", "counter", [(model, 20) for model in models])
    rows = [(f'{m},reason="{why}"', n) for m in models for why, n in reasons.items()]
    family("nv_inference_request_failure", "counter", rows)
    for name in ("count", "exec_count"):
        family(f"nv_inference_{name}", "counter", [(models[1], 20)])
    times = {"request": 41e6, "queue": 3.5e6, "compute_input": 1e5, "compute_infer": 36e6,
             "compute_output": 2e5}  # fmt: skip
    for name, value in times.items():
        family(f"nv_inference_{name}_duration_us", "counter", [(m, value) for m in models])
    family("nv_inference_pending_request_count", "gauge", [(m, 2) for m in models])
    quantiles = [(f'{models[1]},quantile="{q}"', 55) for q in ("0.5", "0.99")]
    family("nv_inference_queue_summary_us", "summary", quantiles)
    lines.append(f"nv_inference_queue_summary_us_count{{{models[1]}}} 20")
    lines.append(f"nv_inference_queue_summary_us_sum{{{models[1]}}} 3500000")
    lines += _plain_histogram(
        "nv_inference_first_response_histogram_ms", [100, 500, 2000, 5000], models[1],
        (80.0, 450.0, 1200.0),
    )  # fmt: skip
    for kind, label, values in TRITON_BACKEND:
        rows = [(f'{label}="{key}",{models[1]}', value) for key, value in values.items()]
        counted = "counter" if "disaggregated" in kind else "gauge"
        family(f"nv_trt_llm_{kind}_metrics", counted, rows)
    family("nv_gpu_utilization", "gauge", [('gpu_uuid="GPU-0"', 0.7)])
    family("nv_gpu_memory_used_bytes", "gauge", [('gpu_uuid="GPU-0"', 9e9)])
    family("nv_energy_consumption", "counter", [('gpu_uuid="GPU-0"', 1234)])
    family("nv_cpu_utilization", "gauge", [("", 0.2)])
    return "\n".join(lines).replace("{}", "") + "\n"


TRITON_BACKEND = (
    ("request", "request_type",
     {"waiting": 1, "context": 1, "scheduled": 3, "max": 512, "active": 4}),
    ("runtime_memory", "memory_type", {"pinned": 0, "gpu": 1610236, "cpu": 0}),
    ("kv_cache_block", "kv_cache_block_type",
     {"fraction": 0.4875, "tokens_per": 64, "used": 40, "free": 6199, "max": 6239}),
    ("inflight_batcher", "inflight_batcher_specific_metric",
     {"micro_batch_id": 0, "generation_requests": 2, "total_context_tokens": 30}),
    ("general", "general_type", {"iteration_counter": 900, "timestamp": 1700074049}),
    ("disaggregated_serving", "disaggregated_serving_type",
     {"kv_cache_transfer_ms": 0, "request_count": 0}),
)  # fmt: skip


def _process() -> str:
    """The process collector of client_python, on Linux."""
    rows = {"resident_memory_bytes": 1.5e9, "start_time_seconds": 1.7e9, "cpu_seconds_total": 321}
    return "".join(f"process_{name} {value}\n" for name, value in rows.items())


PAGES = {
    "sglang_0.5.23_dp2_tp2": sglang,
    "sglang_0.4": sglang_old,
    "trtllm_1.3": trtllm,
    "lmdeploy_0.16.0_dp2": lmdeploy,
    "vllm_0.8": lambda: vllm_old(both=False),
    "vllm_0.10": lambda: vllm_old(both=True),
    "vllm_0.32.0_offload": vllm_offload,
    "tgi_3.3": tgi,
    "triton_26.08_trtllm": triton,
}


def main() -> None:
    """Write every page."""
    disable_created_metrics()
    for name, make in PAGES.items():
        (FOLDER / f"{name}.txt").write_text(make(), "utf-8")


if __name__ == "__main__":
    main()
