"""Rows of requests that were turned away before anything was decided about them.

A wrong key, a broken body, an unknown model, a body that is too large: whoever looks for them finds
them among all others. But so few a second that a flood of nonsense fills no spool; every one is
counted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime

from controller.gateway.admission.base import Refusal
from controller.gateway.ask import Ask, SloClass
from controller.gateway.attempt import Attempt, Sizes, TraceContext
from controller.gateway.hooks import Headers, Hooks
from controller.gateway.http.answer import Answer
from controller.gateway.http.reading import Head
from controller.gateway.openai.errors import REASON_HEADER
from controller.gateway.openai.reading import KNOWN
from controller.gateway.proxy_metrics import ProxyMetrics
from controller.gateway.proxy_request import own_id, texts
from controller.gateway.reception import Turned, known_caller
from controller.gateway.rows import MOST_CHARACTERS
from store.clock import Clock

log = logging.getLogger(__name__)

MOST_MODELS = 200
"""Names of models that nobody serves, that are told apart among those turned away."""
ROWS_PER_SECOND = 20.0
"""So many rows; a second's worth may come at once."""
_NO_CLASS = SloClass("")


class FewRows:
    """Lets so many through a second; a bucket that refills evenly.

    Args:
        per_second: most, > 0; as many at once.
    """

    def __init__(self, per_second: float = ROWS_PER_SECOND) -> None:
        self._most = self._left = per_second
        self._at: float | None = None

    def takes(self, now: float) -> bool:
        """Whether one more may be kept; `now` in seconds of any clock that does not go back."""
        passed = 0.0 if self._at is None else max(now - self._at, 0.0)
        self._left = min(self._left + passed * self._most, self._most)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def attempt_of(
    turned: Turned,
    number: int,
    identity: str,
    now: float,
    arrived_at: datetime,
    trace: TraceContext | None,
) -> Attempt:
    """What is known of one; what nobody knows is left empty.

    Args:
        turned: why, and what could be read.
        number: in the order of arrival.
        identity: of the request.
        now: seconds of the gateway's clock.
        arrived_at: aware UTC.
        trace: None where it is not traced.
    """
    said, caller = turned.said, turned.caller
    sizes: Sizes = "none" if said is None else "prompt"
    ask = Ask(
        number, now,
        tenant=caller.tenant if caller else "",
        model=said.model if said else "",
        input_tokens=said.input_tokens if said else 0,
        expected_output_tokens=0.0, likely_output_tokens=0.0,
        most_output_tokens=said.most_output_tokens if said else None,
        weight=caller.weight if caller else 1.0,
        slo=caller.slo if caller else _NO_CLASS,
        session=caller.session if caller else "",
    )  # fmt: skip
    return Attempt(
        ask=ask, request_id=identity, arrived_at=arrived_at, path=turned.path,
        is_stream=said.is_stream if said else False, status="refused",
        http_status=turned.refusal.status, reason=turned.refusal.code, e2e_seconds=0.0,
        trace=trace, retry_after_seconds=turned.refusal.wait_seconds, sizes=sizes,
    )  # fmt: skip


class TurnedAway:
    """Counts them, and keeps a row of as many as fit.

    Args:
        hooks: traces, and keeps rows.
        metrics: counts.
        clock: the time.
        numbers: of requests at this gateway.
        prefix: of the names of those that have none.
        knows: tells whether there is such a model.
    """

    def __init__(
        self,
        hooks: Hooks,
        metrics: ProxyMetrics,
        clock: Clock,
        numbers: Iterator[int],
        prefix: str,
        knows: Callable[[str], bool],
    ) -> None:
        self._hooks, self._metrics, self._clock = hooks, metrics, clock
        self._numbers, self._prefix, self._knows = numbers, prefix, knows
        self._few = FewRows()
        self._models: set[str] = set()

    def saw(self, turned: Turned, headers: Headers) -> None:
        """One that was read, and made no sense."""
        self._metrics.turned_away[turned.refusal.code] += 1
        if self._few.takes(self._clock.monotonic()):
            self._keep(turned, headers)
        else:
            self._metrics.turned_away_without_row += 1

    def at_the_door(self, head: Head | None, answer: Answer) -> None:
        """One that was never whole.

        Args:
            head: None where not even that was whole; such a one is counted alone.
            answer: that it got.
        """
        code = dict(answer.headers).get(REASON_HEADER, b"").decode()
        path = head.path if head else ""
        if head is None or not path.startswith("/v1/"):
            self._metrics.turned_away[code] += 1
            return
        headers = texts(head.headers)
        caller = known_caller(path, headers, self._hooks.callers)
        refusal = Refusal(code, "", status=answer.status)
        self.saw(Turned(refusal, None, caller, path), headers)

    def _keep(self, turned: Turned, headers: Headers) -> None:
        number, clock = next(self._numbers), self._clock
        try:
            attempt = attempt_of(
                self._bounded(turned), number, own_id(headers) or f"{self._prefix}-{number}",
                clock.monotonic(), clock.now(), self._hooks.tracer.begin(headers),
            )  # fmt: skip
            self._hooks.recorder.record(attempt)
        except Exception:
            log.exception("recording_failed")
            self._metrics.unrecorded += 1

    def _bounded(self, turned: Turned) -> Turned:
        """Names become labels, of which there are so many: beyond it there is no name."""
        path = turned.path if turned.path in KNOWN else ""
        said, models = turned.said, self._models
        if said is not None:
            model = said.model[:MOST_CHARACTERS]
            if not self._knows(model):
                if len(models) < MOST_MODELS:
                    models.add(model)
                model = model if model in models else ""
            said = replace(said, model=model)
        return replace(turned, said=said, path=path)
