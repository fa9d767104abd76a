"""What a fleet of processes on this host is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

LLAMA_BUSY = ("llamacpp:requests_processing", "llamacpp:requests_deferred")
VLLM_BUSY = ("vllm:num_requests_running", "vllm:num_requests_waiting")


@dataclass(frozen=True, slots=True)
class LocalPool:
    """One pool of equal processes.

    Attributes:
        command: program and arguments; `{host}`, `{port}`, `{pool}` and `{replica}` are filled in.
        environment: variables besides those of this process.
        initial: replicas to begin with, when the fleet is used for the first time.
        most: more are refused.
        model: what it serves, for records; "" where that is not to be said.
        labels: labels of the published targets.
        health_path: answers 200 when requests are taken.
        metrics_path: tells how many requests are under way.
        busy_metrics: their sum is the number of requests that are running or waiting.
        ready_seconds: longest start; then it is ended and tried again.
        leave_seconds: time from being unpublished until requests are counted, for routers to
            notice.
        drain_seconds: longest wait for running requests; then it is ended all the same.
        stop_seconds: time from SIGTERM to SIGKILL.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    initial: int = 0
    most: int = 64
    model: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    health_path: str = "/health"
    metrics_path: str = "/metrics"
    busy_metrics: tuple[str, ...] = (*LLAMA_BUSY, *VLLM_BUSY)
    ready_seconds: float = 300.0
    leave_seconds: float = 1.0
    drain_seconds: float = 120.0
    stop_seconds: float = 10.0

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            ValueError: naming the setting.
        """
        if not self.command:
            raise ValueError("command is empty")
        if not any("{port}" in part for part in self.command):
            raise ValueError("command must say {port} where the port belongs")
        if not 0 <= self.initial <= self.most:
            raise ValueError("initial must be from 0 to most")
        for name in ("ready_seconds", "stop_seconds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0")
        for name in ("leave_seconds", "drain_seconds"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative")


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """A fleet of processes on this host.

    Attributes:
        pools: by name.
        folder: folder for its state, logs and published files; one controller at a time.
        first_port: first port of the range that replicas listen on, on loopback.
        last_port: last port of that range.
        hold_seconds: longest wait for another controller to let go of the folder.
        check_seconds: time between two looks at replicas that serve.
        start_check_seconds: time between two looks while one starts or leaves.
        answer_seconds: longest wait for an engine to say how it is.
        silent_seconds: time without an answer after which a replica that served is no longer
            published; a busy engine may be slow to say how it is.
        log_bytes: largest log of a replica; then the older half goes.
    """

    folder: Path
    pools: Mapping[str, LocalPool] = field(default_factory=dict)
    first_port: int = 8700
    last_port: int = 8763
    hold_seconds: float = 2.0
    check_seconds: float = 1.0
    start_check_seconds: float = 0.1
    answer_seconds: float = 2.0
    silent_seconds: float = 10.0
    log_bytes: int = 10_000_000

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            ValueError: naming the setting.
        """
        if not 1024 <= self.first_port <= self.last_port <= 65_535:
            raise ValueError("first_port and last_port must be a range within 1024 to 65535")
        if not 0 < self.start_check_seconds <= self.check_seconds:
            raise ValueError("start_check_seconds must be above 0, and not above check_seconds")
        above = {"answer_seconds": self.answer_seconds, "silent_seconds": self.silent_seconds}
        wrong = [name for name, seconds in above.items() if not seconds > 0]
        if wrong:
            raise ValueError(f"{wrong[0]} must be above 0")
        if not self.hold_seconds >= 0:
            raise ValueError("hold_seconds must not be negative")
        if self.log_bytes < 4096:
            raise ValueError("log_bytes must be at least 4096")
        _check_names(self.pools)


def _check_names(pools: Mapping[str, LocalPool]) -> None:
    for name in pools:
        if not name or "/" in name or not name.isprintable():
            raise ValueError(f"'{name}' is no name of a pool")
