"""The signal catalogue: every live signal under one name, unit and meaning.

Engine adapters (`collector/engines/`) say which exposed metric feeds which signal; everything above
the store knows only the names on this page. Rules that hold for all of them:

* Counters are stored cumulative, as exposed; resets are handled once, in `analysis/series.py`.
* A signal that an engine does not expose is absent (no row), never 0.
* `histogram_sample.edges` holds the finite upper bounds in ascending order (no +Inf), and
  `cumulative_counts`, of the same length, the observations at or below each. Up to +Inf it is
  `observation_count`.
* Labels are a JSON object with sorted keys, `{}` when there are none. Names in use: `model`,
  `reason`, `finish_reason`, `source`, `position`.
"""

from __future__ import annotations

from store.signal import Kind, Signal

__all__ = ["ENGINE_SIGNALS", "SIGNALS", "Kind", "Signal"]

ENGINE_SIGNALS = (
    # What the engine is doing now.
    Signal("requests_running", "gauge", "requests", "Requests in the running batch."),
    Signal(
        "requests_waiting",
        "gauge",
        "requests",
        "Requests accepted and waiting for a place in the batch.",
    ),
    Signal(
        "requests_waiting_by_reason",
        "gauge",
        "requests",
        "Waiting requests split by why they wait; the parts add up to requests_waiting.",
        labels=("reason",),
    ),
    Signal(
        "requests_swapped", "gauge", "requests", "Requests swapped out to host memory (older vLLM)."
    ),
    Signal("kv_cache_usage_ratio", "gauge", "ratio", "Share of the KV cache in use.", high=1.0),
    Signal("kv_cache_used_tokens", "gauge", "tokens", "Tokens held in the KV cache."),
    Signal("kv_cache_capacity_blocks", "gauge", "blocks", "KV cache blocks of the engine."),
    Signal("kv_cache_block_tokens", "gauge", "tokens", "Tokens in one KV cache block."),
    Signal(
        "engine_awake_ratio",
        "gauge",
        "ratio",
        "1 while the engine is awake, 0 while it sleeps.",
        high=1.0,
    ),
    Signal("lora_adapters_running", "gauge", "adapters", "LoRA adapters with a running request."),
    Signal("lora_adapters_waiting", "gauge", "adapters", "LoRA adapters with a waiting request."),
    Signal("lora_adapters_max", "gauge", "adapters", "LoRA adapters that can be active at once."),
    Signal(
        "slots_busy_lifetime_mean",
        "gauge",
        "requests",
        "Mean number of busy slots per decoding step since the engine started.",
    ),
    Signal(
        "sequence_tokens_max",
        "gauge",
        "tokens",
        "Longest sequence (input and output) since the start.",
    ),
    Signal(
        "engine_start_mark",
        "gauge",
        "",
        "Changes when the engine process restarts; its value means nothing.",
        low=None,
    ),
    Signal(
        "engine_start_unix_seconds",
        "gauge",
        "s",
        "When the engine process started, seconds since 1970 UTC.",
    ),
    Signal(
        "process_memory_bytes",
        "gauge",
        "bytes",
        "Resident memory of the process that serves the page.",
    ),
    # Cumulative work.
    Signal(
        "prompt_tokens_total",
        "counter",
        "tokens",
        "Input tokens whose prefill was done, cached ones included where the engine tells.",
    ),
    Signal(
        "prompt_tokens_computed_total",
        "counter",
        "tokens",
        "Input tokens really computed, cache hits left out.",
    ),
    Signal("prompt_tokens_cached_total", "counter", "tokens", "Input tokens taken from a cache."),
    Signal(
        "prompt_tokens_by_source_total",
        "counter",
        "tokens",
        "Input tokens by where their KV entries came from.",
        labels=("source",),
    ),
    Signal(
        "prompt_tokens_cached_by_tier_total",
        "counter",
        "tokens",
        "Cached input tokens by the cache tier that supplied them.",
        labels=("source",),
    ),
    Signal(
        "generation_tokens_total",
        "counter",
        "tokens",
        "Output tokens generated, counted as they are made.",
    ),
    Signal(
        "requests_finished_total",
        "counter",
        "requests",
        "Requests that ended, by finish reason.",
        labels=("finish_reason",),
    ),
    Signal(
        "requests_refused_total",
        "counter",
        "requests",
        "Requests refused at admission, by the limit they met.",
        labels=("reason",),
    ),
    Signal("requests_corrupted_total", "counter", "requests", "Requests with NaN in their logits."),
    Signal(
        "preemptions_total",
        "counter",
        "requests",
        "Running requests thrown out of the batch to be redone.",
    ),
    Signal(
        "prefix_cache_queried_tokens_total",
        "counter",
        "tokens",
        "Input tokens looked up in the prefix cache.",
    ),
    Signal(
        "prefix_cache_hit_tokens_total",
        "counter",
        "tokens",
        "Input tokens found in the prefix cache.",
    ),
    Signal(
        "external_prefix_cache_queried_tokens_total",
        "counter",
        "tokens",
        "Input tokens looked up in a prefix cache shared between instances.",
    ),
    Signal(
        "external_prefix_cache_hit_tokens_total",
        "counter",
        "tokens",
        "Input tokens found in a prefix cache shared between instances.",
    ),
    Signal(
        "multimodal_cache_queried_items_total",
        "counter",
        "items",
        "Images and sounds looked up in their cache.",
    ),
    Signal(
        "multimodal_cache_hit_items_total",
        "counter",
        "items",
        "Images and sounds found in their cache.",
    ),
    Signal("spec_decode_drafts_total", "counter", "drafts", "Speculative drafts verified."),
    Signal(
        "spec_decode_draft_tokens_total", "counter", "tokens", "Tokens proposed by speculation."
    ),
    Signal(
        "spec_decode_accepted_tokens_total",
        "counter",
        "tokens",
        "Proposed tokens that were accepted.",
    ),
    Signal(
        "spec_decode_accepted_by_position_total",
        "counter",
        "tokens",
        "Accepted tokens by their position in the draft.",
        labels=("position",),
    ),
    Signal(
        "prefill_busy_seconds_total",
        "counter",
        "s",
        "Time spent on prefill, added up over requests.",
    ),
    Signal(
        "decode_busy_seconds_total",
        "counter",
        "s",
        "Time spent generating, added up over requests; outruns the clock when they overlap.",
    ),
    Signal("engine_steps_total", "counter", "steps", "Forward steps of the engine."),
    Signal(
        "estimated_flops_total",
        "counter",
        "flop",
        "Floating point operations per GPU, estimated by the engine.",
    ),
    Signal(
        "estimated_read_bytes_total",
        "counter",
        "bytes",
        "Bytes read from GPU memory, estimated by the engine.",
    ),
    Signal(
        "estimated_write_bytes_total", "counter", "bytes", "Bytes written to GPU memory, estimated."
    ),
    Signal(
        "process_cpu_seconds_total", "counter", "s", "CPU time of the process that serves the page."
    ),
    # Distributions, one observation a request unless said otherwise.
    Signal(
        "ttft_seconds", "histogram", "s", "From arrival at the engine to the first output token."
    ),
    Signal(
        "itl_seconds",
        "histogram",
        "s",
        "Between two outputs of one request; engines count differently under speculation.",
    ),
    Signal(
        "tpot_seconds",
        "histogram",
        "s",
        "Mean time per output token after the first, one observation a request.",
    ),
    Signal("e2e_seconds", "histogram", "s", "From arrival to the last output token."),
    # The engine subtracts two stamps; an unset one makes the sum go down, hence no lower bound.
    Signal("queue_seconds", "histogram", "s", "Waiting before the first schedule.", low=None),
    Signal(
        "prefill_seconds", "histogram", "s", "From the first schedule to the first output token."
    ),
    Signal("decode_seconds", "histogram", "s", "From the first to the last output token."),
    Signal(
        "inference_seconds", "histogram", "s", "From the first schedule to the last output token."
    ),
    Signal("input_tokens", "histogram", "tokens", "Input length of finished requests."),
    Signal("output_tokens", "histogram", "tokens", "Output length of finished requests."),
    Signal("requested_output_tokens", "histogram", "tokens", "max_tokens that clients asked for."),
    Signal(
        "requested_completions",
        "histogram",
        "completions",
        "Completions per request that clients asked for (n).",
    ),
    Signal(
        "prefill_computed_tokens",
        "histogram",
        "tokens",
        "Input tokens computed per request, cache hits left out.",
    ),
    Signal("request_preemptions", "histogram", "preemptions", "How often a request was preempted."),
    Signal(
        "step_tokens",
        "histogram",
        "tokens",
        "Tokens in one step of the engine, one observation a step.",
    ),
)

SIGNALS: dict[str, Signal] = {signal.name: signal for signal in ENGINE_SIGNALS}
