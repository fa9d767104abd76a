"""What another alert explains already: nobody is told of it while that one fires."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from analysis.alerts.model import Alert


@dataclass(frozen=True, slots=True)
class Inhibition:
    """Alerts that others explain.

    Attributes:
        source: rule that explains.
        targets: rules whose alerts it explains.
        labels: where both alerts carry one of these labels, it must be the same.
    """

    source: str
    targets: tuple[str, ...]
    labels: tuple[str, ...]


INHIBITIONS: tuple[Inhibition, ...] = (
    Inhibition("outage", ("slo-burn-slow", "forecast-miss", "telemetry-stale"), ("model",)),
    Inhibition("telemetry-stale", ("instance-degraded",), ("instance",)),
    Inhibition("slo-burn-fast", ("slo-burn-slow",), ("slo",)),
)
"""An outage stands above the tickets it makes, a silent source above what is derived from it, a
fast burn above the slow one of the same objective. No page is ever hidden by another alert."""


def inhibited(alerts: Iterable[Alert]) -> dict[str, Alert]:
    """Fingerprint -> the alert that explains it, of those that fire.

    Args:
        alerts: that fire now; others are left out.
    """
    firing = [alert for alert in alerts if alert.state == "firing"]
    found: dict[str, Alert] = {}
    for rule in INHIBITIONS:
        for source in (alert for alert in firing if alert.rule == rule.source):
            for target in firing:
                if target.rule in rule.targets and _same(rule, source.labels, target.labels):
                    found.setdefault(target.fingerprint, source)
    return found


def _same(rule: Inhibition, source: Mapping[str, str], target: Mapping[str, str]) -> bool:
    both = [name for name in rule.labels if name in source and name in target]
    return all(source[name] == target[name] for name in both)
