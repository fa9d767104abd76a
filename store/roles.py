"""Which targets are instances of an engine, and which only tell about machines or pass requests on.

Counting an exporter or a gateway among the instances of a fleet would make the fleet larger than it
is, and a silent exporter an instance that is down.
"""

from __future__ import annotations

GATEWAYS = frozenset({"dynamo-frontend", "envoy-ai-gateway", "litellm", "llm-d-router"})
EXPORTERS = frozenset(
    {
        "amd-device-metrics-exporter",
        "cadvisor",
        "dcgm-exporter",
        "kube-state-metrics",
        "node_exporter",
    }
)
_TELL_ABOUT_MACHINES = ("agent://", "gpu://", "host://")


def is_instance(engine: str | None, url: str) -> bool:
    """Whether a target runs a model; one that has not told yet what it is counts as one.

    >>> is_instance("vllm", "http://a:8000/metrics"), is_instance("dcgm-exporter", "http://a:9400")
    (True, False)
    >>> is_instance("vllm", "agent://a/http://127.0.0.1:8000/metrics")
    True
    """
    if engine is None:
        return not url.startswith(_TELL_ABOUT_MACHINES)
    return engine not in GATEWAYS and engine not in EXPORTERS
