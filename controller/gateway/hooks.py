"""What others do for the proxy: who asks, how long an answer may become, what is kept of it.

All are called in the event loop, so none may wait for anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from controller.gateway.admission.base import Refusal
from controller.gateway.ask import SloClass
from controller.gateway.attempt import Attempt, TraceContext

Headers = Mapping[str, str]
"""Of a request; names in lower case, the last of a name counts."""

ANONYMOUS = "anonymous"
_USUAL = SloClass()


@runtime_checkable
class Recorder(Protocol):
    """Keeps what is known of attempts."""

    def record(self, attempt: Attempt) -> None:
        """One attempt is over."""
        ...


@dataclass(frozen=True, slots=True)
class Said:
    """What a body said of itself; the prompt is not kept.

    Attributes:
        path: it was sent to.
        model: "" where it named none.
        is_stream: whether it asked for a stream.
        user: OpenAI's `user` (or `safety_identifier`); "" is none.
        input_tokens: estimated.
        most_output_tokens: None where it did not say.
        prefix: hashes of the prompt's blocks.
        session: `prompt_cache_key`, or what a header says; "" is none.
        fingerprint: hash of the whole prompt; 0 is unknown.
    """

    path: str
    model: str = ""
    is_stream: bool = False
    user: str = ""
    input_tokens: int = 1
    most_output_tokens: int | None = None
    prefix: tuple[int, ...] = ()
    session: str = ""
    fingerprint: int = 0


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and what they are promised.

    Attributes:
        tenant: who pays.
        weight: their share, > 0.
        slo: class of this request.
        session: conversation or program; "" is none.
    """

    tenant: str = ANONYMOUS
    weight: float = 1.0
    slo: SloClass = _USUAL
    session: str = ""


@runtime_checkable
class Callers(Protocol):
    """Tells who asks."""

    def caller(self, headers: Headers, said: Said) -> Caller | Refusal:
        """The tenant; or a refusal, with status 401 for a key that nobody has."""
        ...

    def name(self, headers: Headers, user: str) -> str:
        """The tenant's, by the head and the body's `user`; "" for a key that nobody has."""
        ...


@runtime_checkable
class Lengths(Protocol):
    """Tells how long an answer may become."""

    def expected(self, said: Said, caller: Caller) -> tuple[float, float]:
        """Mean and 0.9 quantile of the output tokens; both > 0."""
        ...


@runtime_checkable
class Tracer(Protocol):
    """Puts requests into traces."""

    def begin(self, headers: Headers) -> TraceContext | None:
        """A span of our own within the caller's trace, or in a new one; None traces nothing."""
        ...

    def again(self, context: TraceContext) -> TraceContext:
        """For the next attempt at the same request."""
        ...


class ByUser:
    """The OpenAI field `user` is the tenant; nobody is asked for a key."""

    def caller(self, headers: Headers, said: Said) -> Caller | Refusal:
        """Anybody."""
        return Caller(self.name(headers, said.user), session=said.session)

    def name(self, headers: Headers, user: str) -> str:
        """As it says."""
        return user or ANONYMOUS


class UpToLimit:
    """Without a predictor: a share of what the client allows.

    Args:
        usual_tokens: mean where the client set no limit.
    """

    def __init__(self, usual_tokens: float = 256.0) -> None:
        self._usual = usual_tokens

    def expected(self, said: Said, caller: Caller) -> tuple[float, float]:
        """Half of the limit, at most the usual; nine in ten stay below the limit and 4 times it."""
        most = said.most_output_tokens
        if most is None:
            return self._usual, 4 * self._usual
        return max(min(most / 2, self._usual), 1.0), float(max(min(most, 4 * self._usual), 1))


class Forgets:
    """Keeps nothing."""

    def record(self, attempt: Attempt) -> None:
        """It is gone."""


class Untraced:
    """Traces nothing; what the client sent of a trace is passed on as it is."""

    def begin(self, headers: Headers) -> TraceContext | None:
        """None."""
        return None

    def again(self, context: TraceContext) -> TraceContext:
        """The same."""
        return context


@dataclass(slots=True)
class Hooks:
    """All of them. May be replaced while requests run."""

    callers: Callers = field(default_factory=ByUser)
    lengths: Lengths = field(default_factory=UpToLimit)
    tracer: Tracer = field(default_factory=Untraced)
    recorder: Recorder = field(default_factory=Forgets)
