"""One request on its way: waits for its turn, is sent, and is answered as the engine answers.

Everything happens in calls of the event loop: nothing here waits. There is one way out, `_end`.
"""

from __future__ import annotations

import asyncio
import copy
from datetime import datetime

from controller.gateway.admission.base import Refusal
from controller.gateway.ask import Ask
from controller.gateway.attempt import Attempt, Status, TraceContext
from controller.gateway.fleet import Instance
from controller.gateway.hooks import Said
from controller.gateway.http.answer import Answer
from controller.gateway.http.client import Outbound
from controller.gateway.http.exchange import Exchange
from controller.gateway.http.pool import Pool
from controller.gateway.openai.errors import error, error_event
from controller.gateway.openai.reading import CHAT, COMPLETIONS
from controller.gateway.openai.usage import Told
from controller.gateway.proxy_answer import Passing
from controller.gateway.proxy_ground import Ground
from controller.gateway.proxy_headers import (
    REQUEST_ID,
    allowances,
    answer_headers,
    replica_headers,
)
from controller.gateway.proxy_request import upstream_request
from controller.gateway.proxy_settings import RETRIED_STATUS

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
    """See the head of this module."""

    __slots__ = (
        "_connecting", "_ground", "_outbound", "_passing", "_pool", "_retry_after_seconds",
        "arrived_at", "ask", "exchange", "has_heard", "heard", "identity", "is_over", "is_paused",
        "said", "timer", "trace",
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
        self.is_over = self.is_paused = False
        self.heard = ask.arrived
        self._connecting: asyncio.Task[None] | None = None
        self._outbound: Outbound | None = None
        self._pool: Pool | None = None
        self._retry_after_seconds: float | None = None
        self._forget()

    def _forget(self) -> None:
        """Nothing came of this attempt yet."""
        self._passing = Passing(self._ground.settings.whole_bytes)
        self.has_heard = False

    # -- its turn

    def starts(self, instance: Instance) -> None:
        """A replica has a place for it."""
        self.heard = self._ground.now()
        self._pool = self._ground.pool(instance.name)
        if self._pool is None:
            self._failed("upstream_unreachable")
            return
        self._send_on(self._pool.take())

    def _send_on(self, outbound: Outbound | None) -> None:
        if outbound is None:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())
            return
        self._outbound = outbound
        assert self._pool is not None  # noqa: S101 - it starts with one
        settings, to = self._ground.settings, self._pool.address
        outbound.send(
            upstream_request(self.exchange, to, settings, self.identity, self.trace), self
        )

    async def _connect(self) -> None:
        assert self._pool is not None  # noqa: S101 - it starts with one
        try:
            outbound = await self._pool.connect()
        except OSError:
            self._connecting = None
            self._failed("upstream_unreachable")
            return
        self._connecting = None
        self._send_on(outbound)

    # -- what the engine says

    def head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Keep it until the first of the body comes."""
        self.has_heard = True
        self.heard = self._ground.now()
        self._passing.head(status, headers)

    def body(self, data: bytes) -> None:
        """Pass it on, and look at it as it passes."""
        if self.is_over:
            return
        now = self.heard = self._ground.now()
        passed, tokens = self._passing.body(data, now)
        if tokens:
            self._ground.gate.produced(self.ask, tokens, now)
        if passed:
            self._pass(passed)

    def done(self) -> None:
        """The answer is whole."""
        if self.is_over:
            return
        status = self._passing.status or 502
        if status in RETRIED_STATUS and self._may_retry():
            self._free()
            self._ground.failed_at(self.ask.instance, f"engine_{status}")
            self._again(f"engine_{status}")
            return
        self._free()
        told = self._finish()
        if status >= 500:
            self._ground.failed_at(self.ask.instance, f"engine_{status}")
        reason = self._reason(status, told)
        self._land("failed" if reason else "ok", status, reason, told)

    def lost(self, reason: str) -> None:
        """The connection broke."""
        if self.is_over:
            return
        outbound, self._outbound = self._outbound, None
        if outbound is not None and outbound.is_reused and not self.has_heard:
            # It was closed while it was idle: nobody has seen the request.
            self._send_on(None)
            return
        self._failed(reason)

    # -- what others do to it

    def paused(self) -> None:
        """The client reads too slowly."""
        self.is_paused = True
        if self._outbound is not None:
            self._outbound.pause()

    def resumed(self) -> None:
        """It read on."""
        self.is_paused = False
        self.heard = self._ground.now()
        if self._outbound is not None:
            self._outbound.resume()

    def gone(self) -> None:
        """The client left."""
        if not self.is_over:
            self._land("aborted", self.exchange.status if self.exchange.is_begun else None,
                       "client_left", self._told())  # fmt: skip

    def fail(self, reason: str) -> None:
        """End it with one of `FAULTS`, which is nobody's."""
        if not self.is_over:
            self._break(reason)

    def fail_at_replica(self, reason: str) -> None:
        """End it with one of `FAULTS`, which is the replica's."""
        if not self.is_over:
            self._failed(reason)

    def make_way(self) -> None:
        """Wait again, as one with a promise needs the seat; nothing reached the client yet."""
        if not (self.is_over or self.exchange.is_begun):
            self._free(is_clean=False)
            self._again("made_way", "aborted")

    def refuse(self, refusal: Refusal, answer: Answer) -> None:
        """It waited, and nobody will serve it."""
        if not self.is_over:
            self.exchange.answer(self._named(answer))
            self._retry_after_seconds = refusal.wait_seconds
            self._land("refused", answer.status, refusal.code, Told())

    # -- inside

    def _pass(self, data: bytes) -> None:
        if not self.exchange.is_begun:
            self._begin(None)
        self.exchange.write(data)

    def _begin(self, length: int | None) -> None:
        passing = self._passing
        ground = self._ground
        limits = allowances(ground.gate.policies.rules, self.ask.tenant, ground.now())
        headers = answer_headers(passing.headers, limits, self._own_headers())
        self.exchange.begin(passing.status or 502, headers, length)
        self.exchange.drop_body()

    def _finish(self) -> Told:
        """Send what is left."""
        told = self._passing.told()
        rest, is_all = self._passing.rest()
        self._book(told)
        if is_all:
            self._begin(len(rest))
            self.exchange.write(rest)
        elif rest or not self.exchange.is_begun:
            self._pass(rest)
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

    def _reason(self, status: int, told: Told) -> str:
        if status >= 400:
            return f"engine_{status}"
        if told.error:
            return "engine_error"
        is_known = self.said.path in (CHAT, COMPLETIONS) and self._passing.is_stream
        if is_known and not self._passing.has_end:
            return "upstream_incomplete"
        return ""

    def _failed(self, reason: str) -> None:
        """The replica's fault."""
        self._ground.failed_at(self.ask.instance, reason)
        if reason in _RETRIED and self._may_retry():
            self._free(is_clean=False)
            self._again(reason)
        else:
            self._break(reason)

    def _may_retry(self) -> bool:
        # Attempts that made way for others failed nowhere, and are no retries.
        return not self.exchange.is_begun and len(self.ask.tried) < self._ground.settings.retries

    def _again(self, reason: str, status: Status = "failed") -> None:
        self._ground.record(
            self._attempt(status, self._passing.status, reason, Told(), is_last=False)
        )
        self._forget()
        self._ground.again(self, is_failed=status == "failed")

    def _break(self, reason: str) -> None:
        """Tell the client what it can be told at this point."""
        status, text = FAULTS[reason]
        told = self._told()
        self._free(is_clean=False)
        if not self.exchange.is_begun:
            self.exchange.answer(self._named(error(status, text, reason)))
        else:
            if self._passing.is_stream:
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
        return self._passing.told() if self._passing.is_stream else Told()

    def _free(self, *, is_clean: bool = True) -> None:
        """Let go of the connection."""
        outbound, self._outbound = self._outbound, None
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        if outbound is None:
            return
        if is_clean and self._pool is not None:
            if self.is_paused:
                outbound.resume()
            self._pool.give(outbound, self._passing.headers, was_stream=self._passing.is_stream)
        else:
            outbound.close()

    def _land(self, status: Status, http_status: int | None, reason: str, told: Told) -> None:
        """The one way out."""
        if self.is_over:
            return
        self.is_over = True
        self._free(is_clean=False)
        if self.timer is not None:
            self.timer.cancel()
        self.exchange.on_gone = self.exchange.on_paused = self.exchange.on_resumed = _nothing
        attempt = self._attempt(status, http_status, reason, told, is_last=True)
        if status == "ok":
            self._ground.fine_at(self, attempt)
        self._ground.landed(self, attempt)

    def _attempt(
        self, status: Status, http_status: int | None, reason: str, told: Told, *, is_last: bool
    ) -> Attempt:
        # What follows changes the request: who is told now is told of a copy.
        ask = self.ask if is_last else copy.copy(self.ask)
        passing = self._passing
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
            trace=self.trace,
            retry_after_seconds=self._retry_after_seconds,
        )


def _nothing() -> None:
    return
