"""Hugging Face Text Generation Inference: counters without `_total`, no labels, no first token.

Read in `router/src/server.rs` and `backends/v3`. Parsers that add `_total` to its counters change
nothing: counters are found with and without it.
"""

from __future__ import annotations

from collector.engines.adapter import Absent, Derived, Engine, Fact, Rule, left_out, spelled

_AT_FINISH = "Grows when a request finishes."
_NONE: dict[str, str] = {}
_PHASE = {"method": "phase"}

TGI = Engine(
    name="tgi",
    prefixes=spelled("tgi"),
    rules=(
        Rule("batch_current_size", "requests_running", labels=_NONE),
        Rule("queue_size", "requests_waiting", labels=_NONE),
        Rule(
            "batch_current_max_tokens",
            "kv_cache_used_tokens",
            labels=_NONE,
            note="What the batch may grow to, reserved and not yet filled.",
        ),
        Rule("batch_max_total_tokens", "kv_cache_capacity_tokens", labels=_NONE),
        Rule("request_count", "requests_arrived_total", labels=_NONE),
        Rule(
            "request_success",
            "requests_finished_total",
            labels=_NONE,
            note="Good ends only, without their reason.",
        ),
        Rule("request_failure", "requests_failed_total", labels={"err": "reason"}),
        Rule(
            "request_failure",
            "requests_refused_total",
            labels={"err": "reason"},
            where=(("err", "overloaded"),),
        ),
        Rule(
            "request_input_length_sum",
            "prompt_tokens_total",
            labels=_NONE,
            formula="sum of the histogram request_input_length",
            note=_AT_FINISH,
        ),
        Rule(
            "request_generated_tokens_sum",
            "generation_tokens_total",
            labels=_NONE,
            formula="sum of the histogram request_generated_tokens",
            note=_AT_FINISH,
        ),
        Rule(
            "request_skipped_tokens_sum",
            "spec_decode_accepted_tokens_total",
            labels=_NONE,
            formula="sum of the histogram request_skipped_tokens",
        ),
        Rule("batch_inference_count", "engine_steps_total", labels=_NONE),
        Rule(
            "batch_forward_duration_sum",
            "forward_busy_seconds_total",
            labels=_PHASE,
            formula="sum of the histogram batch_forward_duration",
        ),
        Rule("request_duration", "e2e_seconds", labels=_NONE),
        Rule("request_queue_duration", "queue_seconds", labels=_NONE),
        Rule("request_validation_duration", "validation_seconds", labels=_NONE),
        Rule("request_inference_duration", "inference_seconds", labels=_NONE),
        Rule(
            "request_mean_time_per_token_duration",
            "tpot_seconds",
            labels=_NONE,
            defined_as="prefill and first token included",
            note="Inference time over all output tokens.",
        ),
        Rule("request_input_length", "input_tokens", labels=_NONE),
        Rule("request_generated_tokens", "output_tokens", labels=_NONE),
        Rule("request_max_new_tokens", "requested_output_tokens", labels=_NONE),
        Rule("batch_next_size", "batch_requests", labels=_NONE),
        Rule("batch_forward_duration", "forward_seconds", labels=_PHASE),
    ),
    derived=(
        Derived(
            "kv_cache_usage_ratio",
            "kv_cache_used_tokens",
            "/",
            "kv_cache_capacity_tokens",
            note="Reserved tokens, so it runs ahead of what is filled.",
        ),
    ),
    absent=(
        Absent(
            ("ttft_seconds",),
            "no such family; queue, validation and prefill are told apart, and their histograms "
            "cannot be added up",
        ),
        Absent(("itl_seconds",), "no such family; tpot_seconds is the mean of a request"),
        Absent(
            ("prefill_seconds", "decode_seconds"), "told by batch, not by request: forward_seconds"
        ),
        Absent(
            ("prefix_cache_hit_tokens_total", "prompt_tokens_cached_total"),
            "its prefix cache is not measured",
        ),
        Absent(("engine_start_unix_seconds",), "no process metrics on its page"),
    ),
    ignored={
        **left_out(
            "parts of a batch that no page shows",
            "batch_concat", "batch_concat_duration", "batch_decode_duration",
            "batch_filter_duration", "batch_inference_duration", "batch_inference_failure",
            "batch_inference_success", "batch_total_tokens",
        )
    },
    facts=(
        Fact("/info", ("version",), "engine_version"),
        Fact("/info", ("model_id",), "model"),
    ),
    reference="3.3 (db931fcf)",
)  # fmt: skip
