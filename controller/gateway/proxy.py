"""The proxy: takes whole requests, asks the gate, lets them fly, and keeps count.

client -> http/server -> Proxy -> Gate -> Flight -> http/client -> engine
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import secrets
from collections.abc import Callable

from controller.gateway.admission.allowances import allowances
from controller.gateway.admission.base import Refusal
from controller.gateway.admission.put_back import to_put_back
from controller.gateway.ask import Ask
from controller.gateway.attempt import Attempt
from controller.gateway.fitting import ready
from controller.gateway.gate import Gate
from controller.gateway.health import Health
from controller.gateway.hedging import Hedges
from controller.gateway.hooks import Headers, Hooks
from controller.gateway.http.answer import Answer
from controller.gateway.http.exchange import Exchange
from controller.gateway.http.pool import Pool
from controller.gateway.openai.errors import error, refused
from controller.gateway.proxy_flight import Flight
from controller.gateway.proxy_leg import Leg
from controller.gateway.proxy_metrics import ProxyMetrics
from controller.gateway.proxy_request import deadline_seconds, own_id, texts
from controller.gateway.proxy_settings import ProxySettings
from controller.gateway.reception import Received, Turned, receive
from controller.gateway.taking import Taking, sender
from controller.gateway.turned_away import TurnedAway
from store.clock import Clock

log = logging.getLogger(__name__)

ILL_SILENCE_SECONDS = 3.0
LEFTOVER, BY_CLASS = "leftover", "vtc-deadline"

Page = Callable[[Exchange], Answer]


class Proxy:
    """See the head of this module. One event loop owns it.

    Args:
        gate: decides.
        health: engines.
        settings: times and bounds.
        hooks: what others do.
        clock: the time.
        metrics: what is counted.
    """

    def __init__(
        self,
        gate: Gate,
        health: Health,
        settings: ProxySettings,
        hooks: Hooks,
        clock: Clock,
        metrics: ProxyMetrics,
    ) -> None:
        self.gate = gate
        self.health = health
        self.settings = settings
        self.hooks = hooks
        self.metrics = metrics
        self.hedges = Hedges(gate, settings.hedge_seconds, settings.hedge_share)
        self.pages: dict[tuple[bytes, bytes], Page] = {}
        self.flights: dict[int, Flight] = {}
        self._clock = clock
        self._numbers = itertools.count(1)
        self._prefix = secrets.token_hex(6)
        self.turned_away = TurnedAway(
            hooks, metrics, clock, self._numbers, self._prefix, health.knows
        )
        self.taking = Taking(self._guarded(self._take), self._sender, clock)
        self._is_pumping = self._pump_again = False
        health.changed = self.pump

    # -- requests

    def handle(self, exchange: Exchange) -> None:
        """A whole request is here."""
        self._guarded(self._handle)(exchange)

    def _guarded(self, handle: Callable[[Exchange], None]) -> Callable[[Exchange], None]:
        """A fault in a policy must not take the connections of others with it."""

        def guarded(exchange: Exchange) -> None:
            try:
                handle(exchange)
            except Exception:
                log.exception("handling_failed")
                self.metrics.turned_away["internal"] += 1
                if not (exchange.is_begun or exchange.is_over):
                    text = "a fault in the gateway; its log says more"
                    exchange.answer(error(500, text, "internal"))

        return guarded

    def _handle(self, exchange: Exchange) -> None:
        page = self.pages.get((b"GET" if exchange.method == b"HEAD" else exchange.method,
                               exchange.path))  # fmt: skip
        if page is not None:
            exchange.answer(page(exchange))
        elif exchange.path.startswith(b"/v1/"):
            self.taking.put(exchange)
        else:
            path = exchange.path[:200].decode("latin-1")
            exchange.answer(error(404, f"there is nothing at {path}", "not_found"))

    def _sender(self, exchange: Exchange) -> str:
        return sender(exchange, self.hooks.callers)

    def _take(self, exchange: Exchange) -> None:
        headers, path = texts(exchange.headers), exchange.path.decode("latin-1")
        found = receive(
            exchange.method, path, exchange.body, headers, self.hooks.callers, self.health
        )
        if isinstance(found, Turned):
            exchange.answer(refused(found.refusal, found.refusal.wait_seconds))
            self.turned_away.saw(found, headers)
            return
        flight = self._flight(exchange, found, headers)
        ask, now = flight.ask, flight.ask.arrived
        refusal = self.gate.arrive(ask, now)
        if refusal is not None:
            flight.refuse(refusal, self._answer_to(refusal, ask, now))
            return
        self.flights[ask.number] = flight
        exchange.on_gone = flight.gone
        exchange.on_paused = flight.paused
        exchange.on_resumed = flight.resumed
        loop = asyncio.get_running_loop()
        flight.timer = loop.call_later(ask.deadline - now, self._late, flight)
        self.pump()

    def _flight(self, exchange: Exchange, found: Received, headers: Headers) -> Flight:
        now, number = self._clock.monotonic(), next(self._numbers)
        said, caller = found.said, found.caller
        mean, likely = self.hooks.lengths.expected(said, caller)
        ask = Ask(
            number, now, caller.tenant, found.model, said.input_tokens, mean, likely,
            most_output_tokens=said.most_output_tokens, weight=caller.weight, slo=caller.slo,
            session=caller.session, prefix=said.prefix, is_stream=said.is_stream,
            deadline=now + deadline_seconds(headers, self.settings),
            fingerprint=said.fingerprint,
        )  # fmt: skip
        identity = own_id(headers) or f"{self._prefix}-{number}"
        trace = self.hooks.tracer.begin(headers)
        return Flight(self, exchange, said, ask, identity, self._clock.now(), trace)

    def _answer_to(self, refusal: Refusal, ask: Ask, now: float) -> Answer:
        limits = allowances(self.gate.policies.rules, ask.tenant, now)
        return refused(refusal, refusal.wait_seconds, limits)

    # -- turns

    def pump(self) -> None:
        """Send whoever has a place now. Called whenever one may have become free."""
        if self._is_pumping:
            self._pump_again = True
            return
        self._is_pumping = True
        try:
            self._pump_again = True
            while self._pump_again:
                self._pump_again = False
                for ask, instance in self.gate.starts(self._clock.monotonic()):
                    flight = self.flights.get(ask.number)
                    if flight is not None and ask.instance == instance.name:
                        flight.starts(instance)
        except Exception:
            log.exception("starting_failed")
            self.metrics.turned_away["internal"] += 1
        finally:
            self._is_pumping = False

    def tend(self) -> None:
        """What nobody calls for: called once a second or more often."""
        now = self._clock.monotonic()
        for flight in tuple(self.flights.values()):
            ask = flight.ask
            for leg in flight.legs:
                if not leg.is_paused and now - leg.heard > self._patience(leg):
                    flight.failed(leg, "upstream_silent")
            if not ask.has_started and now - ask.arrived > self.settings.hold_seconds:
                self._hold_no_longer(flight, now)
        self._make_way()
        self.pump()

    def _make_way(self) -> None:
        """Best-effort requests go back into the line for those with a promise.

        Only where a place keeps them from taking the seat again at once, and where the line lets
        those with a promise past them.
        """
        gate = self.gate
        keeps_out = any(place.spec.name == LEFTOVER for place in gate.policies.places)
        if not keeps_out or gate.policies.line.spec.name != BY_CLASS:
            return
        waiting = [ask for ask in gate.waiting.values() if not ask.slo.is_best_effort]
        if waiting:
            fleet = tuple(gate.instances.values())
            for ask in to_put_back(waiting, fleet, may_go=self._may_go):
                self.flights[ask.number].make_way()

    def _may_go(self, ask: Ask) -> bool:
        flight = self.flights.get(ask.number)
        return flight is not None and not flight.exchange.is_begun

    def _patience(self, leg: Leg) -> float:
        """Seconds that a replica may be silent.

        The first token may take as long as the deadline allows. But one that does not answer
        questions of its health either has stopped: llama-server keeps its streams open then.
        """
        upstream = self.health.upstreams.get(leg.ask.instance)
        if upstream is not None and upstream.is_well is False:
            return min(ILL_SILENCE_SECONDS, self.settings.silence_seconds)
        return self.settings.silence_seconds if leg.has_heard else math.inf

    def _hold_no_longer(self, flight: Flight, now: float) -> None:
        model = flight.ask.model
        fleet = ready(model, self.gate.instances.values())
        if any(one.role != "decode" for one in fleet):
            return
        text = f"no replica of {model} is ready; ask again"
        refusal = Refusal("no_replica", text, status=503)
        answer = self._answer_to(refusal, flight.ask, now)
        self.gate.counted.refused[refusal.code] += 1
        flight.refuse(refusal, answer)

    def _late(self, flight: Flight) -> None:
        flight.fail("deadline_exceeded")

    # -- for flights

    def now(self) -> float:
        """Seconds of the gateway's clock."""
        return self._clock.monotonic()

    def pool(self, instance: str) -> Pool | None:
        """Connections to a replica."""
        upstream = self.health.upstreams.get(instance)
        return None if upstream is None else upstream.pool

    def again(self, flight: Flight, *, is_failed: bool) -> None:
        """It failed there, or made way; let it wait for another turn."""
        if flight.trace is not None:
            flight.trace = self.hooks.tracer.again(flight.trace)
        self.gate.put_back(flight.ask, self._clock.monotonic(), is_failed=is_failed)
        self.pump()

    def landed(self, flight: Flight, attempt: Attempt) -> None:
        """It is over."""
        self.flights.pop(flight.ask.number, None)
        ask, now = flight.ask, self._clock.monotonic()
        if ask.has_started:
            is_fault = attempt.status == "failed" and _is_fault(attempt.reason)
            self.gate.ended(ask, now, is_failed=is_fault)
        elif attempt.reason == "deadline_exceeded":
            ask.deadline = min(ask.deadline, now)
            self.gate.expired(now)
        else:
            self.gate.left(ask, now)
        self._keep(attempt)
        self.pump()

    def record(self, attempt: Attempt) -> None:
        """One attempt is over, and another follows: it changes the request, so a copy is kept."""
        self._keep(attempt)

    def failed_at(self, instance: str, reason: str) -> None:
        """A replica failed a request."""
        self.health.failed(instance, reason)

    def fine_at(self, flight: Flight, attempt: Attempt) -> None:
        """A replica served a request."""
        self.health.fine(flight.ask.instance, self.gate.paces.measured(flight.ask, self.now()))

    def _keep(self, attempt: Attempt) -> None:
        self.metrics.saw(attempt)
        try:
            self.hooks.recorder.record(attempt)
        except Exception:
            log.exception("recording_failed")
            self.metrics.unrecorded += 1

    # -- the end

    def fail_all(self, reason: str) -> None:
        """End what still flies."""
        for flight in tuple(self.flights.values()):
            flight.fail(reason)


def _is_fault(reason: str) -> bool:
    """Of the replica; a client's deadline and a wrong request are not."""
    return not reason.startswith(("engine_4", "deadline", "draining"))
