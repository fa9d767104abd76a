"""What the gateway knows of the replicas behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from controller.gateway.ask import Ask

if TYPE_CHECKING:
    from controller.gateway.admission.base import Allowance

State = Literal["ready", "draining", "ejected", "down"]
Role = Literal["whole", "prefill", "decode"]


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a replica is, from its profile or from what was measured here.

    Attributes:
        prompt_token_seconds: for each prompt token that has to be computed.
        step_seconds: a step that decodes, whoever is in it.
        sequence_seconds: more for each sequence in it.
        request_seconds: more until a first token, whatever there is to compute: network, tokenizer,
            the rest of a step that goes on.
    """

    prompt_token_seconds: float
    step_seconds: float
    sequence_seconds: float
    request_seconds: float = 0.0

    @property
    def terms(self) -> tuple[float, float, float, float]:
        """In the order of the attributes."""
        return (
            self.prompt_token_seconds, self.step_seconds, self.sequence_seconds,
            self.request_seconds,
        )  # fmt: skip


@dataclass(slots=True, eq=False)
class Instance:
    """A replica. The gate and whoever watches its health change it; policies read.

    Attributes:
        name: unique.
        url: its base address.
        models: it answers to; empty answers to all.
        role: "whole" does both; a prefill replica hands on to a decoding one.
        state: only "ready" gets new requests.
        ready_since: seconds of the gateway's clock; starts slowly after it.
        seats: requests it serves at once; more would wait inside it, where nobody is fair.
        cache_tokens: its KV cache; None is unknown.
        pace: None is unknown.
        is_pace_learnt: from what it does, so that whatever slows it is in its pace already.
        degradation_ratio: how much slower than its peers it was lately, 0 not at all; None unknown.
        running: what was sent and has not ended, by number.
        held_tokens: of their prompts and outputs, so in its cache as far as we know.
        prompt_tokens_ahead: of prompts it was sent and has not computed, as far as is known.
    """

    name: str
    url: str
    models: frozenset[str] = frozenset()
    role: Role = "whole"
    state: State = "ready"
    ready_since: float = 0.0
    seats: int = 16
    cache_tokens: int | None = None
    pace: Pace | None = None
    is_pace_learnt: bool = False
    degradation_ratio: float | None = None
    running: dict[int, Ask] = field(default_factory=dict)
    held_tokens: int = 0
    prompt_tokens_ahead: int = 0

    @property
    def free_seats(self) -> int:
        """Requests it could take now; 0 where it is not ready."""
        return max(self.seats - len(self.running), 0) if self.state == "ready" else 0

    def answers(self, model: str) -> bool:
        """Whether it serves the model."""
        return not self.models or model in self.models

    def mark(self, state: State, now: float) -> None:
        """Fit, or unfit, for new requests; what it has goes on."""
        if self.state != state:
            self.state = state
            self.ready_since = now if state == "ready" else self.ready_since

    def begins(self, ask: Ask) -> None:
        """It was sent a request."""
        self.running[ask.number] = ask
        self.held_tokens += ask.input_tokens
        self.prompt_tokens_ahead += ask.input_tokens - ask.cached_tokens

    def produced(self, ask: Ask, output_tokens: int, now: float) -> None:
        """So many more tokens came of it."""
        if not ask.has_first:
            ask.first = now
            self.computed(ask)
        ask.output_tokens += output_tokens
        self.held_tokens += output_tokens

    def is_over(self, ask: Ask) -> bool:
        """A request ended; tells whether it was here."""
        if self.running.pop(ask.number, None) is None:
            return False
        self.held_tokens -= ask.held_tokens
        self.computed(ask)
        return True

    def computed(self, ask: Ask) -> None:
        """Its prompt is not ahead of others any more."""
        if not ask.is_computed:
            ask.is_computed = True
            self.prompt_tokens_ahead -= ask.input_tokens - ask.cached_tokens


@dataclass(frozen=True, slots=True)
class Starting:
    """A replica on its way.

    Attributes:
        ready_at: when it is likely to serve (median), seconds of the gateway's clock.
        late_at: by when it does nine times in ten.
        seats: it will have.
    """

    ready_at: float
    late_at: float
    seats: int


@dataclass(frozen=True, slots=True)
class Sight:
    """All that admission sees when a request comes.

    Attributes:
        now: seconds of the gateway's clock.
        instances: that answer to the request's model, whatever their state.
        starting: replicas on their way.
        waiting: requests in the queue.
        waiting_of: the same by tenant.
        waiting_tokens: prompt and expected output of those that wait.
        freed_per_second: seats that fell free lately; None where nothing did.
        tokens_per_second: prompt and output tokens served lately; None likewise.
        promised: refused requests that were told when to come back, before this one's turn, and
            have not come yet: they count as if they waited. Below 0 for one whose turn it is: so
            many more than usual may wait, that its promise is kept.
        promised_of_tenant: the same of the tenant's own part of the queue.
        promised_cost: of the tenant's limits in requests, and in tokens, that is kept for those of
            its requests that were told to come.
        free_of_tenant: places left in the tenant's part of the queue, promised ones too; None where
            nobody looked.
        allowances: of the tenant, by rules that tell; only once something was refused.
        is_shared: whether tenants that wait share what is served by their weights.
    """

    now: float
    instances: Sequence[Instance]
    starting: Sequence[Starting] = ()
    waiting: int = 0
    waiting_of: Mapping[str, int] = field(default_factory=dict)
    waiting_tokens: float = 0.0
    freed_per_second: float | None = None
    tokens_per_second: float | None = None
    promised: float = 0.0
    promised_of_tenant: float = 0.0
    promised_cost: tuple[float, float] = (0.0, 0.0)
    free_of_tenant: int | None = None
    allowances: Sequence[Allowance] = ()
    is_shared: bool = False
