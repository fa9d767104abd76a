"""TensorRT-LLM's own server (`trtllm-serve`).

Read in `tensorrt_llm/metrics/collector.py` (050f80de). The page is `/prometheus/metrics`; its
`/metrics` answers JSON. Request metrics need `return_perf_metrics: true`.
"""

from __future__ import annotations

from collector.engines.adapter import (
    MODEL,
    Absent,
    Derived,
    Engine,
    Fact,
    Rule,
    left_out,
    spelled,
)

_AT_FINISH = "Grows when a request finishes, and only with return_perf_metrics."

TRTLLM = Engine(
    name="trtllm",
    prefixes=spelled("trtllm"),
    rules=(
        Rule("num_requests_running", "requests_running"),
        Rule("num_requests_waiting", "requests_waiting"),
        Rule("num_paused_requests", "requests_paused"),
        Rule("max_num_active_requests", "requests_running_max"),
        Rule("kv_cache_utilization", "kv_cache_usage_ratio", across="mean"),
        Rule("kv_cache_max_blocks", "kv_cache_capacity_blocks"),
        Rule("kv_cache_used_blocks", "kv_cache_used_blocks"),
        Rule("kv_cache_tokens_per_block", "kv_cache_block_tokens", across="max"),
        Rule("kv_cache_host_utilization", "kv_cache_host_usage_ratio", across="mean"),
        Rule(
            "kv_cache_hit_rate",
            "prefix_cache_hit_ratio",
            across="mean",
            note="Of blocks, since the start.",
        ),
        Rule("kv_cache_reused_blocks_total", "prefix_cache_hit_blocks_total"),
        Rule("kv_cache_missed_blocks_total", "prefix_cache_missed_blocks_total"),
        Rule("iteration_latency_seconds", "engine_step_seconds", across="max"),
        *(
            Rule(
                f"{memory}_memory_usage_bytes", "engine_memory_bytes", fixed=(("memory", memory),)
            )
            for memory in ("gpu", "cpu", "pinned")
        ),
        Rule("prompt_tokens_total", "prompt_tokens_total", note=_AT_FINISH),
        Rule("generation_tokens_total", "generation_tokens_total", note=_AT_FINISH),
        Rule("prompt_cached_tokens_total", "prompt_tokens_cached_total", note=_AT_FINISH),
        Rule(
            "prompt_cache_hit_tokens_total",
            "prompt_tokens_cached_by_tier_total",
            labels={**MODEL, "cache_tier": "source"},
        ),
        Rule(
            "request_success_total",
            "requests_finished_total",
            labels={**MODEL, "finished_reason": "finish_reason"},
            note=_AT_FINISH,
        ),
        Rule(
            "request_error_total",
            "requests_failed_total",
            labels={**MODEL, "http_code": "reason"},
        ),
        Rule("spec_decode_num_draft_tokens_total", "spec_decode_draft_tokens_total"),
        Rule("spec_decode_num_accepted_tokens_total", "spec_decode_accepted_tokens_total"),
        Rule(
            "spec_decode_accepted_tokens_total",
            "spec_decode_accepted_by_position_total",
            labels={**MODEL, "token_position": "position"},
        ),
        Rule("spec_decode_acceptance_length", "spec_decode_acceptance_length", across="mean"),
        Rule("time_to_first_token_seconds", "ttft_seconds"),
        Rule("time_per_output_token_seconds", "tpot_seconds"),
        Rule("e2e_request_latency_seconds", "e2e_seconds"),
        Rule("request_queue_time_seconds", "queue_seconds", note="First edge at 0.3 s."),
        Rule("request_prefill_time_seconds", "prefill_seconds"),
        Rule("request_decode_time_seconds", "decode_seconds"),
        Rule("request_inference_time_seconds", "inference_seconds"),
        Rule("prompt_cached_tokens_per_request", "prefill_cached_tokens"),
    ),
    derived=(
        Derived(
            "kv_cache_capacity_tokens", "kv_cache_capacity_blocks", "*", "kv_cache_block_tokens"
        ),
        Derived("kv_cache_used_tokens", "kv_cache_used_blocks", "*", "kv_cache_block_tokens"),
        Derived(
            "prefix_cache_hit_tokens_total",
            "prefix_cache_hit_blocks_total",
            "*",
            "kv_cache_block_tokens",
            note="Whole blocks: partly used ones count in full.",
        ),
        Derived(
            "prompt_tokens_computed_total",
            "prompt_tokens_total",
            "-",
            "prompt_tokens_cached_total",
        ),
    ),
    absent=(
        Absent(
            ("engine_start_unix_seconds", "process_memory_bytes", "process_cpu_seconds_total"),
            "several processes write one page, which then has no process metrics",
        ),
        Absent(("itl_seconds",), "no such family; tpot_seconds is the mean of a request"),
        Absent(("input_tokens", "output_tokens"), "lengths are told as totals only"),
        Absent(("requests_refused_total",), "refusals are errors by HTTP code"),
        Absent(("preemptions_total",), "tells paused requests as a gauge: requests_paused"),
    ),
    ignored={
        **left_out(
            "of one iteration: what it says depends on when it is asked",
            "kv_cache_iter_reuse_rate", "num_context_requests", "num_generation_requests",
            "num_scheduled_requests", "total_context_tokens", "avg_decoded_tokens_per_iter",
            "spec_decode_draft_overhead", "prefill_batch_occupancy", "prefill_batch_tokens",
            "scheduled_batch_size", "max_batch_size_runtime", "max_num_tokens_runtime",
        ),
        **left_out(
            "traffic of the KV cache that no page shows",
            "kv_cache_free_blocks", "kv_cache_iter_reused_blocks",
            "kv_cache_iter_full_reused_blocks", "kv_cache_iter_partial_reused_blocks",
            "kv_cache_iter_missed_blocks", "kv_cache_gen_alloc_blocks",
            "kv_cache_onboard_bytes", "kv_cache_offload_bytes",
            "kv_cache_disk_prefetch_blocks", "kv_cache_intra_device_copy_bytes",
        ),
        **left_out(
            "constant of the configuration",
            "max_batch_size_static", "model_config_info", "parallel_config_info",
            "speculative_config_info", "kv_cache_config_info",
        ),
        **left_out("the same as request_success", "num_requests_completed"),
        **left_out("by position, beside the total", "spec_decode_drafted_tokens"),
        **left_out("a measure of answers, not of serving", "prefill_perplexity",
                   "generation_perplexity"),
    },
    facts=(
        Fact("/version", ("version",), "engine_version"),
        Fact("/v1/models", ("data", 0, "id"), "model"),
    ),
    reference="1.3 (050f80de)",
    page="/prometheus/metrics (its /metrics is JSON), with return_perf_metrics: true",
)  # fmt: skip
