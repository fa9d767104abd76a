"""Settings of the node agent."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_SPOOL = "~/.local/state/servescope/agent"


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Table `[agent]`: `servescope agent` on a node.

    Attributes:
        server: URL of the servescope server, such as https://servescope.example:8443.
        name: what the server calls this agent; empty means the name of the host.
        targets: URLs of engines and exporters on this node.
        token_file: file with the bearer token for the server; read again for every attempt.
        ca_file: file with the certificates to trust for the server; empty means the usual ones.
        host: read the host itself: processors, memory, disks, network, pressure, cgroup.
        cgroups: control groups (v2) to read besides the one the agent is confined to, below
            /sys/fs/cgroup, such as system.slice/vllm.service.
        gpu: read NVIDIA GPUs, when this node has the driver's library.
        otlp_listen: HOST:PORT, loopback only, where OTLP/HTTP is taken and passed on; empty means
            that it is not.
        otlp_max_body_bytes: larger OTLP bodies are refused.
        spool_folder: where what was not delivered yet waits; one agent a folder.
        spool_max_bytes: most bytes that wait; beyond it the oldest are dropped and counted.
        spool_max_age_seconds: what waited longer is dropped and counted.
        spool_sync_seconds: everything is in the kernel at once and so outlives the process; this
            much of it at most is lost in a power cut. 0 waits for the disk each time.
        spool_reserve_bytes: free disk space below which the spool shrinks to its newest part.
        batch_seconds: scrapes are packed together this often, in memory until then.
        retry_min_seconds: first pause after a failed delivery; doubles each time.
        retry_max_seconds: longest pause.
        delivery_timeout_seconds: how long one delivery may take.
        heartbeat_seconds: how often the agent tells how it stands.
    """

    server: str = ""
    name: str = ""
    targets: tuple[str, ...] = ()
    token_file: str = ""
    ca_file: str = ""
    host: bool = True
    cgroups: tuple[str, ...] = ()
    gpu: bool = True
    otlp_listen: str = ""
    otlp_max_body_bytes: int = 4 << 20
    spool_folder: str = DEFAULT_SPOOL
    spool_max_bytes: int = 256 << 20
    spool_max_age_seconds: float = 86_400.0
    spool_sync_seconds: float = 1.0
    spool_reserve_bytes: int = 128 << 20
    batch_seconds: float = 2.0
    retry_min_seconds: float = 0.5
    retry_max_seconds: float = 30.0
    delivery_timeout_seconds: float = 30.0
    heartbeat_seconds: float = 10.0

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            ValueError: naming the setting.
        """
        if self.spool_max_bytes < 1 << 20:
            raise ValueError("agent.spool_max_bytes must be at least 1048576")
        for name in (
            "otlp_max_body_bytes",
            "spool_max_age_seconds",
            "retry_min_seconds",
            "delivery_timeout_seconds",
            "heartbeat_seconds",
        ):
            if not getattr(self, name) > 0:
                raise ValueError(f"agent.{name} must be above 0")
        for name in ("spool_sync_seconds", "spool_reserve_bytes", "batch_seconds"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"agent.{name} must be 0 or more")
        if self.retry_max_seconds < self.retry_min_seconds:
            raise ValueError("agent.retry_max_seconds must not be below retry_min_seconds")
