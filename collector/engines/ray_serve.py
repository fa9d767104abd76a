"""Ray Serve: what its proxies and replicas tell about requests, whatever runs in them.

Checked against a page of Ray 2.60. vLLM inside Ray shows itself under `ray_vllm_…` and is read by
vLLM's table; on a page with both, vLLM's numbers win. Latencies are milliseconds.
"""

from __future__ import annotations

from collector.engines.adapter import Absent, Engine, Rule, left_out

_NONE: dict[str, str] = {}
_MILLISECONDS = 1e-3

RAY_SERVE = Engine(
    name="ray-serve",
    prefixes=("ray_serve_",),
    rules=(
        Rule(
            "replica_processing_queries",
            "requests_running",
            _NONE,
            note="Requests inside replicas, those that wait for an engine included.",
        ),
        Rule(
            "deployment_queued_queries",
            "requests_waiting",
            _NONE,
            note="Waiting at a router for a replica.",
        ),
        Rule("num_http_requests_total", "requests_finished_total", _NONE, note="Errors included."),
        Rule(
            "num_http_error_requests_total", "requests_failed_total", {"error_code": "reason"}
        ),
        Rule(
            "num_http_error_requests_total",
            "requests_refused_total",
            {"error_code": "reason"},
            where=(("error_code", "503"),),
            note="max_queued_requests was reached; other causes of 503 count too.",
        ),
        Rule(
            "http_request_latency_ms",
            "e2e_seconds",
            _NONE,
            factor=_MILLISECONDS,
            note="At the proxy, to the end of the answer.",
        ),
        Rule(
            "request_router_fulfillment_time_ms",
            "queue_seconds",
            _NONE,
            factor=_MILLISECONDS,
            note="From a router's queue to a replica; waiting inside the replica is not in it.",
        ),
        Rule(
            "deployment_processing_latency_ms",
            "inference_seconds",
            _NONE,
            factor=_MILLISECONDS,
            note="Inside a replica; a deployment that calls another counts both.",
        ),
        Rule(
            "replica_startup_latency_ms", "replica_start_seconds", _NONE, factor=_MILLISECONDS
        ),
        Rule("autoscaling_target_replicas", "replicas_target", _NONE),
        Rule("deployment_replica_healthy", "replicas_healthy", _NONE),
    ),
    absent=(
        Absent(
            (
                "ttft_seconds", "itl_seconds", "tpot_seconds", "prompt_tokens_total",
                "generation_tokens_total", "kv_cache_usage_ratio",
            ),
            "Ray Serve knows no tokens; an engine inside it has its own families",
        ),
    ),
    ignored=left_out(
        "the inner life of Ray Serve",
        "event_loop_scheduling_latency_ms", "event_loop_monitoring_iterations",
        "event_loop_tasks", "long_poll_latency_ms", "long_poll_pending_clients",
        "long_poll_host_transmission_counter", "router_args_resolution_latency_ms",
        "health_check_latency_ms", "replica_initialization_latency_ms", "proxy_status",
        "controller_num_control_loops", "controller_control_loop_duration_s",
        "controller_sleep_duration_s", "controller_proxy_state_update_duration_s",
        "controller_node_update_duration_s", "controller_deployment_state_update_duration_s",
        "controller_application_state_update_duration_s", "application_status",
        "num_deployment_http_error_requests", "deployment_status",
        "num_scheduling_tasks_in_backoff", "num_scheduling_tasks",
        "num_ongoing_requests_at_replicas", "handle_request_counter",
        "num_ongoing_http_requests", "num_router_requests", "request_router_queue_len",
        "deployment_replica_starts", "deployment_request_counter",
        "replica_utilization_percent", "deployment_max_processing_latency_ms",
    ),
    role="gateway",
    reference="2.60.0",
    page="/metrics on --metrics-export-port",
)  # fmt: skip
