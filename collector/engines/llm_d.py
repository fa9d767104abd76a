"""llm-d's router, the endpoint picker (EPP): which replica a request goes to, and how it fared.

Read in `docs/metrics.md` of the router, ebab68792. Old names (`inference_objective_…`,
`inference_pool_…`, `inference_extension_…`, from the Gateway API Inference Extension) are shown
beside the new ones for some releases: they are read only where the new ones are missing. They know
no tenants, and running requests only by the client's name of the model. Clients' names are capped
at 1000 values, further ones arrive as `other`.
"""

from __future__ import annotations

from dataclasses import replace

from collector.engines.adapter import Absent, Engine, Rule

_MODEL = {"model_name": "model", "target_model_name": "model"}  # as the engine calls it
_LABELS = {**_MODEL, "fairness_id": "tenant"}
_POOL = {"name": "pool", "inference_pool": "pool"}


def _renamed(old: str, row: Rule) -> tuple[Rule, Rule]:
    """A row and the same under its old name."""
    before = replace(row, family=old, prefixed=False, fallback=True, became=row.family)
    return row, before


def _request(family: str, signal: str, old: str = "", note: str = "") -> tuple[Rule, ...]:
    row = Rule(family, signal, labels=_LABELS, note=note)
    return _renamed(f"inference_objective_{old}", row) if old else (row,)


def _pool(family: str, signal: str, old: str = "", note: str = "") -> tuple[Rule, ...]:
    row = Rule(family, signal, labels=_POOL, across="max", note=note)
    return _renamed(f"inference_pool_{old}", row) if old else (row,)


_FLOW = "Only with flow control switched on."

LLM_D = Engine(
    name="llm-d-router",
    # Pool gauges had the same names behind the second one; the third was there for a few weeks.
    prefixes=("llm_d_epp_", "inference_pool_", "llm_d_router_epp_"),
    rules=(
        *_request("request_running", "gateway_requests_running", "running_requests"),
        *_renamed(
            "inference_extension_flow_control_queue_size",
            Rule("flow_control_queue_size", "gateway_requests_waiting", labels=_LABELS, note=_FLOW),
        ),
        *_request("request_total", "gateway_requests_started_total", "request_total"),
        *(
            replace(row, labels={**_LABELS, "error_code": "reason"})
            for row in _request(
                "request_error_total", "gateway_requests_failed_total", "request_error_total"
            )
        ),
        Rule(
            "flow_control_requests_total",
            "gateway_requests_refused_total",
            labels={"outcome": "reason"},
            unless=(("outcome", "Dispatched"), ("outcome", "EvictedContextCancelled")),
            note=f"{_FLOW} By pool and priority, so without a model.",
        ),
        Rule(
            "flow_control_requests_total",
            "gateway_requests_cancelled_total",
            labels={},
            where=(("outcome", "EvictedContextCancelled"),),
            note=f"{_FLOW} Only those given up while they waited.",
        ),
        Rule(
            "request_slo_violation_total",
            "gateway_slo_violations_total",
            labels={**_MODEL, "type": "reason"},
            note="Only with the latency predictor.",
        ),
        *_request("request_duration_seconds", "gateway_e2e_seconds", "request_duration_seconds"),
        *_request(
            "request_ttft_seconds",
            "gateway_ttft_seconds",
            "request_ttft_seconds",
            "Without streaming it is the whole answer.",
        ),
        *_request("request_streaming_itl_seconds", "gateway_itl_seconds"),
        *_request("request_streaming_tpot_seconds", "gateway_tpot_seconds", "request_tpot_seconds"),
        *_renamed(
            "inference_extension_flow_control_request_queue_duration_seconds",
            Rule(
                "flow_control_request_queue_duration_seconds",
                "gateway_queue_seconds",
                labels=_LABELS,
                note=f"{_FLOW} Up to any outcome, refusals too.",
            ),
        ),
        *_request("request_input_tokens", "gateway_input_tokens", "input_tokens"),
        *_request("request_output_tokens", "gateway_output_tokens", "output_tokens"),
        *_request("request_cached_tokens", "gateway_cached_tokens", "prompt_cached_tokens"),
        *(
            Rule(
                f"request_{kind}_tokens_sum",
                f"gateway_{kind}_tokens_total",
                labels=_LABELS,
                formula=f"sum of the histogram request_{kind}_tokens",
            )
            for kind in ("input", "output", "cached")
        ),
        *_renamed(
            "inference_extension_scheduler_e2e_duration_seconds",
            Rule("scheduler_e2e_duration_seconds", "gateway_scheduling_seconds", labels={}),
        ),
        *_renamed(
            "inference_extension_prefix_indexer_hit_ratio",
            Rule(
                "prefix_indexer_hit_ratio",
                "gateway_kv_hit_ratio",
                labels={},
                note="By the router's own approximate index.",
            ),
        ),
        *_pool(
            "average_running_requests", "pool_requests_running_mean", "average_running_requests"
        ),
        *_pool("average_queue_size", "pool_requests_waiting_mean", "average_queue_size"),
        *_pool(
            "average_kv_cache_utilization",
            "pool_kv_cache_usage_mean_ratio",
            "average_kv_cache_utilization",
        ),
        *_pool("std_dev_running_requests", "pool_requests_running_spread"),
        *_pool("std_dev_queue_size", "pool_requests_waiting_spread"),
        *_pool("std_dev_kv_cache_utilization", "pool_kv_cache_usage_spread_ratio"),
        *_pool("ready_endpoints", "pool_endpoints_ready", "ready_pods"),
        *_renamed(
            "inference_extension_flow_control_pool_saturation",
            Rule(
                "flow_control_pool_saturation",
                "pool_saturation",
                labels=_POOL,
                across="max",
                note="The highest stage. Exactly 1 is also an empty pool or stale metrics.",
            ),
        ),
        *_pool("flow_control_stale_endpoints", "pool_stale_endpoints", note=_FLOW),
        Rule(
            "program_aware_jains_fairness_index",
            "pool_fairness_jain_ratio",
            labels={},
            across="max",
            note="Of mean waits, a quantity that should be small; 1 for one program or none.",
        ),
    ),
    absent=(
        Absent(("gateway_requests_total",), "no status; started and failed are told"),
        Absent(("gateway_requests_before_first_token",), "not told"),
        Absent(
            ("gateway_upstream_seconds", "gateway_overhead_seconds"),
            "request_processing_duration_seconds has the queue in it",
        ),
        Absent(("gateway_requests_moved_total", "gateway_fallbacks_total"), "not told"),
        Absent(("gateway_spend_usd_total",), "the router knows no prices"),
        Absent(("gateway_model_ready_ratio", "gateway_upstream_state"), "pool_endpoints_ready"),
    ),
    ignored={
        "request_ntpot_seconds": "latency by output token, queue and prefill included",
        "info": "build facts",
    },
    role="gateway",
    selective=True,
    reference="ebab68792 (2026-08-22)",
    page="port 9090, /metrics, with a bearer token by default",
)
