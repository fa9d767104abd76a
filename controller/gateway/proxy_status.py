"""What the gateway says of itself, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from controller.gateway.fleet import Instance
from controller.gateway.proxy import Proxy


def status_of(proxy: Proxy) -> Mapping[str, object]:
    """Everything that runs, for people and programs; no tenant's name is in it."""
    gate = proxy.gate
    policies = gate.policies
    return {
        "policies": {
            "line": policies.line.spec.name,
            "way": policies.way.spec.name,
            "rules": [rule.spec.name for rule in policies.rules],
            "places": [place.spec.name for place in policies.places],
        },
        "queue": {
            "waiting": len(gate.waiting),
            "running": len(proxy.flights) - len(gate.waiting),
            "large_bodies": len(proxy.taking.large),
            "unread": len(proxy.taking.small),
            "left_unread": proxy.taking.left,
        },
        "counts": {
            "arrived": gate.counted.arrived,
            "started": gate.counted.started,
            "ended": gate.counted.ended,
            "failed": gate.counted.failed,
            "left": gate.counted.left,
            "expired": gate.counted.expired,
            "hedged": dict(proxy.hedges.counted),
            "refused": dict(gate.counted.refused),
        },
        "instances": [
            {
                "name": upstream.name,
                "url": upstream.url,
                "state": state_of(proxy, upstream.name),
                "problem": upstream.problem,
                "models": sorted(upstream.models),
                "seats": one.seats if one else upstream.known.seats,
                "running": len(one.running) if one else 0,
                "cache_tokens": upstream.known.cache_tokens,
                "held_tokens": one.held_tokens if one else 0,
                "pace": _pace(one),
                "pace_rows": dict(
                    zip(("learnt", "ignored"), gate.paces.rows(upstream.name), strict=True)
                ),
                "degradation_ratio": one.degradation_ratio if one else None,
                "keeps_connection_after_stream": upstream.pool.keeps_after_stream,
                "connections_opened": upstream.pool.opened,
            }
            for upstream in proxy.health.upstreams.values()
            for one in [gate.instances.get(upstream.name)]
        ],
    }


def _pace(one: Instance | None) -> Mapping[str, object] | None:
    """None while it is unknown."""
    if one is None or one.pace is None:
        return None
    return {**asdict(one.pace), "is_learnt": one.is_pace_learnt}


def state_of(proxy: Proxy, name: str) -> str:
    """Of a replica, in one word."""
    one = proxy.gate.instances.get(name)
    if one is None:
        return "unreachable"
    return "draining" if one.state == "down" else one.state
