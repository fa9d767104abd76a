"""How rows are kept until the server has them, and the way to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from collector.agent.post import Poster
from collector.agent.settings import AgentSettings
from collector.http_access import Access
from store.errors import ConfigError


@dataclass(frozen=True, slots=True)
class RecorderSettings:
    """How rows are kept until the server has them.

    Attributes:
        server: its URL.
        name: what the server calls this gateway.
        folder: of the spool; one gateway a folder.
        token_file: file with the bearer token for the server; "" is none.
        ca_file: certificates to trust for the server; "" means the usual ones.
        flush_seconds: rows wait this long at most until they are packed.
        spool_max_bytes: most bytes that wait; beyond it the oldest are dropped and counted.
        spool_max_age_seconds: what waited longer is dropped and counted.
        spool_reserve_bytes: free disk space below which the spool shrinks to its newest part.
        sync_seconds: at most so much is lost in a power cut (nothing by `kill -9`).
        retry_max_seconds: longest pause between attempts to deliver.
        delivery_timeout_seconds: how long one delivery may take.
    """

    server: str
    name: str
    folder: Path
    token_file: str = ""
    ca_file: str = ""
    flush_seconds: float = 1.0
    spool_max_bytes: int = 256 << 20
    spool_max_age_seconds: float = 86_400.0
    spool_reserve_bytes: int = 128 << 20
    sync_seconds: float = 1.0
    retry_max_seconds: float = 10.0
    delivery_timeout_seconds: float = 30.0

    def spool(self) -> AgentSettings:
        """The same in the words of the spool."""
        return AgentSettings(
            spool_max_bytes=self.spool_max_bytes,
            spool_max_age_seconds=self.spool_max_age_seconds,
            spool_reserve_bytes=self.spool_reserve_bytes,
            retry_max_seconds=self.retry_max_seconds,
            delivery_timeout_seconds=self.delivery_timeout_seconds,
        )


def server_poster(settings: RecorderSettings) -> Poster:
    """A way to the server.

    Raises:
        ConfigError: its address is none.
    """
    address = settings.server if "://" in settings.server else f"http://{settings.server}"
    access = Access(ca_file=settings.ca_file, bearer_token_file=settings.token_file)
    try:
        return Poster(address, access, settings.delivery_timeout_seconds)
    except ValueError as error:
        raise ConfigError(
            f"'{settings.server}' is no address of a server", where="gateway.server",
            hint="write it like https://servescope.example:8443",
        ) from error  # fmt: skip
