"""Which engines are there, and whether they are well: asked now and then, and told by requests.

A replica joins the gate when it answered for the first time. One that cannot be reached is left out
at once and asked again and again, each time a little later; one that answers badly or slowly is
left out by the rules of `ejection`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from controller.gateway.ejection import Ejector
from controller.gateway.engine_facts import UNKNOWN, Facts
from controller.gateway.fleet import Instance, Pace, Role, State
from controller.gateway.gate import Gate
from controller.gateway.http.pool import Pool, address
from controller.gateway.paces import Measured
from controller.gateway.upstream import HealthSettings, Upstream
from controller.gateway.upstream_probe import Probe
from store.clock import Clock

log = logging.getLogger(__name__)


class Health:
    """See the head of this module.

    Args:
        gate: is told who may be sent requests.
        clock: the time.
        settings: how often.
        connect_seconds: to wait for a connection.
        changed: called when a replica became fit.
        ejector: judges those that answer.
    """

    def __init__(
        self,
        gate: Gate,
        clock: Clock,
        settings: HealthSettings,
        connect_seconds: float,
        ejector: Ejector | None = None,
    ) -> None:
        self.upstreams: dict[str, Upstream] = {}
        self.ejector = ejector or Ejector()
        self.changed: Callable[[], None] = _nothing
        self._gate = gate
        self._clock = clock
        self._settings = settings
        self._probe = Probe(clock, settings)
        self._connect_seconds = connect_seconds
        self._known_models: dict[str, float] = {}
        self._asking: set[asyncio.Task[None]] = set()

    # -- who is there

    def add(
        self,
        name: str,
        url: str,
        *,
        models: frozenset[str] = frozenset(),
        told: Facts | None = None,
        pace: Pace | None = None,
        role: Role = "whole",
    ) -> None:
        """An engine is there; it is asked at once.

        Args:
            name: unique.
            url: its address.
            models: it answers to; empty asks it.
            told: seats and cache; what is None is asked of it.
            pace: None learns it.
            role: of a replica.

        Raises:
            ConfigError: the address is none.
        """
        known = self.upstreams.get(name)
        if known is not None and not known.is_leaving:
            return
        pool = Pool(address(url), self._clock, self._connect_seconds)
        settings, told = self._settings, told or UNKNOWN
        self.upstreams[name] = Upstream(
            name, url, pool, Facts(told.seats, told.cache_tokens or settings.cache_tokens),
            pace or settings.pace, role, models,
        )  # fmt: skip

    def remove(self, name: str) -> None:
        """It leaves: what it has goes on, nothing new comes."""
        upstream = self.upstreams.get(name)
        if upstream is None or upstream.is_leaving:
            return
        upstream.is_leaving = True
        self.ejector.gone(name)
        if name in self._gate.instances:
            self._gate.leave(name)
        self._forget_if_over(upstream)

    def rest(self, name: str, *, is_resting: bool) -> bool:
        """Send it nothing new until somebody says otherwise; whether there is such a replica."""
        upstream = self.upstreams.get(name)
        if upstream is None or upstream.is_leaving:
            return False
        if upstream.is_resting != is_resting:
            log.info("upstream_rests" if is_resting else "upstream_used_again",
                     extra={"upstream": name})  # fmt: skip
        upstream.is_resting = is_resting
        self._set_state(upstream, self._clock.monotonic())
        return True

    def knows(self, model: str) -> bool:
        """Whether somebody serves that model, or did lately."""
        seen = self._known_models.get(model)
        return (
            seen is not None and self._clock.monotonic() - seen < self._settings.remembered_seconds
        )

    @property
    def models(self) -> dict[str, dict[str, Any]]:
        """Models that can be asked for, as their engines describe them."""
        found: dict[str, dict[str, Any]] = {}
        for upstream in self.upstreams.values():
            if upstream.is_leaving:
                continue
            told = {one["id"]: one for one in upstream.documents}
            for model in sorted(upstream.models):
                document = told.get(model, {"id": model, "object": "model", "owned_by": "engine"})
                found.setdefault(model, document)
        return found

    # -- what requests say

    def failed(self, name: str, reason: str) -> None:
        """A replica failed a request."""
        upstream = self.upstreams.get(name)
        if upstream is None or upstream.is_leaving:
            return
        now = self._clock.monotonic()
        self.ejector.saw(name, now, is_failed=True)
        if reason == "upstream_unreachable":
            self._is_ill(upstream, "cannot be reached", now)
        else:
            # Whether it is the engine or the request is asked at once.
            upstream.next_at = min(upstream.next_at, now)
        self._judge(now)

    def fine(self, name: str, measured: Measured) -> None:
        """A replica served a request."""
        if name in self.upstreams:
            self.ejector.saw(
                name, self._clock.monotonic(), is_failed=False, first=measured.first,
                gap=measured.gap, is_multiple=measured.is_multiple,
            )  # fmt: skip

    # -- asking

    async def first(self, seconds: float) -> None:
        """Ask all, and wait for those that answer within so long."""
        self.tend()
        if self._asking:
            await asyncio.wait(tuple(self._asking), timeout=seconds)

    def tend(self) -> None:
        """Ask whoever is due; called some times a second."""
        now = self._clock.monotonic()
        self._judge(now)
        due = set(self.ejector.due(now))
        for upstream in tuple(self.upstreams.values()):
            upstream.pool.tend()
            if upstream.is_leaving:
                self._forget_if_over(upstream)
            elif not upstream.is_asked and (upstream.next_at <= now or upstream.name in due):
                upstream.is_asked = True
                task = asyncio.get_running_loop().create_task(self._ask(upstream))
                self._asking.add(task)
                task.add_done_callback(self._asking.discard)
        for model in self.models:
            self._known_models[model] = now

    async def aclose(self) -> None:
        """Ask no more, close what is idle."""
        for task in tuple(self._asking):
            task.cancel()
        if self._asking:
            await asyncio.wait(tuple(self._asking))
        for upstream in self.upstreams.values():
            upstream.pool.close()

    async def _ask(self, upstream: Upstream) -> None:
        try:
            problem = await self._probe.look(upstream)
        finally:
            upstream.is_asked = False
        if upstream.is_leaving:
            return
        now = self._clock.monotonic()
        if problem:
            self._is_ill(upstream, problem, now)
        else:
            self._is_fine(upstream, now)
        if self.ejector.is_out(upstream.name) and upstream.name in self.ejector.due(now):
            self.ejector.probed(upstream.name, now, is_good=not problem)
        self._set_state(upstream, now)

    # -- what follows

    def _is_ill(self, upstream: Upstream, problem: str, now: float) -> None:
        settings = self._settings
        upstream.in_a_row += 1
        wait = settings.again_seconds * 2.0 ** min(upstream.in_a_row - 1, 20)
        upstream.next_at = now + min(wait, settings.most_again_seconds)
        if upstream.is_well is not False:
            log.warning("upstream_ill", extra={"upstream": upstream.name, "problem": problem})
        # A restarted engine may serve another model.
        upstream.is_well, upstream.problem, upstream.models_at = False, problem, -1e9
        upstream.facts = None
        self._set_state(upstream, now)

    def _is_fine(self, upstream: Upstream, now: float) -> None:
        upstream.in_a_row, upstream.problem = 0, ""
        upstream.next_at = now + self._settings.probe_seconds
        if not upstream.is_well:
            log.info("upstream_well", extra={"upstream": upstream.name, "url": upstream.url})
            self.ejector.returned(upstream.name)
            self._gate.prefixes.emptied(upstream.name)
        upstream.is_well = True

    def _set_state(self, upstream: Upstream, now: float) -> None:
        instance = self._gate.instances.get(upstream.name)
        is_out = upstream.is_resting or self.ejector.is_out(upstream.name)
        is_fit = upstream.is_well is True and not is_out
        if instance is None:
            if is_fit:
                self._join(upstream, now)
            return
        if instance.models != upstream.models:
            instance.models = upstream.models
            self._gate.paces.joined(instance)
        if is_fit:
            self._size(upstream, instance)
        unfit: State = "draining" if upstream.is_resting else "ejected"
        instance.mark("ready" if is_fit else unfit, now)
        if is_fit:
            self.changed()

    def _join(self, upstream: Upstream, now: float) -> None:
        for model in upstream.models:
            self._known_models[model] = now
        instance = Instance(
            upstream.name, upstream.url, upstream.models, upstream.role, ready_since=now,
            pace=upstream.pace,
        )  # fmt: skip
        self._gate.join(instance)
        self._size(upstream, instance)
        self.changed()

    def _size(self, upstream: Upstream, instance: Instance) -> None:
        """It may have come back with another size."""
        known = upstream.known
        instance.seats = known.seats or self._settings.seats
        if instance.cache_tokens != known.cache_tokens:
            instance.cache_tokens = known.cache_tokens
            self._gate.prefixes.size(instance.name, known.cache_tokens)

    def _judge(self, now: float) -> None:
        groups = {
            one.name: ",".join(sorted(one.models))
            for one in self.upstreams.values()
            if one.is_well and not one.is_leaving
        }
        for ejected in self.ejector.judge(now, groups):
            log.warning("upstream_ejected", extra={"upstream": ejected.name, "why": ejected.text})
            self.upstreams[ejected.name].problem = ejected.text
            if ejected.name in self._gate.instances:
                self._gate.instances[ejected.name].mark("ejected", now)
        for name, instance in self._gate.instances.items():
            instance.degradation_ratio = self.ejector.degradation_ratio(name)

    def _forget_if_over(self, upstream: Upstream) -> None:
        if upstream.name not in self._gate.instances:
            upstream.pool.close()
            self.upstreams.pop(upstream.name, None)


def _nothing() -> None:
    return
