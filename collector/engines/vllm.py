"""vLLM (V1), with the names of older releases.

Read in `vllm/v1/metrics/loggers.py` 0.32, checked against captured pages of 0.32.0. Every series
but `admission_rejections` and `lora_requests_info` carries `engine`, the data-parallel index: an
instance is the sum over it.
"""

from __future__ import annotations

from collector.engines.adapter import (
    MODEL,
    PROCESS_RULES,
    Absent,
    Derived,
    Engine,
    Fact,
    Rule,
    Zeros,
    left_out,
    spelled,
)

_FROZEN = "Moves only on an engine step: after a mass cancel it keeps its last value."

_GAUGES = (
    Rule("num_requests_running", "requests_running", note=_FROZEN),
    Rule("num_requests_waiting", "requests_waiting", note=_FROZEN),
    Rule(
        "num_requests_waiting_by_reason",
        "requests_waiting_by_reason",
        labels={**MODEL, "reason": "reason"},
    ),
    Rule("num_requests_swapped", "requests_swapped", fallback=True, until="0.10"),
    Rule(
        "kv_cache_usage_perc",
        "kv_cache_usage_ratio",
        across="mean",
        since="0.9.2",
        note="A ratio despite its name. Evictable cached blocks count as free: a warm prefix cache "
        "looks empty. " + _FROZEN,
    ),
    Rule(
        "gpu_cache_usage_perc",
        "kv_cache_usage_ratio",
        across="mean",
        fallback=True,
        until="0.12",
        became="kv_cache_usage_perc",
    ),
    Rule(
        "cache_config_info",
        "kv_cache_capacity_blocks",
        max_over=("engine",),
        reads="label_number",
        label="num_gpu_blocks",
        note="Every data-parallel engine shows the sum of all, so they are not added; replicas "
        "that share a page are.",
    ),
    Rule(
        "cache_config_info",
        "kv_cache_block_tokens",
        across="max",
        reads="label_number",
        label="block_size",
    ),
    Rule(
        "kv_offload_cpu_cache_usage_perc",
        "kv_cache_host_usage_ratio",
        across="mean",
        note="With KV offloading only, and what transfers and hits have pinned. A ratio despite "
        "its name.",
    ),
    Rule(
        "engine_sleep_state",
        "engine_awake_ratio",
        across="mean",
        where=(("sleep_state", "awake"),),
    ),
    Rule(
        "lora_requests_info",
        "lora_adapters_running",
        across="newest",
        reads="label_names",
        label="running_lora_adapters",
        note="Names are joined in a label and old combinations stay: the value is a time, the "
        "largest is now.",
    ),
    Rule(
        "lora_requests_info",
        "lora_adapters_waiting",
        across="newest",
        reads="label_names",
        label="waiting_lora_adapters",
    ),
    Rule(
        "lora_requests_info",
        "lora_adapters_max",
        across="newest",
        reads="label_number",
        label="max_lora",
    ),
)

_COUNTERS = (
    Rule("prompt_tokens_total", "prompt_tokens_total"),
    Rule(
        "prompt_tokens_by_source_total",
        "prompt_tokens_by_source_total",
        labels={**MODEL, "source": "source"},
    ),
    Rule(
        "prompt_tokens_by_source_total",
        "prompt_tokens_computed_total",
        where=(("source", "local_compute"),),
    ),
    Rule("prompt_tokens_cached_total", "prompt_tokens_cached_total"),
    Rule(
        "prompt_tokens_cached_by_source_total",
        "prompt_tokens_cached_by_tier_total",
        labels={**MODEL, "source": "source"},
    ),
    Rule("generation_tokens_total", "generation_tokens_total"),
    Rule(
        "request_success_total",
        "requests_finished_total",
        labels={**MODEL, "finished_reason": "finish_reason"},
        note="Client aborts do not reach it: the abort counter stays 0.",
    ),
    Rule(
        "admission_rejections_total",
        "requests_refused_total",
        labels={**MODEL, "reason": "reason"},
    ),
    Rule("corrupted_requests_total", "requests_corrupted_total"),
    Rule("num_preemptions_total", "preemptions_total"),
    Rule("prefix_cache_queries_total", "prefix_cache_queried_tokens_total", since="0.9.2"),
    Rule("prefix_cache_hits_total", "prefix_cache_hit_tokens_total", since="0.9.2"),
    *(
        Rule(
            f"gpu_prefix_cache_{old}_total",
            f"prefix_cache_{ours}_tokens_total",
            fallback=True,
            until="0.12",
            became=f"prefix_cache_{old}_total",
        )
        for old, ours in (("queries", "queried"), ("hits", "hit"))
    ),
    Rule("external_prefix_cache_queries_total", "external_prefix_cache_queried_tokens_total"),
    Rule("external_prefix_cache_hits_total", "external_prefix_cache_hit_tokens_total"),
    Rule("mm_cache_queries_total", "multimodal_cache_queried_items_total"),
    Rule("mm_cache_hits_total", "multimodal_cache_hit_items_total"),
    Rule("spec_decode_num_drafts_total", "spec_decode_drafts_total"),
    Rule("spec_decode_num_draft_tokens_total", "spec_decode_draft_tokens_total"),
    Rule("spec_decode_num_accepted_tokens_total", "spec_decode_accepted_tokens_total"),
    Rule(
        "spec_decode_num_accepted_tokens_per_pos_total",
        "spec_decode_accepted_by_position_total",
        labels={**MODEL, "position": "position"},
    ),
    Rule("estimated_flops_per_gpu_total", "estimated_flops_total"),
    Rule("estimated_read_bytes_per_gpu_total", "estimated_read_bytes_total"),
    Rule("estimated_write_bytes_per_gpu_total", "estimated_write_bytes_total"),
)

_HISTOGRAMS = (
    Rule(
        "time_to_first_token_seconds",
        "ttft_seconds",
        note="Frontend clock, tokenising included: not the sum of queue and prefill.",
    ),
    Rule(
        "inter_token_latency_seconds",
        "itl_seconds",
        since="0.11",
        defined_as="one observation an output of the engine",
        note="Under speculation an output holds several tokens.",
    ),
    Rule(
        "time_per_output_token_seconds",
        "itl_seconds",
        fallback=True,
        until="0.15",
        became="inter_token_latency_seconds",
        note="Hidden from 0.12 on. An interval between tokens despite its name.",
    ),
    Rule(
        "request_time_per_output_token_seconds",
        "tpot_seconds",
        defined_as="first token left out; answers of one token left out",
        note="The engine records one-token answers as 0; they are taken out by the count of such "
        "answers in request_generation_tokens.",
    ),
    Rule("e2e_request_latency_seconds", "e2e_seconds"),
    Rule(
        "request_queue_time_seconds",
        "queue_seconds",
        note="First edge at 0.3 s. A request that fails before its first schedule can pull the "
        "sum down: no restart.",
    ),
    Rule(
        "time_in_queue_requests",
        "queue_seconds",
        fallback=True,
        until="0.10",
        became="request_queue_time_seconds",
    ),
    Rule("request_prefill_time_seconds", "prefill_seconds"),
    Rule("request_decode_time_seconds", "decode_seconds"),
    Rule("request_inference_time_seconds", "inference_seconds"),
    Rule("request_prompt_tokens", "input_tokens", note="Edges follow max_model_len."),
    Rule("request_generation_tokens", "output_tokens", note="Edges follow max_model_len."),
    Rule("request_params_max_tokens", "requested_output_tokens"),
    Rule("request_params_n", "requested_completions"),
    Rule("request_prefill_kv_computed_tokens", "prefill_computed_tokens"),
    Rule("request_num_preemptions", "request_preemptions"),
    Rule("iteration_tokens_total", "step_tokens", note="A histogram despite its name."),
)

VLLM = Engine(
    name="vllm",
    prefixes=spelled("vllm"),
    rules=_GAUGES + _COUNTERS + _HISTOGRAMS + PROCESS_RULES,
    derived=(
        Derived(
            "kv_cache_capacity_tokens", "kv_cache_capacity_blocks", "*", "kv_cache_block_tokens"
        ),
        Derived(
            "kv_cache_used_tokens",
            "kv_cache_usage_ratio",
            "*",
            "kv_cache_capacity_tokens",
            note="Evictable cached blocks count as free.",
        ),
    ),
    zeros=(Zeros("tpot_seconds", "output_tokens", 1.0),),
    absent=(
        Absent(
            ("requests_arrived_total",),
            "requests are counted when they finish, aborted ones not at all",
        ),
        Absent(("requests_failed_total",), "a finish reason: requests_finished_total"),
        Absent(
            ("prefix_cache_hit_ratio",),
            "two counters tell more: hit over queried tokens, of any window",
        ),
        Absent(
            ("prefill_busy_seconds_total", "decode_busy_seconds_total"),
            "the sums of the histograms prefill_seconds and decode_seconds",
        ),
    ),
    ignored={
        **left_out(
            "traffic of KV offloading that no page shows",
            "kv_offload_cpu_allocation_size", "kv_offload_cpu_cache_read_usage_perc",
            "kv_offload_cpu_cache_write_usage_perc", "kv_offload_stores_skipped",
            "kv_offload_tiering_active_cascade_jobs", "kv_offload_tiering_active_promotion_jobs",
            "kv_offload_tiering_backpressure_blocks_dropped",
            "kv_offload_tiering_backpressure_store_latency_ema",
            "kv_offload_tiering_backpressure_stores_dropped",
            "kv_offload_tiering_cascade_job_failures", "kv_offload_tiering_chunk_hits",
            "kv_offload_tiering_chunk_queries", "kv_offload_tiering_lookup_async_delay_seconds",
            "kv_offload_tiering_lookup_sync_delay_seconds",
            "kv_offload_tiering_primary_read_usage_perc",
            "kv_offload_tiering_primary_write_usage_perc",
            "kv_offload_tiering_promotion_allocation_failures",
            "kv_offload_tiering_promotion_job_failures", "kv_offload_tiering_read_bytes",
            "kv_offload_tiering_read_time", "kv_offload_tiering_write_bytes",
            "kv_offload_tiering_write_time", "num_requests_kv_fetch_by_stage",
            "simple_kv_offload_info", "simple_kv_offload_load_blocks",
            "simple_kv_offload_pending_store_blocks", "simple_kv_offload_save_outcomes",
            "simple_kv_offload_used_blocks",
        ),
        **left_out(
            "a sample of blocks, and only when asked for",
            "kv_block_idle_before_evict_seconds", "kv_block_lifetime_seconds",
            "kv_block_reuse_gap_seconds",
        ),
        **left_out(
            "of models that write no tokens one by one",
            "diffusion_num_canvas_positions", "diffusion_num_committed_tokens",
            "diffusion_num_denoising_steps",
        ),
        **left_out("about watermarks in answers, not about serving", "watermark_requests"),
        "request_max_num_generation_tokens": "the same as request_params_max_tokens unless n > 1",
        "cpu_cache_usage_perc": "the swap space of old releases, long gone",
        "cpu_prefix_cache_hit_rate": "a mean of unknown window, gone in 0.10",
        "gpu_prefix_cache_hit_rate": "a mean of unknown window, gone in 0.10",
        "model_forward_time_milliseconds": "of releases before 0.10",
        "model_execute_time_milliseconds": "of releases before 0.10",
        "avg_prompt_throughput_toks_per_s": "a mean of unknown window",
        "avg_generation_throughput_toks_per_s": "a mean of unknown window",
    },
    facts=(
        Fact("/version", ("version",), "engine_version"),
        Fact("/v1/models", ("data", 0, "id"), "model"),
    ),
    reference="0.33.0, pages of 0.32.0",
)  # fmt: skip
