"""What users of Prometheus and Grafana load to look at servescope itself: rules and dashboards.

`python -m servescope.reference` writes them to deploy/; tests fail when they are stale, or ask for
a metric or a label that nothing exposes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

RULES = "prometheus/servescope.rules.yml"
_HEAD = "# Generated from the code by `make docs`; changes made here are lost.\n"


@dataclass(frozen=True, slots=True)
class Graph:
    """One panel.

    Attributes:
        title: a question or a sentence.
        unit: of Grafana: s, bytes, reqps, percentunit, short.
        queries: PromQL and the legend of its series.
    """

    title: str
    unit: str
    queries: Sequence[tuple[str, str]]


def _p(level: float, name: str) -> str:
    return f"histogram_quantile({level}, sum by (le) (rate({name}_bucket[5m])))"


def _rate(name: str, *by: str) -> str:
    inside = f"rate({name}[5m])"
    return f"sum by ({', '.join(by)}) ({inside})" if by else f"sum({inside})"


_GATE = "servescope_gateway_"
_FIRST = f"{_GATE}time_to_first_token_seconds"
_HTTP = "servescope_http_request_duration_seconds"
RECORDED: Sequence[tuple[str, str]] = (
    ("servescope:gateway_requests:rate5m", _rate(f"{_GATE}requests_total")),
    ("servescope:gateway_attempts:rate5m", _rate(f"{_GATE}attempts_total", "status")),
    (
        "servescope:gateway_bad_attempts:ratio_rate5m",
        f'sum(rate({_GATE}attempts_total{{status!="ok"}}[5m]))'
        f" / sum(rate({_GATE}attempts_total[5m]))",
    ),
    ("servescope:gateway_tokens:rate5m", _rate(f"{_GATE}tokens_total", "kind")),
    ("servescope:gateway_first_token_seconds:p50_5m", _p(0.5, _FIRST)),
    ("servescope:gateway_first_token_seconds:p95_5m", _p(0.95, _FIRST)),
    ("servescope:gateway_queue_seconds:p95_5m", _p(0.95, f"{_GATE}queue_seconds")),
    ("servescope:gateway_request_seconds:p95_5m", _p(0.95, f"{_GATE}request_seconds")),
    ("servescope:http_request_seconds:p95_5m", _p(0.95, _HTTP)),
    ("servescope:dropped:rate5m", _rate("servescope_ingest_dropped_total", "door", "reason")),
    (
        "servescope:alerts_firing:sum",
        'sum by (severity) (servescope_alerts{state="firing"})',
    ),
)
WATCHED: Sequence[tuple[str, str, str, str, str]] = (
    (
        "ServescopeDown", 'up{job="servescope"} == 0', "3m", "page",
        "servescope does not answer: nobody looks at its alerts.",
    ),
    (
        "ServescopeCannotTell",
        "sum by (receiver)"
        ' (increase(servescope_alert_notifications_total{outcome="failed"}[15m])) > 0'
        " unless sum by (receiver)"
        ' (increase(servescope_alert_notifications_total{outcome="sent"}[15m])) > 0',
        "5m", "page", "servescope cannot tell {{ $labels.receiver }} of its alerts.",
    ),
    (
        "ServescopeRuleFails", "increase(servescope_alert_rule_failures_total[15m]) > 3", "0m",
        "ticket", "The rule {{ $labels.rule }} of servescope cannot be asked.",
    ),
    (
        "ServescopeWritesLate", "servescope_write_lag_seconds > 60", "5m", "ticket",
        "What servescope collects waits for more than a minute to be written.",
    ),
)  # fmt: skip
_SERVER = (
    Graph("Which alerts are open?", "short",
          [("sum by (state, severity) (servescope_alerts)", "{{state}} {{severity}}")]),
    Graph("Are receivers told?", "short",
          [(_rate("servescope_alert_notifications_total", "receiver", "outcome"),
            "{{receiver}} {{outcome}}")]),
    Graph("How many requests does the server answer?", "reqps",
          [(_rate("servescope_http_requests_total", "status"), "{{status}}")]),
    Graph("How long do they take?", "s",
          [(_p(0.5, _HTTP), "p50"), (_p(0.95, _HTTP), "p95")]),
    Graph("Are scrapes well?", "reqps",
          [(_rate("servescope_scrapes_total", "outcome"), "{{outcome}}")]),
    Graph("What is not taken in?", "reqps",
          [(_rate("servescope_ingest_dropped_total", "door", "reason"), "{{door}}: {{reason}}")]),
    Graph("How long do rows wait to be written?", "s",
          [("servescope_write_lag_seconds", "oldest")]),
    Graph("How large is the store?", "bytes", [("servescope_store_bytes", "store")]),
    Graph("Do jobs fail?", "short",
          [(_rate("servescope_job_runs_total", "job", "outcome"), "{{job}} {{outcome}}")]),
    Graph("Are views taken from the cache?", "reqps",
          [(_rate("servescope_view_requests_total", "outcome"), "{{outcome}}")]),
)  # fmt: skip
_GATEWAY = (
    Graph("How many requests arrive, and how do attempts end?", "reqps",
          [(_rate(f"{_GATE}requests_total"), "arrived"),
           (_rate(f"{_GATE}attempts_total", "status"), "{{status}}")]),
    Graph("Why do attempts end?", "reqps",
          [(_rate(f"{_GATE}attempts_total", "reason"), "{{reason}}")]),
    Graph("How long until the first token?", "s",
          [(_p(0.5, _FIRST), "p50"), (_p(0.95, _FIRST), "p95")]),
    Graph("How long in the line?", "s", [(_p(0.95, f"{_GATE}queue_seconds"), "p95")]),
    Graph("How many wait, how many run?", "short",
          [(f"sum({_GATE}waiting)", "waiting"),
           (f"sum by (instance) ({_GATE}running)", "{{instance}}")]),
    Graph("How are the replicas?", "short",
          [(f"sum by (state) ({_GATE}instances)", "{{state}}")]),
    Graph("How many tokens?", "short",
          [(_rate(f"{_GATE}tokens_total", "kind"), "{{kind}} tokens a second")]),
    Graph("Are tenants kept even?", "short",
          [(f"{_GATE}fairness_gap_service", "apart now"),
           (f"{_GATE}fairness_bound_service", "promised at most")]),
    Graph("Is anything lost?", "reqps",
          [(_rate(f"{_GATE}unrecorded_total"), "rows not recorded"),
           (_rate(f"{_GATE}turned_away_total", "reason"), "{{reason}}")]),
)  # fmt: skip
DASHBOARDS: dict[str, tuple[str, Sequence[Graph]]] = {
    "server": ("servescope: is the server well?", _SERVER),
    "gateway": ("servescope: what goes through the gateway?", _GATEWAY),
}


def files() -> dict[str, str]:
    """Path below deploy/ -> text of every generated file."""
    found = {RULES: rules_file()}
    for name, (title, graphs) in DASHBOARDS.items():
        made = dashboard(f"servescope-{name}", title, graphs)
        found[f"grafana/servescope-{name}.json"] = json.dumps(made, indent=1) + "\n"
    return found


def rules_file() -> str:
    """Recording rules, and the few alerts that servescope cannot raise about itself."""
    recorded = [{"record": name, "expr": expression} for name, expression in RECORDED]
    watched = [
        {
            "alert": name, "expr": expression, "for": hold, "labels": {"severity": severity},
            "annotations": {"summary": text},
        }
        for name, expression, hold, severity, text in WATCHED
    ]  # fmt: skip
    groups = [
        {"name": "servescope-recorded", "interval": "30s", "rules": recorded},
        {"name": "servescope-itself", "rules": watched},
    ]
    text: str = yaml.safe_dump({"groups": groups}, sort_keys=False, width=1000)
    return _HEAD + text


def dashboard(uid: str, title: str, graphs: Sequence[Graph]) -> dict[str, Any]:
    """A dashboard of Grafana (its JSON model, schema 39), two graphs a row."""
    source = {"type": "prometheus", "uid": "${datasource}"}
    variable = {"name": "datasource", "type": "datasource", "query": "prometheus",
                "label": "Prometheus"}  # fmt: skip
    panels = [
        {
            "id": number + 1, "type": "timeseries", "title": graph.title, "datasource": source,
            "gridPos": {"h": 8, "w": 12, "x": 12 * (number % 2), "y": 8 * (number // 2)},
            "fieldConfig": {"defaults": {"unit": graph.unit, "min": 0}, "overrides": []},
            "targets": [
                {"refId": chr(ord("A") + place), "datasource": source, "expr": expression,
                 "legendFormat": legend}
                for place, (expression, legend) in enumerate(graph.queries)
            ],
        }
        for number, graph in enumerate(graphs)
    ]  # fmt: skip
    return {
        "uid": uid, "title": title, "tags": ["servescope"], "schemaVersion": 39, "version": 1,
        "editable": True, "refresh": "30s", "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [variable]}, "panels": panels,
    }  # fmt: skip


def expressions() -> Iterator[str]:
    """Every query, of rules and dashboards."""
    yield from (expression for _, expression in RECORDED)
    yield from (expression for _, expression, *_ in WATCHED)
    for _, graphs in DASHBOARDS.values():
        yield from (expression for graph in graphs for expression, _ in graph.queries)
