"""LMDeploy: vLLM's names with some of its own.

Read in `lmdeploy/metrics/loggers.py` 0.16. `engine` is the data-parallel rank: an instance is the
sum over it.
"""

from __future__ import annotations

from collector.engines.adapter import (
    MODEL,
    PROCESS_RULES,
    Absent,
    Engine,
    Fact,
    Rule,
    left_out,
    spelled,
)

LMDEPLOY = Engine(
    name="lmdeploy",
    prefixes=spelled("lmdeploy"),
    rules=(
        Rule("num_requests_running", "requests_running"),
        Rule(
            "num_requests_waiting",
            "requests_waiting",
            note="In the engine; what waits in front of it is num_api_requests_waiting.",
        ),
        Rule(
            "gpu_cache_usage_perc",
            "kv_cache_usage_ratio",
            across="mean",
            note="A ratio despite its name.",
        ),
        Rule("prefix_cache_hit_rate", "prefix_cache_hit_ratio", across="mean"),
        Rule(
            "backend_config_info",
            "kv_cache_block_tokens",
            across="max",
            reads="label_number",
            label="block_size",
            note="The PyTorch backend's name for it.",
        ),
        Rule(
            "backend_config_info",
            "kv_cache_block_tokens",
            across="max",
            reads="label_number",
            label="cache_block_seq_len",
            fallback=True,
            note="The TurboMind backend's name for it.",
        ),
        Rule(
            "backend_config_info",
            "requests_running_max",
            across="max",
            reads="label_number",
            label="max_batch_size",
        ),
        Rule("prompt_tokens_total", "prompt_tokens_total"),
        Rule(
            "generation_tokens_total",
            "generation_tokens_total",
            note="The first releases with metrics (2025) added every step twice.",
        ),
        Rule("cached_tokens_total", "prompt_tokens_cached_total"),
        Rule(
            "request_success_total",
            "requests_finished_total",
            labels={**MODEL, "finished_reason": "finish_reason"},
        ),
        Rule("num_requests_failed", "requests_failed_total", note="Typed gauge, but it counts."),
        Rule("spec_decode_num_drafts_total", "spec_decode_drafts_total"),
        Rule("spec_decode_num_draft_tokens_total", "spec_decode_draft_tokens_total"),
        Rule("spec_decode_num_accepted_tokens_total", "spec_decode_accepted_tokens_total"),
        Rule(
            "spec_decode_num_accepted_tokens_per_pos_total",
            "spec_decode_accepted_by_position_total",
            labels={**MODEL, "position": "position"},
        ),
        Rule("spec_decode_mean_accept_rate", "spec_decode_acceptance_ratio", across="mean"),
        Rule("spec_decode_mean_accept_length", "spec_decode_acceptance_length", across="mean"),
        Rule("time_to_first_token_seconds", "ttft_seconds"),
        Rule(
            "iter_token_latency",
            "itl_seconds",
            defined_as="one observation an output of the engine",
        ),
        Rule("time_per_output_token_seconds", "tpot_seconds"),
        Rule("e2e_request_latency_seconds", "e2e_seconds"),
        Rule("request_queue_time_seconds", "queue_seconds", note="First edge at 0.3 s."),
        Rule("request_prefill_time_seconds", "prefill_seconds"),
        Rule("request_decode_time_seconds", "decode_seconds"),
        Rule("request_inference_time_seconds", "inference_seconds"),
        Rule("request_prompt_tokens", "input_tokens", note="Edges end at 4096, a fixed limit."),
        Rule("request_generation_tokens", "output_tokens", note="Edges end at 4096."),
        Rule("request_cached_tokens", "prefill_cached_tokens"),
        Rule("request_params_max_tokens", "requested_output_tokens", until="0.11"),
        Rule("request_params_n", "requested_completions", until="0.11"),
        Rule("iteration_tokens_total", "step_tokens", note="A histogram despite its name."),
        *PROCESS_RULES,
    ),
    absent=(
        Absent(("requests_refused_total",), "refusals are answered, not counted"),
        Absent(("preemptions_total",), "evictions are not counted"),
        Absent(
            ("kv_cache_capacity_blocks", "kv_cache_capacity_tokens"),
            "the configuration gives a share of the GPU's memory, not a number of blocks",
        ),
    ),
    ignored={
        **left_out("the same as request_success, typed gauge", "num_requests_succeeded"),
        **left_out(
            "counts in the process of the API, in front of the engine",
            "num_api_requests_routed", "num_api_requests_waiting",
        ),
        **left_out("a ratio of each request; tokens tell more", "request_cache_hit_ratio"),
        **left_out("by position, beside the mean", "spec_decode_per_position_accept_rate"),
        **left_out("the same as request_params_max_tokens", "request_max_num_generation_tokens"),
    },
    facts=(Fact("/v1/models", ("data", 0, "id"), "model"),),
    reference="0.16.0",
    page="/metrics with --enable-metrics",
)  # fmt: skip
