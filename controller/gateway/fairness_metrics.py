"""How far apart tenants are that wait, for Prometheus. Tenants are never labels."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from controller.gateway.fairness_watch import FairnessWatch

_GAUGES = (
    ("gap_service", "apart_service", "Of two tenants that wait now, apart at most."),
    ("greatest_gap_service", "greatest_gap_service", "The same since the line in force began."),
    ("bound_service", "bound_service", "That the line promises to keep apart at most."),
)


class FairnessReading(Collector):
    """Reads the watch when Prometheus asks; what is not known has no sample."""

    def __init__(self, watch: FairnessWatch) -> None:
        self._watch = watch

    def collect(self) -> Iterable[Metric]:
        """All families; service is tokens by the line's weights, over the tenant's weight."""
        told = self._watch.state()
        for name, field, text in _GAUGES:
            family = GaugeMetricFamily(f"servescope_gateway_fairness_{name}", text)
            if told[field] is not None:
                family.add_metric((), told[field])
            yield family
        breaches = CounterMetricFamily(
            "servescope_gateway_fairness_breaches", "Pairs of tenants beyond the bound."
        )
        breaches.add_metric((), told["breaches"])
        yield breaches
