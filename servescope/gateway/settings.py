"""Settings of the gateway: the table `[gateway]`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from controller.gateway.gate import GateLimits
from controller.gateway.http.limits import HttpLimits
from controller.gateway.proxy_settings import ProxySettings
from controller.gateway.queueing.registry import DEFAULT as LINE
from controller.gateway.span_names import NEWEST
from controller.gateway.upstream import HealthSettings

_HTTP, _PROXY, _HEALTH, _GATE = HttpLimits(), ProxySettings(), HealthSettings(), GateLimits()
DEFAULT_LISTEN = "127.0.0.1:8300"
Choice = str | dict[str, Any]
"""A policy by name, or a table with `name` and parameters."""
_AT_LEAST_ONE = (
    "seats", "head_bytes", "headers", "body_bytes", "bodies_bytes", "connections",
    "connections_of_client", "write_bytes", "most_waiting", "most_waiting_of_tenant",
)  # fmt: skip
_ABOVE_ZERO = (
    "deadline_seconds", "connect_seconds", "silence_seconds", "head_seconds", "body_seconds",
    "idle_seconds", "stalled_seconds", "linger_seconds", "probe_seconds", "probe_timeout_seconds",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """Table `[gateway]`: the proxy before the engines, and what decides in it.

    Attributes:
        listen: HOST:PORT for clients.
        upstreams: URLs of engines, each alone or as NAME=URL.
        upstreams_file: JSON that is watched for engines: `endpoints.json` of the local fleet, or
            target groups as Prometheus' file_sd has them.
        seats: requests an engine serves at once, where it does not say so itself (llama-server
            does); more wait in the gateway, where somebody is fair. Set vLLM's `--max-num-seqs`.
        cache_tokens: that the KV cache of an engine holds, whatever it says itself; 0 asks it.
        pace: seconds of a prompt token, of a step and of each sequence in a step, of every engine;
            empty learns them.
        line: who is next among those that wait: a name, or a table with `name` and parameters; see
            docs/gateway.md.
        way: which replica; as line.
        around: what goes around the way, the first innermost; each as line.
        rules: who may come in, asked in turn; each as line.
        places: whether a replica has room, all must agree; each as line.
        tenants_file: TOML with tenants, keys and classes, read again when it changes; empty takes
            OpenAI's `user`, or a header, for the tenant.
        name: what the server calls this gateway; empty takes the host's name.
        server: URL of the servescope server that gets a row of each attempt; empty keeps none.
        server_token_file: file with the bearer token for it.
        spool_folder: where rows wait for the server; empty is in the user's data folder.
        otlp_endpoint: of an OTLP/HTTP collector that gets spans; empty sends none.
        otlp_names: version of the spans' attribute names.
        otlp_token_file: file with the bearer token for it.
        ca_file: certificates to trust for both; empty means the usual ones.
        most_waiting: requests that wait; one more is answered 429.
        most_waiting_of_tenant: of one tenant.
        deadline_seconds: a request that is not over by then is ended with 504.
        deadline_header: of a client that wants a shorter one, in seconds; empty takes none.
        connect_seconds: to wait for a connection to an engine.
        silence_seconds: between two parts of an answer; then the engine counts as hung.
        hold_seconds: a request waits so long while no replica of its model is ready.
        retries: other attempts at a request of which nothing reached the client.
        hedge_seconds: a request of which nothing came from its replica for so long is sent to
            another that has a free seat, too; the first that answers counts. Left out, none is.
        hedge_share: of requests in the last minute that may be sent twice, at most: 0 to 1.
        whole_bytes: of an answer that is no stream, kept until it is whole.
        forwards_authorization: whether engines see the client's key.
        names_instance: whether answers name their replica, in the header `x-servescope-instance`.
        upstream_api_key: engines are sent instead.
        probe_seconds: between two looks at an engine that is well.
        probe_timeout_seconds: an engine that takes longer did not answer.
        drain_seconds: streams may go on so long after SIGTERM.
        tls_certificate: PEM file; empty serves plain HTTP.
        tls_key_file: PEM file; empty takes the certificate's.
        head_bytes: of a request's line and headers; more is answered 431.
        headers: how many; more is answered 431.
        body_bytes: of one request; more is answered 413.
        bodies_bytes: of all requests that wait or run; more is answered 503.
        head_seconds: from the first byte of a request to the end of its head.
        body_seconds: from there to the end of its body.
        idle_seconds: a connection without a request is kept open.
        stalled_seconds: an answer may wait for a client that does not read.
        linger_seconds: a refused client may go on sending, so that it reads why.
        connections: of clients, in all.
        connections_of_client: from one address.
        write_bytes: of an answer kept for a slow client before its engine is not read any more.
        log_level: debug, info, warning or error.
    """

    listen: str = DEFAULT_LISTEN
    upstreams: tuple[str, ...] = ()
    upstreams_file: str = ""
    seats: int = _HEALTH.seats
    cache_tokens: int = 0
    pace: tuple[float, ...] = ()
    line: Choice = LINE
    way: Choice = "least-outstanding"
    around: tuple[Choice, ...] = ()
    rules: tuple[Choice, ...] = ()
    places: tuple[Choice, ...] = ()
    tenants_file: str = ""
    name: str = ""
    server: str = ""
    server_token_file: str = ""
    spool_folder: str = ""
    otlp_endpoint: str = ""
    otlp_names: str = NEWEST
    otlp_token_file: str = ""
    ca_file: str = ""
    most_waiting: int = _GATE.most_waiting
    most_waiting_of_tenant: int = _GATE.most_waiting_of_tenant
    deadline_seconds: float = _PROXY.deadline_seconds
    deadline_header: str = _PROXY.deadline_header
    connect_seconds: float = _PROXY.connect_seconds
    silence_seconds: float = _PROXY.silence_seconds
    hold_seconds: float = _PROXY.hold_seconds
    retries: int = _PROXY.retries
    hedge_seconds: float | None = _PROXY.hedge_seconds
    hedge_share: float = _PROXY.hedge_share
    whole_bytes: int = _PROXY.whole_bytes
    forwards_authorization: bool = False
    names_instance: bool = _PROXY.names_instance
    upstream_api_key: str = ""
    probe_seconds: float = _HEALTH.probe_seconds
    probe_timeout_seconds: float = _HEALTH.timeout_seconds
    drain_seconds: float = 30.0
    tls_certificate: str = ""
    tls_key_file: str = ""
    head_bytes: int = _HTTP.head_bytes
    headers: int = _HTTP.headers
    body_bytes: int = _HTTP.body_bytes
    bodies_bytes: int = _HTTP.bodies_bytes
    head_seconds: float = _HTTP.head_seconds
    body_seconds: float = _HTTP.body_seconds
    idle_seconds: float = _HTTP.idle_seconds
    stalled_seconds: float = _HTTP.stalled_seconds
    linger_seconds: float = _HTTP.linger_seconds
    connections: int = _HTTP.connections
    connections_of_client: int = _HTTP.connections_of_client
    write_bytes: int = _HTTP.write_bytes
    log_level: str = "info"

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            ValueError: naming the setting.
        """
        _check_numbers(self)
        _check_hedging(self)
        for name in ("around", "rules", "places"):
            _check_names(name, getattr(self, name))
        _check_names("line", (self.line,))
        _check_names("way", (self.way,))
        if self.log_level not in {"debug", "info", "warning", "error"}:
            raise ValueError("gateway.log_level must be debug, info, warning or error")


def _check_names(name: str, choices: tuple[Choice, ...]) -> None:
    tables = [one for one in choices if not isinstance(one, str)]
    if any(not str(table.get("name", "")) for table in tables):
        raise ValueError(f"gateway.{name}: a table needs a name")


def _check_numbers(settings: GatewaySettings) -> None:
    for name in _AT_LEAST_ONE:
        if getattr(settings, name) < 1:
            raise ValueError(f"gateway.{name} must be at least 1")
    for name in _ABOVE_ZERO:
        if not 0 < getattr(settings, name) < math.inf:
            raise ValueError(f"gateway.{name} must be above 0")
    if len(settings.pace) not in (0, 3) or not all(0 <= one < math.inf for one in settings.pace):
        raise ValueError("gateway.pace must be three numbers of seconds, 0 or more, or nothing")
    for name in ("cache_tokens", "retries", "drain_seconds", "hold_seconds", "whole_bytes"):
        if getattr(settings, name) < 0:
            raise ValueError(f"gateway.{name} must not be negative")


def _check_hedging(settings: GatewaySettings) -> None:
    seconds = settings.hedge_seconds
    if seconds is not None and not 0 < seconds < math.inf:
        raise ValueError("gateway.hedge_seconds must be above 0; leave it out to send none twice")
    if not 0 <= settings.hedge_share <= 1:
        raise ValueError("gateway.hedge_share must be from 0 to 1")
