"""Settings of discovery."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DiscoverySettings:
    """Table `[discovery]`: where targets are found besides `server.targets`.

    Attributes:
        sources: such as file:/etc/servescope/engines.yml, https://inventory/targets,
            dns:_metrics._tcp.llm.example.org, dns:a:vllm.llm.svc:8000, kubernetes:pod,
            kubernetes:endpointslice/namespace.
        file: TOML file with sources, targets, rules and the secrets' files of each; see
            docs/collecting.md.
        refresh_seconds: how often a source is asked again; files are looked at every 5 seconds.
        grace_seconds: a target that a source does not name any more is scraped for this long
            before it is marked as removed.
    """

    sources: tuple[str, ...] = ()
    file: str = ""
    refresh_seconds: float = 30.0
    grace_seconds: float = 60.0

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            ValueError: naming the setting.
        """
        if not self.refresh_seconds >= 1:
            raise ValueError("discovery.refresh_seconds must be at least 1")
        if not self.grace_seconds >= 0:
            raise ValueError("discovery.grace_seconds must not be negative")
