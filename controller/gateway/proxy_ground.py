"""What a flight needs of the proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from controller.gateway.attempt import Attempt
from controller.gateway.gate import Gate
from controller.gateway.hedging import Hedges
from controller.gateway.hooks import Hooks
from controller.gateway.http.pool import Pool
from controller.gateway.proxy_settings import ProxySettings

if TYPE_CHECKING:
    from controller.gateway.proxy_flight import Flight


class Ground(Protocol):
    """The ground under it.

    Attributes:
        gate: is told of tokens, and knows what a tenant has left.
        settings: times and bounds.
        hedges: of requests that are sent twice.
        hooks: what others do.
    """

    gate: Gate
    hedges: Hedges
    hooks: Hooks
    settings: ProxySettings

    def now(self) -> float:
        """Seconds of the gateway's clock."""
        ...

    def pump(self) -> None:
        """A seat may be free."""
        ...

    def pool(self, instance: str) -> Pool | None:
        """Connections to a replica; None where it is gone."""
        ...

    def again(self, flight: Flight, *, is_failed: bool) -> None:
        """It failed there; let it wait for another turn."""
        ...

    def landed(self, flight: Flight, attempt: Attempt) -> None:
        """It is over."""
        ...

    def failed_at(self, instance: str, reason: str) -> None:
        """A replica failed a request."""
        ...

    def fine_at(self, flight: Flight, attempt: Attempt) -> None:
        """A replica served a request."""
        ...

    def record(self, attempt: Attempt) -> None:
        """One attempt is over, and another follows."""
        ...
