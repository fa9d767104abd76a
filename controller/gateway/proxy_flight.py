"""One request on its way: waits for its turn, is sent, and is answered as the engine answers.

Everything happens in calls of the event loop: nothing here waits. There is one way out, `_end`.
"""

from __future__ import annotations

import asyncio
import copy
from datetime import datetime

from controller.gateway.admission.allowances import allowances
from controller.gateway.admission.base import Refusal
from controller.gateway.ask import Ask
from controller.gateway.attempt import Attempt, Status, TraceContext
from controller.gateway.fleet import Instance
from controller.gateway.hooks import Said
from controller.gateway.http.answer import Answer
from controller.gateway.http.exchange import Exchange
from controller.gateway.http.pool import Address
from controller.gateway.openai.errors import error, error_event
from controller.gateway.openai.reading import CHAT, COMPLETIONS
from controller.gateway.openai.usage import Told
from controller.gateway.proxy_answer import Passing
from controller.gateway.proxy_ground import Ground
from controller.gateway.proxy_headers import (
    REQUEST_ID,
    answer_headers,
    replica_headers,
)
from controller.gateway.proxy_leg import Leg
from controller.gateway.proxy_request import upstream_request
from controller.gateway.proxy_settings import RETRIED_STATUS
from controller.gateway.transfer import decode_body, prefill_body, told_parameters

FAULTS = {
    "upstream_unreachable": (502, "the engine cannot be reached"),
    "upstream_reset": (502, "the engine closed the connection before its answer was whole"),
    "upstream_garbage": (502, "the engine's answer is not HTTP"),
    "upstream_silent": (504, "the engine stopped in the middle of its answer"),
    "deadline_exceeded": (504, "the request was not over within its time"),
    "draining": (503, "the gateway is stopping; ask again"),
}
_RETRIED = ("upstream_unreachable", "upstream_reset", "upstream_garbage", "upstream_silent")


class Flight:
    """See the head of this module.

    Attributes:
        leg: the attempt that goes on; None while it waits for its turn.
        rival: the same at another replica, until one of both answers; None is usual.
    """

    __slots__ = (
        "_attempts", "_ground", "_hedging", "_is_apart", "_retry_after_seconds", "arrived_at",
        "ask", "exchange", "identity", "is_over", "leg", "rival", "said", "timer", "trace",
    )  # fmt: skip

    def __init__(
        self,
        ground: Ground,
        exchange: Exchange,
        said: Said,
        ask: Ask,
        identity: str,
        arrived_at: datetime,
        trace: TraceContext | None,
    ) -> None:
        self._ground = ground
        self.exchange = exchange
        self.said = said
        self.ask = ask
        self.identity = identity
        self.arrived_at = arrived_at
        self.trace = trace
        self.timer: asyncio.TimerHandle | None = None
        self.is_over = False
        self.leg: Leg | None = None
        self.rival: Leg | None = None
        self._hedging: asyncio.TimerHandle | None = None
        self._attempts = ask.attempt
        self._is_apart = False
        self._retry_after_seconds: float | None = None

    @property
    def legs(self) -> tuple[Leg, ...]:
        """Attempts that go on."""
        return tuple(leg for leg in (self.leg, self.rival) if leg is not None)

    # -- its turn

    def starts(self, instance: Instance) -> None:
        """A replica has a place for it."""
        ground = self._ground
        if self.ask.attempt == 1:
            ground.hedges.saw(ground.now())
        self._attempts = self.ask.attempt
        self._is_apart = self._is_handed()
        body = prefill_body(self.exchange.body) if self._is_apart else None
        self.leg = self._leg(self.ask, self.trace, body)
        self._watch()
        self.leg.start()

    def _leg(self, ask: Ask, trace: TraceContext | None, body: bytes | None = None) -> Leg:
        settings = self._ground.settings

        def request(to: Address, trace: TraceContext | None) -> bytes:
            return upstream_request(self.exchange, to, settings, self.identity, trace, body)

        return Leg(self._ground, self, ask, trace, request)

    # -- prefill and decoding apart

    def _is_handed(self) -> bool:
        """Whether another replica goes on with its output; of others the seat there is free."""
        handing = self._ground.gate.handing
        if handing.has(self.ask) and self.said.path not in (CHAT, COMPLETIONS):
            handing.over(self.ask, self._ground.now())
        return handing.has(self.ask)

    def _hand_on(self, leg: Leg) -> None:
        """Its prompt is computed: go on where its output is."""
        answer, is_all = leg.passing.rest()
        try:
            parameters = told_parameters(answer if is_all else b"")
        except ValueError:
            self.failed(leg, "upstream_garbage")
            return
        ground, now = self._ground, self._ground.now()
        done = self._attempt(leg, "ok", leg.passing.status, "", leg.passing.told(), is_last=False)
        ground.fine_at(self, done)
        ground.record(done)
        ground.gate.handing.move(self.ask, now, has_cache=parameters is not None)
        self._is_apart, self._attempts = False, self.ask.attempt
        self.trace = self.trace and ground.hooks.tracer.again(self.trace)
        body = decode_body(self.exchange.body, parameters)
        self.leg = self._leg(self.ask, self.trace, body)
        self.leg.start()
        ground.pump()

    # -- a second replica

    def _watch(self) -> None:
        """Look in a while whether anything came."""
        hedges = self._ground.hedges
        if hedges.seconds is not None and hedges.may_be(self.said.path, self.ask):
            loop = asyncio.get_running_loop()
            self._hedging = loop.call_later(hedges.seconds, self._hedge)

    def _hedge(self) -> None:
        """Nothing came: send it to another, too, where one has a free seat."""
        self._hedging, leg, ground = None, self.leg, self._ground
        if leg is None or leg.has_body or self.is_over or self.exchange.is_begun:
            return
        twin = ground.hedges.twin(self.ask, self._attempts + 1, ground.now())
        if twin is None:
            self._watch()
            return
        self._attempts = twin.attempt
        trace = self.trace and ground.hooks.tracer.again(self.trace)
        self.rival = self._leg(twin, trace)
        self.rival.start()

    def _part(self, leg: Leg, status: Status, reason: str) -> None:
        """One of two goes no further: its engine stops, and the other goes on alone."""
        ground, rival = self._ground, self.rival
        if rival is None:
            return
        ground.record(self._attempt(leg, status, leg.passing.status, reason, Told(), is_last=False))
        leg.free()
        self.rival = None
        if leg is rival:
            self.ask.tried += (rival.ask.instance,) if status == "failed" else ()
            ground.hedges.lost(rival.ask, ground.now())
        else:
            is_failed = status == "failed"
            ground.hedges.won(self.ask, rival.ask, ground.now(), is_failed=is_failed)
            self.leg, rival.ask, self.trace = rival, self.ask, rival.trace
        ground.pump()

    # -- what the engine says

    def came(self, leg: Leg, data: bytes) -> None:
        """Pass it on, and look at it as it passes."""
        if self.is_over or not (leg is self.leg or leg is self.rival):
            return
        if self.rival is not None:
            status = leg.passing.status or 502
            if status >= 500:
                self.failed(leg, f"engine_{status}")
                return
            self._wins(leg)
        now = self._ground.now()
        passed, tokens = leg.passing.body(data, now)
        if self._is_apart:
            if passed or leg.passing.is_stream:
                self.failed(leg, "upstream_garbage")
            return
        if tokens:
            self._ground.gate.produced(self.ask, tokens, now)
        if passed:
            self._pass(leg, passed)

    def whole(self, leg: Leg) -> None:
        """The answer is whole."""
        if self.is_over or not (leg is self.leg or leg is self.rival):
            return
        status = leg.passing.status or 502
        if self.rival is not None and status < 500:
            self._wins(leg)
        if self.rival is not None or (status in RETRIED_STATUS and self._may_retry()):
            self._ground.failed_at(leg.ask.instance, f"engine_{status}")
            self._goes_no_further(leg, f"engine_{status}")
            return
        if self._is_apart and status < 400:
            self._hand_on(leg)
            return
        told = self._finish(leg)
        if status >= 500:
            self._ground.failed_at(self.ask.instance, f"engine_{status}")
        reason = self._reason(leg, status, told)
        self._land("failed" if reason else "ok", status, reason, told)

    def failed(self, leg: Leg, reason: str) -> None:
        """The replica's fault."""
        if self.is_over or not (leg is self.leg or leg is self.rival):
            return
        self._ground.failed_at(leg.ask.instance, reason)
        if self.rival is not None or (reason in _RETRIED and self._may_retry()):
            self._goes_no_further(leg, reason)
        else:
            self._break(reason)

    def _wins(self, leg: Leg) -> None:
        """Its answer begins before the other's."""
        for other in self.legs:
            if other is not leg:
                self._part(other, "aborted", "hedged")

    def _goes_no_further(self, leg: Leg, reason: str) -> None:
        """The other goes on, or another replica is tried."""
        if self.rival is not None:
            self._part(leg, "failed", reason)
        else:
            self._again(leg, reason)

    # -- what others do to it

    def paused(self) -> None:
        """The client reads too slowly."""
        for leg in self.legs:
            leg.pause()

    def resumed(self) -> None:
        """It read on."""
        for leg in self.legs:
            leg.resume()

    def gone(self) -> None:
        """The client left."""
        if not self.is_over:
            self._land("aborted", self.exchange.status if self.exchange.is_begun else None,
                       "client_left", self._told())  # fmt: skip

    def fail(self, reason: str) -> None:
        """End it with one of `FAULTS`, which is nobody's."""
        if not self.is_over:
            self._break(reason)

    def make_way(self) -> None:
        """Wait again, as one with a promise needs the seat; nothing reached the client yet."""
        if self.leg is None or self.is_over or self.exchange.is_begun:
            return
        if self.rival is not None:
            self._part(self.rival, "aborted", "made_way")
        self._again(self.leg, "made_way", "aborted")

    def refuse(self, refusal: Refusal, answer: Answer) -> None:
        """It waited, and nobody will serve it."""
        if not self.is_over:
            self.exchange.answer(self._named(answer))
            self._retry_after_seconds = refusal.wait_seconds
            self._land("refused", answer.status, refusal.code, Told())

    # -- inside

    def _pass(self, leg: Leg, data: bytes) -> None:
        if not self.exchange.is_begun:
            self._begin(leg, None)
        self.exchange.write(data)

    def _begin(self, leg: Leg, length: int | None) -> None:
        passing, ground = leg.passing, self._ground
        limits = allowances(ground.gate.policies.rules, self.ask.tenant, ground.now())
        headers = answer_headers(passing.headers, limits, self._own_headers())
        self.exchange.begin(passing.status or 502, headers, length)
        self.exchange.drop_body()

    def _finish(self, leg: Leg) -> Told:
        """Send what is left."""
        told = leg.passing.told()
        rest, is_all = leg.passing.rest()
        self._book(told)
        if is_all:
            self._begin(leg, len(rest))
            self.exchange.write(rest)
        elif rest or not self.exchange.is_begun:
            self._pass(leg, rest)
        self.exchange.end()
        return told

    def _book(self, told: Told) -> None:
        """What the engine counted beyond what was seen."""
        usage, ask = told.usage, self.ask
        more = (usage.output_tokens or 0) - ask.output_tokens
        if more > 0:
            self._ground.gate.produced(ask, more, self._ground.now())
        if ask.has_first:
            ask.told_input_tokens = usage.input_tokens
            if usage.cached_tokens is not None:
                ask.cached_tokens = usage.cached_tokens

    def _reason(self, leg: Leg, status: int, told: Told) -> str:
        if status >= 400:
            return f"engine_{status}"
        if told.error:
            return "engine_error"
        is_known = self.said.path in (CHAT, COMPLETIONS) and leg.passing.is_stream
        if is_known and not leg.passing.has_end:
            return "upstream_incomplete"
        return ""

    def _may_retry(self) -> bool:
        # Attempts that made way for others failed nowhere, and are no retries.
        return not self.exchange.is_begun and len(self.ask.tried) < self._ground.settings.retries

    def _again(self, leg: Leg, reason: str, status: Status = "failed") -> None:
        leg.free()
        self._ground.record(
            self._attempt(leg, status, leg.passing.status, reason, Told(), is_last=False)
        )
        self.leg = None
        self._stop_watching()
        # One that was sent twice had two attempts.
        self.ask.attempt = self._attempts
        self._ground.again(self, is_failed=status == "failed")

    def _break(self, reason: str) -> None:
        """Tell the client what it can be told at this point."""
        status, text = FAULTS[reason]
        told = self._told()
        if not self.exchange.is_begun:
            self.exchange.answer(self._named(error(status, text, reason)))
        else:
            if self.leg is not None and self.leg.passing.is_stream:
                self.exchange.write(error_event(status, text, reason))
            # Without the end that HTTP asks for, nobody takes it for a whole answer.
            self.exchange.cut()
        self._land("failed", self.exchange.status, reason, told)

    def _named(self, answer: Answer) -> Answer:
        headers = (*answer.headers, *self._own_headers())
        return Answer(answer.status, answer.body, headers, answer.content_type)

    def _own_headers(self) -> list[tuple[bytes, bytes]]:
        names_instance = self._ground.settings.names_instance
        own = replica_headers(self.ask, names_instance=names_instance)
        return [*own, (REQUEST_ID, self.identity.encode())]

    def _told(self) -> Told:
        leg = self.leg
        return leg.passing.told() if leg is not None and leg.passing.is_stream else Told()

    def _stop_watching(self) -> None:
        if self._hedging is not None:
            self._hedging.cancel()
            self._hedging = None

    def _land(self, status: Status, http_status: int | None, reason: str, told: Told) -> None:
        """The one way out."""
        if self.is_over:
            return
        if self.rival is not None:
            self._part(self.rival, "aborted", reason)
        self.is_over = True
        if self.leg is not None:
            self.leg.free()
        self._stop_watching()
        if self.timer is not None:
            self.timer.cancel()
        self.exchange.on_gone = self.exchange.on_paused = self.exchange.on_resumed = _nothing
        attempt = self._attempt(self.leg, status, http_status, reason, told, is_last=True)
        if status == "ok":
            self._ground.fine_at(self, attempt)
        # The leg holds this one: without a circle both are gone as soon as nobody needs them.
        self.leg = self.timer = None
        self._ground.landed(self, attempt)

    def _attempt(
        self,
        leg: Leg | None,
        status: Status,
        http_status: int | None,
        reason: str,
        told: Told,
        *,
        is_last: bool,
    ) -> Attempt:
        ask = self.ask if leg is None else leg.ask
        if not is_last:
            # What follows changes the request: who is told now is told of a copy.
            ask = copy.copy(ask)
        passing = Passing(0) if leg is None else leg.passing
        return Attempt(
            ask=ask,
            request_id=self.identity,
            arrived_at=self.arrived_at,
            path=self.said.path,
            is_stream=self.said.is_stream,
            status=status,
            http_status=http_status,
            reason=reason,
            e2e_seconds=self._ground.now() - ask.arrived,
            finish_reason=told.finish_reason,
            usage=told.usage,
            streamed_tokens=passing.tokens,
            queue_seconds=ask.started - ask.arrived if ask.has_started else None,
            ttft_seconds=passing.first - ask.arrived if passing.first else None,
            tpot_seconds=passing.tpot_seconds,
            gaps=passing.gaps,
            retries=ask.attempt - 1,
            is_last=is_last,
            trace=self.trace if leg is None else leg.trace,
            retry_after_seconds=self._retry_after_seconds,
        )


def _nothing() -> None:
    return
