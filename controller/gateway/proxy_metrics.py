"""What the gateway tells Prometheus, from a registry of its own. Tenants are never labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from controller.gateway.attempt import Attempt
from controller.gateway.fleet import Instance
from controller.gateway.gate import Gate
from controller.gateway.hedging import OUTCOMES, Hedges
from controller.gateway.http.connections import Connections

CONTENT_TYPE = CONTENT_TYPE_LATEST
_EDGES = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_OF_INSTANCE: Mapping[str, tuple[str, Callable[[Instance], float | None]]] = {
    "seats": ("Requests that it serves at once.", lambda one: one.seats),
    "cache_tokens": ("That its KV cache holds.", lambda one: one.cache_tokens),
    "held_tokens": ("Of prompts and outputs of what runs there.", lambda one: one.held_tokens),
    "degradation_ratio": (
        "Slower than its peers lately; 0 not at all.", lambda one: one.degradation_ratio
    ),
    "prompt_token_seconds": (
        "Each prompt token takes.", lambda one: one.pace.prompt_token_seconds if one.pace else None
    ),
    "step_seconds": (
        "Each decoding step takes.", lambda one: one.pace.step_seconds if one.pace else None
    ),
    "sequence_seconds": (
        "Each sequence adds to a step.",
        lambda one: one.pace.sequence_seconds if one.pace else None,
    ),
    "request_seconds": (
        "More until a first token.", lambda one: one.pace.request_seconds if one.pace else None
    ),
}  # fmt: skip
"""What is unknown of a replica has no sample."""
_STATES = ("ready", "draining", "ejected", "down")


class ProxyMetrics:
    """Counts what ended."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self.attempts: Counter[tuple[str, str]] = Counter()
        self.turned_away: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self.unrecorded = 0
        self.turned_away_without_row = 0
        self._queue = self._histogram("queue_seconds", "In the gateway's line.")
        self._first = self._histogram("time_to_first_token_seconds", "From arrival.")
        self._whole = self._histogram("request_seconds", "From arrival to the end.")

    def saw(self, attempt: Attempt) -> None:
        """One attempt is over."""
        self.attempts[attempt.status, attempt.reason] += 1
        self.tokens["output"] += attempt.output_tokens or 0
        self.tokens["input"] += attempt.usage.input_tokens or 0
        if attempt.queue_seconds is not None:
            self._queue.observe(attempt.queue_seconds)
        if attempt.ttft_seconds is not None:
            self._first.observe(attempt.ttft_seconds)
        if attempt.status == "ok" and attempt.is_last:
            self._whole.observe(attempt.e2e_seconds)

    def watch(self, gate: Gate, connections: Connections, hedges: Hedges) -> None:
        """Tell of these as well."""
        self.registry.register(_Reading(self, gate, connections, hedges))

    def page(self) -> bytes:
        """All of it."""
        return generate_latest(self.registry)

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(f"servescope_gateway_{name}", text, buckets=_EDGES, registry=self.registry)


class _Reading(Collector):
    """Reads counters when Prometheus asks; keeps nothing."""

    def __init__(
        self, metrics: ProxyMetrics, gate: Gate, connections: Connections, hedges: Hedges
    ) -> None:
        self._metrics, self._gate, self._connections = metrics, gate, connections
        self._hedges = hedges

    def collect(self) -> Iterable[Metric]:
        """All families."""
        yield from self._requests()
        yield from self._gate_counts()
        yield from self._fleet()
        yield from self._instances()
        yield from self._clients()

    def _requests(self) -> Iterator[Metric]:
        attempts = CounterMetricFamily(
            "servescope_gateway_attempts", "Attempts that are over.", labels=("status", "reason")
        )
        for (status, reason), count in self._metrics.attempts.items():
            attempts.add_metric((status, reason), count)
        yield attempts
        away = CounterMetricFamily(
            "servescope_gateway_turned_away", "Requests that make no sense.", labels=("reason",)
        )
        for reason, count in self._metrics.turned_away.items():
            away.add_metric((reason,), count)
        yield away
        few = CounterMetricFamily(
            "servescope_gateway_turned_away_without_row",
            "Of those, beyond the rows that are kept a second.",
        )
        few.add_metric((), self._metrics.turned_away_without_row)
        yield few
        tokens = CounterMetricFamily(
            "servescope_gateway_tokens", "Tokens that engines told of.", labels=("kind",)
        )
        for kind, count in self._metrics.tokens.items():
            tokens.add_metric((kind,), count)
        yield tokens
        lost = CounterMetricFamily(
            "servescope_gateway_unrecorded", "Attempts that the recorder did not take."
        )
        lost.add_metric((), self._metrics.unrecorded)
        yield lost

    def _gate_counts(self) -> Iterator[Metric]:
        counted = self._gate.counted
        arrived = CounterMetricFamily("servescope_gateway_requests", "Requests that arrived.")
        arrived.add_metric((), counted.arrived)
        yield arrived
        twice = CounterMetricFamily(
            "servescope_gateway_hedges",
            "Requests sent to a second replica too, and of those won by it.",
            labels=("outcome",),
        )
        for outcome in OUTCOMES:
            twice.add_metric((outcome,), self._hedges.counted[outcome])
        yield twice
        moved = CounterMetricFamily(
            "servescope_gateway_handed_on",
            "Requests whose prompt was computed at another replica than their output.",
            labels=("outcome",),
        )
        for outcome, count in self._gate.handing.counted.items():
            moved.add_metric((outcome,), count)
        yield moved
        yield GaugeMetricFamily(
            "servescope_gateway_waiting", "Requests in the line.", len(self._gate.waiting)
        )

    def _fleet(self) -> Iterator[Metric]:
        running = GaugeMetricFamily(
            "servescope_gateway_running", "Requests at a replica.", labels=("instance",)
        )
        states = GaugeMetricFamily(
            "servescope_gateway_instances", "Replicas by state.", labels=("state",)
        )
        found: Counter[str] = Counter()
        for one in self._gate.instances.values():
            running.add_metric((one.name,), len(one.running))
            found[one.state] += 1
        for state in _STATES:
            states.add_metric((state,), found[state])
        yield running
        yield states

    def _instances(self) -> Iterator[Metric]:
        for name, (text, read) in _OF_INSTANCE.items():
            family = GaugeMetricFamily(
                f"servescope_gateway_instance_{name}", text, labels=("instance",)
            )
            for one in self._gate.instances.values():
                if (value := read(one)) is not None:
                    family.add_metric((one.name,), value)
            yield family

    def _clients(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "servescope_gateway_connections", "Of clients, open.", len(self._connections)
        )
        yield GaugeMetricFamily(
            "servescope_gateway_bodies_bytes",
            "Of requests, kept until their answers begin.",
            self._connections.bodies_bytes,
        )
        away = CounterMetricFamily(
            "servescope_gateway_connections_turned_away", "By reason.", labels=("reason",)
        )
        for reason, count in self._connections.counted.turned_away.items():
            away.add_metric((reason,), count)
        yield away
