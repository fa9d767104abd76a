"""What people on this machine tell the gateway to do: rest a replica, or use it again."""

from __future__ import annotations

import orjson

from controller.gateway.http.answer import Answer
from controller.gateway.http.exchange import Exchange
from controller.gateway.openai.errors import error
from controller.gateway.proxy import Page, Proxy
from controller.gateway.proxy_status import state_of

MOST_NAMED = 20


def drain_page(proxy: Proxy) -> Page:
    """Answers `{"instance": NAME, "drain": true}`: it finishes what it has, and gets nothing new.

    A web page that somebody on this machine looks at cannot ask for it: it may not send JSON.
    """

    def drain(exchange: Exchange) -> Answer:
        kind = exchange.header(b"content-type") or b""
        if kind.partition(b";")[0].strip().lower() != b"application/json":
            return error(415, "send it as application/json", "invalid_body")
        name, is_drained = _told(exchange.body)
        if name is None or is_drained is None:
            text = 'send {"instance": NAME, "drain": true or false}'
            return error(400, text, "invalid_body")
        if not proxy.health.rest(name, is_resting=is_drained):
            known = ", ".join(list(proxy.health.upstreams)[:MOST_NAMED]) or "none"
            text = f"there is no replica '{name[:200]}'; there are: {known}"
            return error(404, text, "instance_not_found")
        one = proxy.gate.instances.get(name)
        running = len(one.running) if one else 0
        told = {"instance": name, "state": state_of(proxy, name), "running": running}
        return Answer(200, orjson.dumps(told))

    return drain


def _told(body: bytes) -> tuple[str | None, bool | None]:
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None, None
    if not isinstance(told, dict):
        return None, None
    name, is_drained = told.get("instance"), told.get("drain")
    return (
        name if isinstance(name, str) and name else None,
        is_drained if isinstance(is_drained, bool) else None,
    )
