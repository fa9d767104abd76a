"""The signal catalogue: every live signal under one name, unit and meaning.

Engine adapters (`collector/engines/`) say which exposed metric feeds which signal; everything above
the store knows only the names on this page. Rules that hold for all of them:

* Counters are stored cumulative, as exposed; resets are handled once, in `analysis/series.py`.
* A signal that an engine does not expose is absent (no row), never 0.
* `histogram_sample.edges` holds the finite upper bounds in ascending order (no +Inf), and
  `cumulative_counts`, of the same length, the observations at or below each. Up to +Inf it is
  `observation_count`.
* Labels are a JSON object with sorted keys, `{}` when there are none. Names in use: `model`,
  `reason`, `finish_reason`, `source`, `position`, `queue`, `memory`, `phase`, `stage`; those of
  devices and clusters stand in `store.device_signals`.
"""

from __future__ import annotations

from store.agent_signals import AGENT_SIGNALS
from store.device_signals import DEVICE_SIGNALS
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
    Signal("kv_cache_used_blocks", "gauge", "blocks", "KV cache blocks in use."),
    Signal("kv_cache_capacity_tokens", "gauge", "tokens", "Tokens that the KV cache can hold."),
    Signal(
        "kv_cache_evictable_tokens",
        "gauge",
        "tokens",
        "Cached tokens that nobody uses; they count as free.",
    ),
    Signal(
        "kv_cache_host_usage_ratio",
        "gauge",
        "ratio",
        "Share of the KV cache in host memory in use.",
        high=1.0,
    ),
    Signal(
        "kv_cache_host_used_tokens", "gauge", "tokens", "Tokens in the KV cache in host memory."
    ),
    Signal(
        "kv_cache_host_capacity_tokens",
        "gauge",
        "tokens",
        "Tokens that the KV cache in host memory can hold.",
    ),
    Signal(
        "prefix_cache_hit_ratio",
        "gauge",
        "ratio",
        "Prefix cache hits as the engine tells them; the window is the engine's, so ratios of "
        "different engines do not compare.",
        high=1.0,
    ),
    Signal("requests_running_max", "gauge", "requests", "Requests that can run at once."),
    Signal(
        "requests_paused",
        "gauge",
        "requests",
        "Requests taken out of the batch that wait to go on.",
    ),
    Signal(
        "requests_waiting_disaggregated",
        "gauge",
        "requests",
        "Requests between prefill and decode workers, by the queue they are in.",
        labels=("queue",),
    ),
    Signal(
        "spec_decode_acceptance_length",
        "gauge",
        "tokens",
        "Tokens gained by a step of speculation, as the engine tells it.",
    ),
    Signal(
        "spec_decode_acceptance_ratio",
        "gauge",
        "ratio",
        "Share of proposed tokens that were accepted, as the engine tells it.",
        high=1.0,
    ),
    Signal("engine_step_seconds", "gauge", "s", "Length of the engine's last step."),
    Signal(
        "engine_memory_bytes",
        "gauge",
        "bytes",
        "Memory that the engine has taken, by kind of memory.",
        labels=("memory",),
    ),
    Signal(
        "startup_phase_seconds",
        "gauge",
        "s",
        "How long a phase of the engine's start took.",
        labels=("phase",),
    ),
    Signal("replicas_target", "gauge", "replicas", "Replicas that the serving layer wants."),
    Signal("replicas_healthy", "gauge", "replicas", "Replicas that pass their health check."),
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
    Signal("lora_adapters_loaded", "gauge", "adapters", "LoRA adapters in GPU memory."),
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
    Signal(
        "prefill_since_scrape_tokens_per_second",
        "gauge",
        "tokens/s",
        "Mean since the previous scrape, whoever made it; shows whether somebody else scrapes.",
    ),
    Signal(
        "decode_since_scrape_tokens_per_second",
        "gauge",
        "tokens/s",
        "Mean since the previous scrape, whoever made it; shows whether somebody else scrapes.",
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
        "Output tokens generated; some engines count them when a request ends.",
    ),
    Signal(
        "requests_arrived_total",
        "counter",
        "requests",
        "Requests that came, whatever became of them.",
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
    Signal(
        "requests_failed_total",
        "counter",
        "requests",
        "Requests that ended in an error, by what the engine calls it.",
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
        "preempted_tokens_total",
        "counter",
        "tokens",
        "Input and output tokens of requests thrown out of the batch.",
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
        "prefix_cache_hit_blocks_total",
        "counter",
        "blocks",
        "KV cache blocks taken from the cache.",
    ),
    Signal(
        "prefix_cache_missed_blocks_total",
        "counter",
        "blocks",
        "KV cache blocks that had to be computed.",
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
    Signal(
        "request_busy_seconds_total",
        "counter",
        "s",
        "Time from arrival to the end, added up over requests.",
    ),
    Signal(
        "queue_busy_seconds_total", "counter", "s", "Time spent waiting, added up over requests."
    ),
    Signal(
        "inference_busy_seconds_total",
        "counter",
        "s",
        "Time in the model, added up over requests.",
    ),
    Signal(
        "forward_busy_seconds_total",
        "counter",
        "s",
        "Time the GPU spent on forward passes, by kind of pass.",
        labels=("phase",),
    ),
    Signal("scheduler_idle_seconds_total", "counter", "s", "Time the scheduler had nothing to do."),
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
    Signal(
        "prefill_cached_tokens", "histogram", "tokens", "Input tokens per request from a cache."
    ),
    Signal(
        "validation_seconds",
        "histogram",
        "s",
        "Checking and tokenising a request before it queues.",
    ),
    Signal(
        "stage_seconds",
        "histogram",
        "s",
        "Time of a request in one stage of the engine, stages as the engine names them.",
        labels=("stage",),
    ),
    Signal(
        "forward_seconds",
        "histogram",
        "s",
        "One forward pass of a batch, by prefill or decode.",
        labels=("phase",),
    ),
    Signal("batch_requests", "histogram", "requests", "Requests in one batch."),
    Signal("replica_start_seconds", "histogram", "s", "From asking for a replica to its being up."),
    Signal("request_preemptions", "histogram", "preemptions", "How often a request was preempted."),
    Signal(
        "step_tokens",
        "histogram",
        "tokens",
        "Tokens in one step of the engine, one observation a step.",
    ),
)

SIGNALS: dict[str, Signal] = {
    signal.name: signal for signal in (*ENGINE_SIGNALS, *DEVICE_SIGNALS, *AGENT_SIGNALS)
}
