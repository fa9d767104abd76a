"""How the proxy treats requests and engines."""

from __future__ import annotations

from dataclasses import dataclass

RETRIED_STATUS = frozenset({502, 503, 504})
"""Of an engine: it did not take the request, so another may."""


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """Times and bounds between arrival and answer.

    Attributes:
        deadline_seconds: a request that is not over by then is ended with 504.
        deadline_header: of a client that wants a shorter one, in seconds; "" takes none.
        connect_seconds: to wait for a connection to an engine.
        silence_seconds: between two parts of an answer; then the engine counts as hung.
        hold_seconds: a request waits so long while no replica of its model is fit.
        retries: other attempts at a request of which nothing reached the client.
        hedge_seconds: a replica may let a request wait so long for the first byte of its answer;
            then it is sent to another too. None sends none twice.
        hedge_share: of requests in the last minute, at most: 0 to 1.
        whole_bytes: of an answer that is no stream, kept until it is whole; larger ones are passed
            on as they come, and cannot be tried again.
        forwards_authorization: whether engines see the client's key.
        names_instance: whether answers name their replica (`x-servescope-instance`).
        upstream_key: engines are sent instead; "" sends none.
    """

    deadline_seconds: float = 600.0
    deadline_header: str = "x-request-timeout"
    connect_seconds: float = 5.0
    silence_seconds: float = 120.0
    hold_seconds: float = 10.0
    retries: int = 2
    hedge_seconds: float | None = None
    hedge_share: float = 0.05
    whole_bytes: int = 1 << 20
    forwards_authorization: bool = False
    names_instance: bool = True
    upstream_key: str = ""
