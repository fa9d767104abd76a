"""LiteLLM's proxy: requests of tenants, through the proxy to engines and providers.

Read in `litellm/integrations/prometheus.py` and `litellm/types/integrations/prometheus.py` of
1.109. A tenant is a team, or a key where there is no team; `None` in a label means that there is
none. Behind several workers the page is that of whichever worker answers, unless the proxy shares a
folder for its counters: then two scrapes may tell different counters.
"""

from __future__ import annotations

from collector.engines.adapter import PROCESS_RULES, Absent, Engine, Rule

_TENANT = {"api_key_alias": "tenant", "team": "tenant", "team_alias": "tenant"}
_MODEL = {"litellm_model_name": "model", "model": "model", "requested_model": "model"}
_LABELS = {**_MODEL, **_TENANT}
_NO_TENANT = "Which tenant is not told."

LITELLM = Engine(
    name="litellm",
    prefixes=("litellm_",),
    rules=(
        Rule(
            "in_flight_requests",
            "gateway_requests_running",
            labels={},
            note="Every HTTP request of one worker process, health checks too.",
        ),
        Rule(
            "proxy_total_requests_metric",
            "gateway_requests_total",
            labels={**_LABELS, "status_code": "status"},
        ),
        Rule(
            "proxy_failed_requests_metric",
            "gateway_requests_failed_total",
            labels={**_LABELS, "exception_class": "reason"},
        ),
        Rule(
            "proxy_failed_requests_metric",
            "gateway_requests_refused_total",
            labels=_LABELS,
            where=(("exception_status", "429"),),
            fixed=(("reason", "rate_limit"),),
            note="Limits of the proxy and of the provider behind it, not told apart.",
        ),
        Rule("deployment_successful_fallbacks", "gateway_fallbacks_total", labels=_LABELS),
        Rule("input_tokens_metric", "gateway_input_tokens_total", labels=_LABELS),
        Rule(
            "input_cached_tokens_metric",
            "gateway_cached_tokens_total",
            labels=_LABELS,
            note="As the provider reports them.",
        ),
        Rule("output_tokens_metric", "gateway_output_tokens_total", labels=_LABELS),
        Rule("spend_metric", "gateway_spend_usd_total", labels=_LABELS),
        Rule(
            "deployment_state",
            "gateway_upstream_state",
            labels={"litellm_model_name": "model", "api_base": "upstream"},
            across="max",
        ),
        Rule("request_total_latency_metric", "gateway_e2e_seconds", labels=_LABELS),
        Rule("llm_api_latency_metric", "gateway_upstream_seconds", labels=_LABELS),
        Rule(
            "llm_api_time_to_first_token_metric",
            "gateway_ttft_seconds",
            labels=_LABELS,
            formula="from the call to the engine, not from arrival at the proxy",
            note="Streamed requests only. Add the overhead and the queue for what clients see.",
        ),
        Rule(
            "deployment_latency_per_output_token",
            "gateway_tpot_seconds",
            labels=_LABELS,
            formula="whole latency by output tokens, the first token's wait included",
        ),
        Rule("request_queue_time_seconds", "gateway_queue_seconds", labels=_LABELS),
        Rule(
            "overhead_latency_metric",
            "gateway_overhead_seconds",
            labels=_MODEL,
            note="Its help text says milliseconds, but the proxy divides by 1000 before it "
            f"observes, and the edges are seconds. {_NO_TENANT}",
        ),
        *PROCESS_RULES,
    ),
    absent=(
        Absent(("gateway_requests_waiting",), "the queue has times, but no length"),
        Absent(("gateway_requests_before_first_token",), "not told"),
        Absent(("gateway_requests_started_total",), "counted when they end"),
        Absent(("gateway_requests_cancelled_total", "gateway_requests_moved_total"), "not told"),
        Absent(("gateway_itl_seconds",), "not told"),
        Absent(
            ("gateway_input_tokens", "gateway_output_tokens", "gateway_cached_tokens"),
            "totals only",
        ),
        Absent(("gateway_kv_hit_ratio", "gateway_scheduling_seconds"), "no router of that kind"),
        Absent(("gateway_slo_violations_total",), "not told"),
        Absent(("gateway_model_ready_ratio",), "gateway_upstream_state tells it"),
    ),
    ignored={
        "requests_metric": "the same requests as proxy_total_requests_metric",
        "total_tokens_metric": "input and output added up",
        "cached_tokens_metric": "of LiteLLM's own cache of answers, no engine's prefix cache",
        "deployment_total_requests": "tries, several for one request with retries",
        "remaining_team_budget_metric": "budgets are the proxy's own matter",
    },
    role="gateway",
    selective=True,
    reference="1.109.1",
    page="port 4000, /metrics/",
)
