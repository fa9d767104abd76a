"""SGLang 0.5: a scheduler that repeats itself on every rank, and a tokenizer process.

Read in `sglang/srt/observability/metrics_collector.py`. Scheduler series carry `tp_rank`, `pp_rank`
and `moe_ep_rank`, each of which tells the same number again: of those the largest counts, and
`dp_rank` adds up. With `--enable-priority-scheduling` the series with `priority=""` is the total
and the others are its parts.
"""

from __future__ import annotations

from dataclasses import replace

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

_RANKS = ("tp_rank", "pp_rank", "moe_ep_rank")
_TOTAL = (("priority", ""),)
_AT_FINISH = "Grows when a request finishes: rates come in bursts and miss what is running."
_REALTIME = (
    "Grows while requests run, at each of the engine's log intervals; work that is redone after a "
    "retraction counts again."
)
_STREAMED = (
    "Streamed requests only: of the others the first message holds many tokens or the whole answer."
)


def _scheduler(rule: Rule) -> Rule:
    """A row of the scheduler's side: one number for each data-parallel rank."""
    return replace(rule, max_over=_RANKS, where=(*rule.where, *_TOTAL))


def _realtime(mode: str, signal: str, formula: str = "") -> Rule:
    return Rule(
        "realtime_tokens_total", signal, where=(("mode", mode),), formula=formula, note=_REALTIME
    )


_SCHEDULER = tuple(
    _scheduler(rule)
    for rule in (
        Rule("num_running_reqs", "requests_running"),
        Rule(
            "num_queue_reqs",
            "requests_waiting",
            note="Requests that wait for their grammar or for another worker stand elsewhere.",
        ),
        *(
            Rule(f"num_{queue}_queue_reqs", "requests_waiting_disaggregated",
                 fixed=(("queue", queue),))
            for queue in (
                "prefill_bootstrap", "prefill_inflight", "decode_prealloc", "decode_transfer",
            )
        ),
        Rule("num_paused_reqs", "requests_paused", note="Paused by a change of weights."),
        Rule(
            "token_usage",
            "kv_cache_usage_ratio",
            across="mean",
            note="The fullest of the engine's pools. Evictable cached tokens count as free.",
        ),
        Rule("kv_used_tokens", "kv_cache_used_tokens"),
        Rule(
            "num_used_tokens",
            "kv_cache_used_tokens",
            fallback=True,
            became="kv_used_tokens",
            note="Releases without kv_used_tokens.",
        ),
        Rule("kv_evictable_tokens", "kv_cache_evictable_tokens"),
        Rule("max_total_num_tokens", "kv_cache_capacity_tokens"),
        Rule("page_size", "kv_cache_block_tokens", across="max"),
        Rule("num_pages", "kv_cache_capacity_blocks"),
        Rule("hicache_host_used_tokens", "kv_cache_host_used_tokens"),
        Rule("hicache_host_total_tokens", "kv_cache_host_capacity_tokens"),
        Rule(
            "cache_hit_rate",
            "prefix_cache_hit_ratio",
            across="mean",
            note="Of the last prefill batches only.",
        ),
        Rule("spec_accept_length", "spec_decode_acceptance_length", across="mean"),
        Rule("spec_accept_rate", "spec_decode_acceptance_ratio", across="mean"),
        Rule("lora_pool_slots_used", "lora_adapters_loaded"),
        Rule("lora_pool_slots_total", "lora_adapters_max"),
        Rule("num_retracted_requests_total", "preemptions_total"),
        Rule(
            "num_retracted_input_tokens_total",
            "preempted_tokens_total",
            formula="num_retracted_input_tokens_total + num_retracted_output_tokens_total",
        ),
        Rule(
            "num_retracted_output_tokens_total",
            "preempted_tokens_total",
            formula="num_retracted_input_tokens_total + num_retracted_output_tokens_total",
        ),
        _realtime("decode", "generation_tokens_total"),
        *(
            _realtime(mode, "prompt_tokens_total", "mode prefill_compute + mode prefill_cache")
            for mode in ("prefill_compute", "prefill_cache")
        ),
        _realtime("prefill_compute", "prompt_tokens_computed_total"),
        _realtime("prefill_cache", "prompt_tokens_cached_total"),
        *(
            Rule(
                "prefill_effective_tokens_total",
                "prefix_cache_hit_tokens_total",
                where=(("mode", f"{tier}_hit"),),
                formula="mode device_hit + mode host_hit + mode storage_hit",
            )
            for tier in ("device", "host", "storage")
        ),
        Rule(
            "prefill_effective_tokens_total",
            "prefix_cache_queried_tokens_total",
            formula="the sum of all modes",
        ),
        Rule(
            "forward_execution_seconds_total",
            "forward_busy_seconds_total",
            labels={**MODEL, "category": "phase"},
        ),
        Rule("scheduler_idle_seconds_total", "scheduler_idle_seconds_total"),
        Rule("estimated_flops_per_gpu_total", "estimated_flops_total"),
        Rule("estimated_read_bytes_per_gpu_total", "estimated_read_bytes_total"),
        Rule("estimated_write_bytes_per_gpu_total", "estimated_write_bytes_total"),
        Rule("queue_time_seconds", "queue_seconds", note="Its first edge is 0."),
        Rule(
            "per_stage_req_latency_seconds",
            "stage_seconds",
            labels={**MODEL, "stage": "stage"},
        ),
    )
)  # fmt: skip

_TOKENIZER = (
    Rule("prompt_tokens_total", "prompt_tokens_total", fallback=True, note=_AT_FINISH),
    Rule("generation_tokens_total", "generation_tokens_total", fallback=True, note=_AT_FINISH),
    Rule("cached_tokens_total", "prompt_tokens_cached_total", fallback=True, note=_AT_FINISH),
    Rule(
        "cached_tokens_total",
        "prompt_tokens_cached_by_tier_total",
        labels={**MODEL, "cache_source": "source"},
        note=_AT_FINISH,
    ),
    Rule(
        "num_requests_total",
        "requests_finished_total",
        note="A running request that is aborted may be counted here too.",
    ),
    Rule(
        "num_aborted_requests_total",
        "requests_finished_total",
        fixed=(("finish_reason", "abort"),),
    ),
    Rule(
        "time_to_first_token_seconds",
        "ttft_seconds",
        unless=(("is_streaming", "false"),),
        note=_STREAMED,
    ),
    Rule(
        "inter_token_latency_seconds",
        "itl_seconds",
        defined_as="one observation a token",
        note="An interval with several tokens is divided by them and counts as often.",
    ),
    Rule(
        "request_time_per_output_token_seconds",
        "tpot_seconds",
        unless=(("is_streaming", "false"),),
        defined_as="first token left out; answers of one token left out",
    ),
    Rule(
        "time_per_output_token_seconds",
        "tpot_seconds",
        fallback=True,
        until="0.5.0",
        became="request_time_per_output_token_seconds",
    ),
    Rule("e2e_request_latency_seconds", "e2e_seconds"),
    Rule("prompt_tokens_histogram", "input_tokens"),
    Rule("generation_tokens_histogram", "output_tokens"),
    Rule("uncached_prompt_tokens_histogram", "prefill_computed_tokens"),
    Rule("startup_time_seconds", "startup_phase_seconds", labels={**MODEL, "phase": "phase"}),
)

SGLANG = Engine(
    name="sglang",
    prefixes=spelled("sglang"),
    rules=_SCHEDULER + _TOKENIZER,
    derived=(
        Derived(
            "kv_cache_host_usage_ratio",
            "kv_cache_host_used_tokens",
            "/",
            "kv_cache_host_capacity_tokens",
        ),
    ),
    absent=(
        Absent(
            ("prefill_seconds", "decode_seconds", "inference_seconds"),
            "split by the engine's own stages instead: stage_seconds",
        ),
        Absent(
            ("engine_start_unix_seconds", "process_memory_bytes", "process_cpu_seconds_total"),
            "several processes write one page, which then has no process metrics",
        ),
        Absent(("requests_refused_total",), "refusals are answered, not counted"),
        Absent(("requests_arrived_total",), "requests are counted when they finish"),
        Absent(
            ("lora_adapters_running", "lora_adapters_waiting"),
            "tells loaded adapters only: lora_adapters_loaded",
        ),
        Absent(
            ("spec_decode_draft_tokens_total", "spec_decode_accepted_tokens_total"),
            "tells acceptance as gauges: spec_decode_acceptance_ratio",
        ),
    ),
    ignored={
        **left_out(
            "a rate or length of the last batches; counters tell the same over any window",
            "gen_throughput", "decode_sum_seq_lens", "utilization", "fwd_occupancy",
            "new_token_ratio", "is_cuda_graph", "num_retracted_reqs", "lora_pool_utilization",
            "max_running_requests_under_SLO", "spec_cap_length", "spec_block_accept_length",
            "spec_num_steps", "spec_num_draft_tokens", "pending_prealloc_token_usage",
        ),
        **left_out(
            "one pool of several; token_usage is the fullest of them",
            "full_token_usage", "swa_token_usage", "mamba_usage", "kv_available_tokens",
            "swa_available_tokens", "swa_evictable_tokens", "swa_used_tokens",
            "mamba_available_tokens", "mamba_evictable_tokens", "mamba_used_tokens",
            "max_total_num_tokens_swa",
        ),
        **left_out(
            "a distribution of gauges over routing keys, no cumulative histogram",
            "routing_key_running_req_count", "routing_key_running_req",
            "routing_key_all_req_count", "routing_key_all_req", "num_unique_running_routing_keys",
        ),
        **left_out("a summary, which no two ranks can add up", "eplb_balancedness"),
        **left_out(
            "a part of the engine that no page shows yet",
            "num_grammar_queue_reqs", "grammar_compilation_time_seconds", "num_grammar_cache_hit",
            "num_grammar_aborted", "num_grammar_timeout", "num_grammar", "grammar_schema",
            "grammar_schema_count", "grammar_ebnf_size", "grammar_tree_traversal_time_avg",
            "grammar_tree_traversal_time_max", "num_so_requests", "prefill_delayer_wait_seconds",
            "prefill_delayer_wait_forward_passes", "prefill_delayer_outcomes",
            "cuda_graph_passes", "dp_cooperation_realtime_tokens",
            "dp_cooperation_forward_execution_seconds", "kv_transfer_speed_gb_s",
            "kv_transfer_latency_ms", "kv_transfer_bootstrap_ms", "kv_transfer_alloc_ms",
            "kv_transfer_total_mb", "num_bootstrap_failed_reqs", "num_transfer_failed_reqs",
            "num_prefill_retries", "num_streaming_sessions", "streaming_session_held_tokens",
            "get_loads_duration_seconds", "spec_verify_calls", "startup_cuda_graph_time_seconds",
            "weight_load_duration_seconds", "eviction_duration_seconds", "evicted_tokens",
            "load_back_duration_seconds", "load_back_tokens", "load_back_bytes",
            "hicache_backup_duration_seconds", "hicache_backup_bytes", "hicache_backup_tokens",
            "hicache_dropped_tokens", "hicache_prefetch_outcomes", "prefetched_tokens",
            "backuped_tokens", "hicache_backup_dropped_tokens",
            "hicache_prefetch_aux_alloc_failed_tokens", "prefetch_pgs", "backup_pgs",
            "prefetch_bandwidth", "backup_bandwidth", "eplb_gpu_physical",
            "eplb_gpu_physical_count",
        ),
        **left_out(
            "the server of encoders, which makes no tokens",
            "encoder_cache_evictions", "encoder_cache_size_mb", "encoder_cache_entries",
            "encoder_cache_hit_tokens", "encoder_cache_total_tokens", "encoder_cache_hit_files",
            "encoder_cache_total_files", "encoder_requests", "encoder_requests_received",
            "encoder_mm_items_per_batch", "encoder_mm_items_per_request",
            "encoder_request_e2e_latency_seconds", "encoder_queue_wait_seconds",
            "encoder_preprocess_seconds", "encoder_model_forward_seconds",
            "encoder_transfer_seconds",
        ),
        **left_out(
            "constant of the configuration",
            "weight_memory_usage_gb", "kv_cache_memory_usage_gb", "graph_memory_usage_gb",
            "context_len", "startup_available_gpu_memory_gb",
        ),
    },
    facts=(
        Fact("/server_info", ("version",), "engine_version"),
        Fact("/get_server_info", ("version",), "engine_version"),
        Fact("/v1/models", ("data", 0, "id"), "model"),
    ),
    reference="0.5.23",
    page="/metrics with --enable-metrics",
)  # fmt: skip
