"""All targets by name: module and constant, so that one run loads no more than its own."""

from __future__ import annotations

from importlib import import_module

from fuzzing.target import Target

_PLACES = {
    "exposition": "pages.EXPOSITION",
    "otlp-protobuf": "otlp.OTLP_PROTOBUF",
    "otlp-json": "otlp.OTLP_JSON",
    "remote-write": "push.REMOTE_WRITE",
    "rows": "push.ROWS_IN",
    "agents": "push.AGENTS",
    "spool": "push.SPOOL",
    "alerts": "push.ALERTS_IN",
    "gzip": "push.GZIP",
    "traces": "traces.TRACES",
    "slo": "files.SLO",
    "config": "files.CONFIG",
    "tenants": "files.TENANTS",
    "files": "files.OTHERS",
    "gateway-http": "wire.GATEWAY_HTTP",
    "gateway-answers": "wire.GATEWAY_ANSWERS",
    "gateway-bodies": "wire.GATEWAY_BODIES",
    "gateway-socket": "socket_target.GATEWAY_SOCKET",
    "server": "server.SERVER",
}
NAMES = tuple(_PLACES)


def load(name: str) -> Target:
    """A target; imports what it reads with.

    Raises:
        KeyError: there is none of that name.
    """
    module, constant = _PLACES[name].split(".")
    target: Target = getattr(import_module(f"fuzzing.{module}"), constant)
    return target
