"""Envoy AI Gateway: OpenTelemetry's GenAI metrics as Prometheus shows them.

Read in `internal/metrics/genai.go`, c217da8a5. Dots become underscores and the unit is added to the
name, or not: that is for the exporter to choose, so every histogram has two or three names. Other
programs that follow the same convention are read the same way. Who the tenant is, is not told.
"""

from __future__ import annotations

from dataclasses import replace

from collector.engines.adapter import Absent, Engine, Rule

_MODEL = {
    "gen_ai_response_model": "model",
    "gen_ai_original_model": "model",
    "gen_ai_request_model": "model",  # as the engine behind it calls it
}
_KINDS = (("input", "input"), ("output", "output"), ("cached_input", "cached"))


def _seconds(family: str, signal: str, note: str = "") -> tuple[Rule, Rule]:
    """A histogram of seconds, with and without the unit in its name."""
    row = Rule(f"{family}_seconds", signal, labels=_MODEL, note=note)
    return row, replace(row, family=family, fallback=True)


def _tokens(kind: str, ours: str) -> tuple[Rule, ...]:
    """The histogram of tokens of one kind and its sum, under each spelling of the unit."""
    row = Rule(
        "client_token_usage_token",
        f"gateway_{ours}_tokens",
        labels=_MODEL,
        where=(("gen_ai_token_type", kind),),
    )
    total = replace(
        row,
        family="client_token_usage_token_sum",
        signal=f"gateway_{ours}_tokens_total",
        formula="sum of the histogram client_token_usage",
    )
    spelled = tuple(
        replace(one, family=one.family.replace("usage_token", unit), fallback=True)
        for one in (row, total)
        for unit in ("usage_tokens", "usage")
    )
    return row, total, *spelled


_COUNT = Rule(
    "server_request_duration_seconds_count",
    "gateway_requests_total",
    labels={**_MODEL, "error_type": "status"},
    formula="observations of server_request_duration",
    note="Without a status: it went well.",
)

ENVOY_AI = Engine(
    name="envoy-ai-gateway",
    prefixes=("gen_ai_",),
    rules=(
        *_seconds("server_request_duration", "gateway_e2e_seconds", "Edges up to 82 s."),
        *_seconds("server_time_to_first_token", "gateway_ttft_seconds", "Streamed requests only."),
        *_seconds("server_time_per_output_token", "gateway_tpot_seconds"),
        _COUNT,
        replace(_COUNT, family="server_request_duration_count", fallback=True),
        *(rule for kind, ours in _KINDS for rule in _tokens(kind, ours)),
    ),
    absent=(
        Absent(
            ("gateway_requests_running", "gateway_requests_waiting"), "the gateway counts what ends"
        ),
        Absent(("gateway_requests_before_first_token",), "not told"),
        Absent(("gateway_requests_started_total",), "counted when they end"),
        Absent(
            (
                "gateway_requests_failed_total",
                "gateway_requests_refused_total",
                "gateway_requests_cancelled_total",
            ),
            "gateway_requests_total has the error as status",
        ),
        Absent(("gateway_requests_moved_total", "gateway_fallbacks_total"), "not told"),
        Absent(("gateway_itl_seconds",), "the mean per request is told, gateway_tpot_seconds"),
        Absent(
            ("gateway_queue_seconds", "gateway_upstream_seconds", "gateway_overhead_seconds"),
            "Envoy's own metrics have the times of the call behind it",
        ),
        Absent(("gateway_kv_hit_ratio", "gateway_scheduling_seconds"), "the endpoint picker's"),
        Absent(("gateway_spend_usd_total", "gateway_slo_violations_total"), "not told"),
        Absent(("gateway_model_ready_ratio", "gateway_upstream_state"), "not told"),
    ),
    ignored={},
    role="gateway",
    selective=True,
    reference="c217da8a5 (2026)",
    page="port 1064, /metrics of the external processor",
)
