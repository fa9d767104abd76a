"""Open-loop sending: requests leave when they are due, whether answers come or not.

A client that waits for an answer before it sends the next request measures a slow server at the
moments when it is fast (coordinated omission). So everything is due at a time that is known before
the run, and latency counts from then. What the sender itself adds (`lag`), and what waiting for a
free connection adds (`held`), is part of it and is also told apart.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from controller.gateway.attempt import TraceContext
from controller.gateway.http.client import Outbound
from controller.gateway.http.pool import Pool, address
from servescope.load import waiting
from servescope.load.asking import Wording
from servescope.load.hearing import Heard, Hearing, Status
from servescope.load.planning import Planned
from servescope.load.prompts import ByteTokens, Prompts
from servescope.load.records import Sent
from store.clock import Clock

_REPAIRS = 1
_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Rules:
    """How it is sent.

    Attributes:
        most_connections: open at once; who finds none free waits, and the time runs.
        hold_seconds: after which one that found none is given up, and counted.
        timeout_seconds: of an attempt, from when it left.
        connect_seconds: of a connection.
        most_retries: after a refusal or a failure; 0 never asks again.
    """

    most_connections: int = 2000
    hold_seconds: float = 10.0
    timeout_seconds: float = 600.0
    connect_seconds: float = 10.0
    most_retries: int = 0


class Sender:
    """Sends a plan to one or several targets, each request to the one with the fewest under way.

    Args:
        urls: of the targets; or what tells them, where they come and go.
        wording: how requests are put.
        prompts: makes their text.
        clock: the time.
        report: takes each attempt when it is over; called in the event loop.
        rules: limits.
        name: goes in front of request ids.
        seed: of the jitter of waits.
    """

    def __init__(
        self,
        urls: Sequence[str] | Callable[[], Sequence[str]],
        wording: Wording,
        prompts: Prompts | ByteTokens,
        clock: Clock,
        report: Callable[[Sent], None],
        *,
        rules: Rules | None = None,
        name: str = "load",
        seed: int = 7,
    ) -> None:
        self.rules = rules or Rules()
        self._wording, self._prompts, self._clock = wording, prompts, clock
        self._urls = urls if callable(urls) else partial(tuple, urls)
        self._targets: dict[str, _Target] = {}
        for url in () if callable(urls) else urls:
            self._target(url)
        self._report, self._name = report, name
        self._dice = random.Random(seed)  # noqa: S311 - jitter, not secrets
        self._slots = asyncio.Semaphore(self.rules.most_connections)
        self._under_way: set[asyncio.Task[None]] = set()
        self._began = 0.0
        self.is_stopping = False

    @property
    def under_way(self) -> int:
        """Requests that have been due and are not over."""
        return len(self._under_way)

    async def run(self, plan: Iterable[Planned]) -> None:
        """Send all of it, and wait for the answers; `stop` ends it early."""
        self._began = self._clock.monotonic()
        for one in plan:
            # Made while there is nothing else to do: a long prompt takes milliseconds.
            body = self._body(one)
            await self._until(self._began + one.at_seconds)
            if self.is_stopping:
                break
            task = asyncio.create_task(self._served(one, body))
            self._under_way.add(task)
            task.add_done_callback(partial(self._over, one))
        while self._under_way:
            await asyncio.wait(tuple(self._under_way))
        for target in self._targets.values():
            target.pool.close()

    def stop(self) -> None:
        """Send no more; what is under way is ended and reported as aborted."""
        self.is_stopping = True
        for task in self._under_way:
            task.cancel()

    async def _until(self, due: float) -> None:
        """Wait; a stop is seen soon."""
        if due <= self._clock.monotonic():
            # Those that were due before are served first, however late we are.
            await self._clock.sleep(0)
        while not self.is_stopping and (wait := due - self._clock.monotonic()) > 0:
            await self._clock.sleep(min(wait, _LOOK_SECONDS))

    def _over(self, planned: Planned, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if task.cancelled():
            # Stopped before its first step.
            due = self._began + planned.at_seconds
            self._report(self._unsent(planned, 1, due, "aborted", "stopped"))

    # -- one request

    def _body(self, planned: Planned) -> bytes:
        return self._wording.body(
            self._prompts.text(planned), planned.output_tokens, planned.tenant
        )

    async def _served(self, planned: Planned, body: bytes) -> None:
        """All attempts of a request."""
        due = self._began + planned.at_seconds
        first_due, attempt = due, 1
        while True:
            sent, again_seconds = await self._attempted(planned, body, attempt, due, first_due)
            self._report(sent)
            if sent.is_last:
                return
            due = self._clock.monotonic() + again_seconds
            attempt += 1
            try:
                await self._clock.sleep(again_seconds)
            except asyncio.CancelledError:
                self._report(self._unsent(planned, attempt, due, "aborted", "stopped"))
                return

    async def _attempted(
        self, planned: Planned, body: bytes, attempt: int, due: float, first_due: float
    ) -> tuple[Sent, float]:
        """One attempt, and the seconds to wait before the next one if there is to be one."""
        came = self._clock.monotonic()
        try:
            target = await self._place()
        except TimeoutError:
            return self._unsent(planned, attempt, due, "failed", "not_sent"), 0.0
        except asyncio.CancelledError:
            return self._unsent(planned, attempt, due, "aborted", "stopped"), 0.0
        held = self._clock.monotonic() - came
        target.under_way += 1
        try:
            trace = TraceContext(secrets.token_hex(16), secrets.token_hex(8))
            heard, left = await self._exchanged(target, planned, body, attempt, trace)
        finally:
            target.under_way -= 1
            self._slots.release()
        told = waiting.told_seconds(heard.headers, self._clock.now())
        again = (
            attempt <= self.rules.most_retries
            and heard.status in ("refused", "failed")
            and not self.is_stopping
            and waiting.should_retry(heard.http_status, heard.headers)
            # A stream that has begun cannot be asked for again without showing it twice.
            and heard.first is None
        )
        sent = self._record(planned, attempt, due, target, heard, left)
        since = None if heard.last is None else (heard.first or heard.last) - first_due
        sent = replace(
            sent, is_last=not again, held_seconds=held, since_first_seconds=since,
            trace_id=trace.trace_id,
            lag_seconds=max(left - due - held, 0.0),
            retry_after_seconds=told if heard.status == "refused" else None,
        )  # fmt: skip
        return sent, waiting.wait_seconds(told, attempt, self._dice) if again else 0.0

    async def _place(self) -> _Target:
        """Where a request goes next, once a connection is free and anybody takes requests.

        Raises:
            TimeoutError: not in time.
        """
        async with asyncio.timeout(self.rules.hold_seconds):
            await self._slots.acquire()
            try:
                while not (urls := self._urls()):
                    await self._clock.sleep(_LOOK_SECONDS)
            except BaseException:
                self._slots.release()
                raise
        return min(map(self._target, urls), key=lambda one: one.under_way)

    def _target(self, url: str) -> _Target:
        found = self._targets.get(url)
        if found is None:
            pool = Pool(address(url), self._clock, self.rules.connect_seconds)
            found = self._targets[url] = _Target(url, pool)
        return found

    async def _exchanged(
        self, target: _Target, planned: Planned, body: bytes, attempt: int, trace: TraceContext
    ) -> tuple[Heard, float]:
        """What was heard, and when the sender had the request ready: connecting comes after."""
        identity = f"{self._name}-{planned.number}" + (f".{attempt}" if attempt > 1 else "")
        request = self._wording.request(
            target.pool.address, planned, body, identity, trace.traceparent
        )
        ready = self._clock.monotonic()
        for repair in range(_REPAIRS + 1):
            heard: asyncio.Future[Heard] = asyncio.get_running_loop().create_future()
            hearing = Hearing(self._clock, heard)
            outbound: Outbound | None = None
            try:
                outbound = target.pool.take() or await target.pool.connect()
                outbound.send(request, hearing)
                async with asyncio.timeout(self.rules.timeout_seconds):
                    await asyncio.shield(heard)
            except asyncio.CancelledError:
                hearing.give_up("aborted", "stopped")
            except TimeoutError:
                hearing.give_up("failed", "connect_timeout" if outbound is None else "timeout")
            except (OSError, UnicodeError) as error:
                number = getattr(error, "errno", None)
                hearing.give_up("failed", f"connect_{number or 'failed'}")
            found = await heard
            # A kept connection that the other side had closed already: nothing was served.
            is_stale = (
                outbound is not None
                and outbound.is_reused
                and found.reason == "connection_reset"
                and found.http_status == 0
            )
            self._gave_back(target, outbound, hearing, found)
            if not is_stale or repair == _REPAIRS or self.is_stopping:
                break
        return found, ready

    def _gave_back(
        self, target: _Target, outbound: Outbound | None, hearing: Hearing, heard: Heard
    ) -> None:
        if outbound is None:
            return
        if heard.http_status and heard.reason not in ("timeout", "stopped"):
            target.pool.give(outbound, hearing.headers, was_stream=hearing.was_stream)
        else:
            outbound.close()

    # -- records

    def _unsent(
        self, planned: Planned, attempt: int, due: float, status: Status, reason: str
    ) -> Sent:
        return Sent(
            planned, attempt, True, due - self._began, "", "", status, 0, reason,
            held_seconds=max(self._clock.monotonic() - due, 0.0),
        )  # fmt: skip

    def _record(
        self,
        planned: Planned,
        attempt: int,
        due: float,
        target: _Target,
        heard: Heard,
        left: float,
    ) -> Sent:
        is_ok, usage = heard.status == "ok", heard.told.usage
        first, last, tokens = heard.first, heard.last, heard.output_tokens
        tpot = None
        if is_ok and first is not None and last is not None and tokens is not None and tokens > 1:
            tpot = (last - first) / (tokens - 1)
        gaps = heard.gaps
        return Sent(
            planned, attempt, True, due - self._began, target.url, heard.instance, heard.status,
            heard.http_status, heard.reason, heard.told.finish_reason, usage.input_tokens, tokens,
            usage.cached_tokens,
            ttft_seconds=_since(first, due),
            e2e_seconds=_since(last, due) if is_ok else None,
            ttft_from_send_seconds=_since(first, left),
            e2e_from_send_seconds=_since(last, left) if is_ok else None,
            tpot_seconds=tpot,
            gap_quantiles=(
                *(gaps.quantile_seconds(share) for share in (0.5, 0.95, 0.99)),
                gaps.longest_seconds if gaps.count else None,
            ),
        )  # fmt: skip


class _Target:
    """Where requests go."""

    def __init__(self, url: str, pool: Pool) -> None:
        self.url, self.pool, self.under_way = url, pool, 0


def _since(at: float | None, start: float) -> float | None:
    return None if at is None else max(at - start, 0.0)
