"""What the gateway answers itself: its health, its counts, the models behind it."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from controller.gateway.http.answer import Answer
from controller.gateway.http.exchange import Exchange
from controller.gateway.openai.errors import error
from controller.gateway.proxy import Page, Proxy
from controller.gateway.proxy_metrics import CONTENT_TYPE
from controller.gateway.proxy_orders import drain_page
from controller.gateway.proxy_server import ProxyServer
from controller.gateway.proxy_status import status_of


def pages(
    proxy: Proxy, server: ProxyServer, more: Callable[[], Mapping[str, Any]] = dict
) -> dict[tuple[bytes, bytes], Page]:
    """Method and path -> what answers.

    Args:
        proxy: serves.
        server: listens.
        more: what else the status tells.
    """

    def healthz(exchange: Exchange) -> Answer:
        return _json({"status": "alive"})

    def readyz(exchange: Exchange) -> Answer:
        if server.is_draining:
            return error(503, "the gateway is stopping", "draining")
        ready = sum(one.state == "ready" for one in proxy.gate.instances.values())
        if not ready:
            return error(503, "no engine is ready", "no_replica")
        return _json({"status": "ready", "instances_ready": ready})

    def metrics(exchange: Exchange) -> Answer:
        return Answer(200, proxy.metrics.page(), (), CONTENT_TYPE.encode())

    def models(exchange: Exchange) -> Answer:
        return _json({"object": "list", "data": list(proxy.health.models.values())})

    def status(exchange: Exchange) -> Answer:
        return _json({"draining": server.is_draining, **status_of(proxy), **more()})

    return {
        (b"GET", b"/healthz"): healthz,
        (b"GET", b"/health"): healthz,
        (b"GET", b"/readyz"): readyz,
        (b"GET", b"/metrics"): metrics,
        (b"GET", b"/v1/models"): models,
        (b"GET", b"/gateway/status"): local_only(status),
        (b"POST", b"/gateway/drain"): local_only(drain_page(proxy)),
    }


def local_only(page: Callable[[Exchange], Answer]) -> Page:
    """A page for this machine alone: it says what runs where."""

    def guarded(exchange: Exchange) -> Answer:
        if not is_loopback(exchange.peer):
            return error(403, "this is answered on the gateway's own machine alone", "local_only")
        return page(exchange)

    return guarded


def is_loopback(address: str) -> bool:
    """Whether somebody on this machine asks."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "local"


def _json(told: Any) -> Answer:
    return Answer(200, orjson.dumps(told))
