"""What the server tells Prometheus about itself, in a registry of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from servescope.alerting.metrics import alerted
from servescope.runtime import Runtime

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS_EDGES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
UI_PREFIX = "/ui"
API_PREFIX = "/api/v1"


class RuntimeCollector(Collector):
    """Reads the running process's own counters when Prometheus asks; keeps nothing."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def collect(self) -> Iterable[Metric]:
        """All families."""
        yield from self._build()
        yield from self._writer()
        yield from self._cache()
        yield from self._loop_lag()
        yield from self._jobs()
        yield from self._scrapes()
        yield self._dropped()
        yield self._predicted()
        yield from self._controlled()
        yield from alerted(self._runtime.alerting)

    def _build(self) -> Iterator[Metric]:
        yield InfoMetricFamily(
            "servescope_build", "Version that runs.", value={"version": self._runtime.version}
        )

    def _writer(self) -> Iterator[Metric]:
        stats = self._runtime.database.writer.stats()
        gauges = {
            "servescope_write_queue_rows": ("Rows waiting to be written.", stats.queued_rows),
            "servescope_write_queue_batches": ("Batches waiting.", stats.queued_batches),
            "servescope_write_lag_seconds": (
                "How long the oldest waiting batch has waited.",
                stats.oldest_wait_seconds,
            ),
            "servescope_store_takes_rows": (
                "1 while the store takes rows; 0 when its disk is full or cannot be written.",
                int(self._runtime.database.standing.now().state == "ok"),
            ),
        }
        counters = {
            "servescope_store_commits": ("Transactions committed.", stats.commits),
            "servescope_store_rows_added": (
                "Rows added by scrapes and jobs; imports are counted by servescope_import_rows.",
                stats.rows_added,
            ),
            "servescope_store_rows_duplicate": (
                "Rows of scrapes and jobs that were there already.",
                stats.rows_duplicate,
            ),
            "servescope_write_batches_failed": ("Batches with bad content.", stats.batches_failed),
            "servescope_write_batches_refused": ("Turned away, full.", stats.batches_refused),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(name, text, value)
        for name, (text, value) in counters.items():
            yield CounterMetricFamily(name, text, value)
        imports = CounterMetricFamily(
            "servescope_import_rows", "Rows of imports, by what became of them.", labels=["outcome"]
        )
        for outcome, rows in self._runtime.imported.totals().items():
            imports.add_metric([outcome], rows)
        yield imports
        size = self._runtime.database.size_bytes()
        if size is not None:
            yield GaugeMetricFamily("servescope_store_bytes", "Size of the store's files.", size)

    def _cache(self) -> Iterator[Metric]:
        stats = self._runtime.cache.stats()
        family = CounterMetricFamily(
            "servescope_view_requests", "Views asked for, by how they were had.", labels=["outcome"]
        )
        family.add_metric(["hit"], stats.hits)
        family.add_metric(["computed"], stats.misses)
        family.add_metric(["shared"], stats.waits)
        yield family

    def _loop_lag(self) -> Iterator[Metric]:
        lag = self._runtime.loop_lag.measures()["loop_lag_p95_seconds"].value
        if lag is not None:
            text = "How late the event loop comes, p95 of five minutes."
            yield GaugeMetricFamily("servescope_event_loop_lag_seconds", text, lag)

    def _jobs(self) -> Iterator[Metric]:
        family = CounterMetricFamily("servescope_job_runs", "Job runs.", labels=["job", "outcome"])
        beside = self._runtime.beside
        for (job, outcome), count in dict(beside.jobs.runs if beside else {}).items():
            family.add_metric([job, outcome], count)
        yield family

    def _dropped(self) -> Metric:
        family = CounterMetricFamily(
            "servescope_ingest_dropped",
            "What came in and was not taken, by door and reason.",
            labels=["door", "reason"],
        )
        for (door, reason), count in sorted(self._runtime.drops.totals().items()):
            family.add_metric([door, reason], count)
        return family

    def _predicted(self) -> Metric:
        family = CounterMetricFamily(
            "servescope_ledger_requests",
            "Live requests that have ended: predicted, or left out to bound the work.",
            labels=["outcome"],
        )
        for outcome, count in self._runtime.predicting.totals().items():
            family.add_metric([outcome], count)
        return family

    def _controlled(self) -> Iterator[Metric]:
        counts = self._runtime.controlling.counts()
        if counts is None:
            return
        controlling = self._runtime.controlling
        name = "servescope_desired_replicas"
        desired = GaugeMetricFamily(
            name, "Replicas that a scaler should give a pool; absent in dry-run."
        )
        for labels, replicas in controlling.published():
            desired.add_sample(name, labels, replicas)
        yield desired
        targets = GaugeMetricFamily(
            "servescope_control_target_replicas",
            "Replicas that were decided last, done or not.",
            labels=["pool"],
        )
        for pool, replicas in controlling.targets().items():
            targets.add_metric([pool], replicas)
        yield targets
        families = (
            ("servescope_control_steps", "Steps of the control loop.", "fleet", counts.ticks),
            ("servescope_control_holds", "Pools kept as they are.", "reason", counts.holds),
            ("servescope_control_actions", "Attempts to scale.", "outcome", counts.actions),
            ("servescope_control_failures", "What failed in steps.", "kind", counts.failures),
        )
        for name, text, label, values in families:
            counter = CounterMetricFamily(name, text, labels=[label])
            for key, count in dict(values).items():
                counter.add_metric([key], count)
            yield counter
        seconds = GaugeMetricFamily(
            "servescope_control_step_seconds", "Length of the last step.", labels=["fleet"]
        )
        for fleet, value in dict(counts.seconds).items():
            seconds.add_metric([fleet], value)
        yield seconds

    def _scrapes(self) -> Iterator[Metric]:
        beside = self._runtime.beside
        counts = beside.collecting.counts() if beside else None
        if counts is None:
            return
        family = CounterMetricFamily("servescope_scrapes", "Scrapes made.", labels=["outcome"])
        for outcome, count in counts.scrapes.items():
            family.add_metric([outcome], count)
        yield family
        yield CounterMetricFamily(
            "servescope_scrapes_skipped", "Left out: the one before still went on.", counts.skipped
        )
        yield CounterMetricFamily(
            "servescope_scrapes_dropped", "Lost: the store was too slow.", counts.dropped
        )
        yield GaugeMetricFamily("servescope_scrapes_waiting", "Not stored yet.", counts.waiting)


class ServerMetrics:
    """The registry and the counters that requests feed.

    Args:
        runtime: whose state is told.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self.requests = Counter(
            "servescope_http_requests",
            "Requests served.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "servescope_http_request_duration_seconds",
            "Time to the last byte.",
            ["route"],
            buckets=SECONDS_EDGES,
            registry=self.registry,
        )
        ProcessCollector(namespace="servescope", registry=self.registry)
        self.registry.register(RuntimeCollector(runtime))

    def page(self) -> bytes:
        """The page for Prometheus, OpenMetrics 1.0."""
        text: bytes = generate_latest(self.registry)  # type: ignore[no-untyped-call]
        return text


class Measured:
    """ASGI middleware that counts and times every request.

    Args:
        app: what is measured.
        metrics: where it is counted.
        runtime: its clock measures.
    """

    def __init__(self, app: ASGIApp, *, metrics: ServerMetrics, runtime: Runtime) -> None:
        self._app = app
        self._metrics = metrics
        self._clock = runtime.clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500
        began = self._clock.monotonic()
        is_ui = scope["path"].startswith(UI_PREFIX)

        async def watching(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watching)
        finally:
            route = UI_PREFIX if is_ui else _template(scope)
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(method, route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(self._clock.monotonic() - began)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _template(scope: Scope) -> str:
    """The route's pattern, never the path itself: labels must stay few."""
    path = getattr(scope.get("route"), "path", None)
    if not path:
        return "unmatched"
    # An included router's route does not know the prefix it was included under.
    inside = scope["path"].startswith(f"{API_PREFIX}/") and not path.startswith(API_PREFIX)
    return f"{API_PREFIX}{path}" if inside else str(path)
