"""llama.cpp's llama-server: no labels, no histograms, no model name on the page.

Read in `tools/server/server-task.cpp` and checked against pages of llama-cpp-python 0.3.2, 0.3.8
and 0.3.36 (the versions named below). Values are printed with six significant digits: beyond a
million a counter moves in steps of ten and more.
"""

from __future__ import annotations

from collector.engines.adapter import Absent, Engine, Fact, Rule, spelled

_NEW = "0.3.36"
_SIX_DIGITS = "Printed with six significant digits: rates of large counters are coarse."
_RESET = "A mean since the previous scrape, whoever made it: every scraper resets it."

LLAMA_CPP = Engine(
    name="llama.cpp",
    prefixes=spelled("llamacpp"),
    rules=(
        Rule("requests_processing", "requests_running"),
        Rule("requests_deferred", "requests_waiting", note="There is no bound on this queue."),
        Rule(
            "prompt_tokens_total",
            "prompt_tokens_total",
            formula="prompt_tokens_total + prompt_tokens_cached_total",
            note="0.3.8 does not tell cached tokens: then they are left out. " + _SIX_DIGITS,
        ),
        Rule(
            "prompt_tokens_cached_total",
            "prompt_tokens_total",
            formula="prompt_tokens_total + prompt_tokens_cached_total",
            since=_NEW,
        ),
        Rule("prompt_tokens_total", "prompt_tokens_computed_total", note=_SIX_DIGITS),
        Rule("prompt_tokens_cached_total", "prompt_tokens_cached_total", since=_NEW),
        Rule("tokens_predicted_total", "generation_tokens_total", note=_SIX_DIGITS),
        Rule("prompt_seconds_total", "prefill_busy_seconds_total"),
        Rule(
            "tokens_predicted_seconds_total",
            "decode_busy_seconds_total",
            note="Added up over slots: eight busy slots add eight seconds a second.",
        ),
        *(
            Rule(f"{name}_tokens_seconds", f"{stage}_since_scrape_tokens_per_second", note=_RESET)
            for name, stage in (("prompt", "prefill"), ("predicted", "decode"))
        ),
        Rule("n_decode_total", "engine_steps_total"),
        Rule(
            "n_busy_slots_per_decode",
            "slots_busy_lifetime_mean",
            note="Typed counter in 0.3.8, gauge in 0.3.36; a mean since the start in both.",
        ),
        Rule(
            "n_tokens_max",
            "sequence_tokens_max",
            across="max",
            since=_NEW,
            note="Typed counter, but a high-water mark.",
        ),
        Rule("kv_cache_usage_ratio", "kv_cache_usage_ratio", across="mean", until=_NEW),
        Rule("kv_cache_tokens", "kv_cache_used_tokens", until=_NEW),
        *(
            Rule(f"spec_decode_num_{what}_total", f"spec_decode_{what}_total", since=_NEW)
            for what in ("drafts", "draft_tokens", "accepted_tokens")
        ),
    ),
    absent=(
        Absent(
            ("kv_cache_usage_ratio", "kv_cache_used_tokens", "kv_cache_capacity_tokens"),
            "left the page in 2025; /slots shows what each slot holds",
        ),
        Absent(
            (
                "ttft_seconds", "itl_seconds", "tpot_seconds", "e2e_seconds", "queue_seconds",
                "prefill_seconds", "decode_seconds", "inference_seconds",
            ),
            "no histogram on its page; each answer carries its own timings",
        ),
        Absent(
            ("requests_finished_total", "requests_failed_total", "requests_arrived_total"),
            "requests are not counted",
        ),
        Absent(("requests_refused_total",), "it never refuses: beyond the slots everything waits"),
        Absent(
            ("engine_start_unix_seconds",),
            "the header Process-Start-Time-Unix holds the machine's monotonic clock, which tells "
            "a restart but not when: engine_start_mark",
        ),
    ),
    ignored={},
    facts=(
        Fact("/props", ("build_info",), "engine_version"),
        Fact("/props", ("model_alias",), "model"),
        Fact("/v1/models", ("data", 0, "id"), "model"),
    ),
    # Called Unix time, but it is the machine's monotonic clock: it tells a restart, not when.
    restart_header="Process-Start-Time-Unix",
    reference="of llama-cpp-python 0.3.36",
    page="/metrics with --metrics; of a router /metrics?model=NAME for each model, to which we add "
    "autoload=false: else the question would load the model",
)  # fmt: skip
