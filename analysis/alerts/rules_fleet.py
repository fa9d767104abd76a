"""Instances, gateways and what they tell: degraded, unfair, silent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from analysis.agents import agent_table
from analysis.alerts.model import Link, Reading
from analysis.alerts.rules import Watch
from analysis.degradation import degradation
from analysis.degradation_words import slower
from analysis.gateways import gateways
from analysis.instances import instance_name
from analysis.trust import WHOLE_TARGET, called, usable
from store.queries import agents as agent_queries
from store.queries import telemetry
from store.queries.scope import LIVE_SOURCE_ID, Scope
from store.units import seconds_text

_SILENT = frozenset({"silent", "stale", "absent", "frozen"})


def fairness_bound(watch: Watch) -> Sequence[Reading]:
    """A reading a gateway; unknown while it is not heard of."""
    frame = gateways(watch.reader, _scope(watch), now=watch.now).frames["gateways"]
    found = []
    for row in frame.iter_rows(named=True):
        apart, bound = row["apart_service"], row["bound_service"]
        known = apart is not None and bound is not None
        words = f"{apart:,.0f} where {bound:,.0f} is promised" if known else "more than promised"
        text = (
            f"At gateway {row['name']} two tenants that wait are apart in service by {words}"
            f" ({row['breaches'] or 0:,} breaches since it started)."
        )
        active = None if row["state"] == "late" else bool(row["is_broken"])
        link = Link("fairness", {"source": "live"})
        found.append(Reading({"gateway": row["name"]}, active, text, apart, link))
    return found


def instance_degraded(watch: Watch) -> Sequence[Reading]:
    """A reading for each instance, by the view of the page Degradation; works without a model."""
    view = degradation(watch.reader, _scope(watch))
    return [_pace(row, watch) for row in view.frames["instances"].iter_rows(named=True)]


def _pace(row: Mapping[str, Any], watch: Watch) -> Reading:
    name, active = row["instance"], {"healthy": False, "slowed": True}.get(row["state"])
    text = f"{name} keeps the usual pace of its load."
    if active is None:
        text = f"Whether {name} is slowed is unknown: {row['why']}."
    elif active:
        low, high = row["slowdown_factor_low"], row["slowdown_factor_high"]
        active = bool(low >= watch.limits["slowdown_factor"])
        text = f"{name} {slower(row['slowdown_factor'], low, high, row['since'])}."
    link = Link("degradation", {"source": "live", "instance": name})
    return Reading({"instance": name}, active, text, row["slowdown_factor"], link)


def telemetry_stale(watch: Watch) -> Sequence[Reading]:
    """A reading for each target, agent and gateway."""
    return [*_targets(watch), *_agents(watch), *_gateways(watch)]


def _targets(watch: Watch) -> Iterator[Reading]:
    models = telemetry.targets(watch.reader, watch.now)
    of = dict(zip(models["target_id"], models["model"], strict=True))
    now = watch.now.replace(tzinfo=None)
    for one in usable(watch.reader, [WHOLE_TARGET], watch.now):
        age = (now - one.since).total_seconds() if one.since is not None else None
        for_long = f" for {seconds_text(age)}" if age is not None else ""
        text = f"{called(one.url)} is {one.grade}{for_long}: {one.evidence}"
        labels = {
            "instance": instance_name(one.url), "target": one.url,
            "model": of.get(one.target_id) or "",
        }  # fmt: skip
        yield Reading(labels, one.grade in _SILENT, text, age, Link("admin"))


def _agents(watch: Watch) -> Iterator[Reading]:
    table = agent_table(agent_queries.agents(watch.reader), watch.now)
    for row in table.iter_rows(named=True):
        age = row["last_seen_seconds"]
        text = f"Agent {row['name']} on {row['node']} was last heard of {seconds_text(age)} ago."
        yield Reading({"agent": row["name"]}, row["state"] == "silent", text, age, Link("admin"))


def _gateways(watch: Watch) -> Iterator[Reading]:
    frame = gateways(watch.reader, _scope(watch), now=watch.now).frames["gateways"]
    for row in frame.iter_rows(named=True):
        age = row["age_seconds"]
        text = f"Gateway {row['name']} was last heard of {seconds_text(age)} ago."
        yield Reading({"gateway": row["name"]}, row["state"] == "late", text, age, Link("admin"))


def _scope(watch: Watch) -> Scope:
    return Scope((LIVE_SOURCE_ID,), watch.now - timedelta(hours=1), watch.now)
