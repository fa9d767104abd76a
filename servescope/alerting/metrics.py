"""What alerts tell Prometheus; no labels of tenants."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from servescope.alerting.service import Alerting


def alerted(alerting: Alerting) -> Iterator[Metric]:
    """Open alerts, words to receivers, rules that could not be asked, what was left out."""
    held = GaugeMetricFamily(
        "servescope_alerts", "Alerts that are open.", labels=["state", "severity"]
    )
    for (state, severity), count in alerting.counts().items():
        held.add_metric([state, severity], count)
    yield held
    told = CounterMetricFamily(
        "servescope_alert_notifications", "Words to receivers.", labels=["receiver", "outcome"]
    )
    for receiver in alerting.settings.receivers():
        for outcome in ("sent", "failed"):
            told.add_metric([receiver.name, outcome], alerting.notified[receiver.name, outcome])
    yield told
    failed = CounterMetricFamily(
        "servescope_alert_rule_failures", "Rules that could not be asked.", labels=["rule"]
    )
    for rule, count in dict(alerting.asking.failures).items():
        failed.add_metric([rule], count)
    yield failed
    yield CounterMetricFamily(
        "servescope_alerts_left_out", "New alerts beyond alerts.most_open.", alerting.book.left_out
    )
    received = CounterMetricFamily(
        "servescope_alerts_received", "Alerts of an Alertmanager, by what they were.",
        labels=["outcome"],
    )  # fmt: skip
    for outcome in ("new", "again"):
        received.add_metric([outcome], alerting.received[outcome])
    yield received
