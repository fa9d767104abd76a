"""Names and labels of OTLP metrics, spelled as on a Prometheus page.

Adapters know series by the names of exposition pages. A collector that scraped a page sends these
names as they are; instruments of the OpenTelemetry API have dots and a unit, and are translated by
the rules that the collector's own Prometheus exporter uses. Source: OpenTelemetry specification,
"Prometheus and OpenMetrics Compatibility".
"""

from __future__ import annotations

import re
from urllib.parse import quote

from collector.otlp.model import SUM, Attributes, Metric, Value
from collector.otlp.resources import Sender

_UNITS = {
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "By": "bytes",
    "KiBy": "kibibytes",
    "MiBy": "mebibytes",
    "W": "watts",
    "J": "joules",
    "Cel": "celsius",
    "Hz": "hertz",
    "%": "percent",
}
_NOT_A_NAME = re.compile(r"[^a-zA-Z0-9_:]+")
Labels = tuple[tuple[str, str], ...]


def series_name(metric: Metric) -> str:
    """The family's name on a page, without the suffixes of histograms.

    >>> series_name(Metric("gen_ai.server.request.duration", "s", "histogram", 2, False, (), 0))
    'gen_ai_server_request_duration_seconds'
    """
    if "." not in metric.name:
        return metric.name
    name = _NOT_A_NAME.sub("_", metric.name)
    unit = _UNITS.get(metric.unit)
    if unit and not name.endswith(f"_{unit}"):
        name = f"{name}_{unit}"
    if metric.kind == SUM and metric.monotonic and not name.endswith("_total"):
        name = f"{name}_total"
    return name


def series_labels(attributes: Attributes) -> Labels:
    """Labels as on a page, sorted; names that fall together keep the last value."""
    told = {_NOT_A_NAME.sub("_", name): _text(value) for name, value in attributes.items()}
    return tuple(sorted(told.items()))


def target_url(sender: Sender) -> str:
    """The address under which a sender's samples are kept."""
    service, instance = sender.service or "unknown", sender.instance or "unknown"
    return f"otlp://{quote(service, safe='')}/{quote(instance, safe=':')}"


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(str(item) for item in value)
    return str(value)
