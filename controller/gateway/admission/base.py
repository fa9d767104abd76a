"""Two questions: may a request come in (asked once), and does it fit a replica now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from controller.gateway.ask import Ask
from controller.gateway.fleet import Instance, Sight

Scope = Literal["tenant", "class", "fleet"]


@dataclass(frozen=True, slots=True)
class RuleSpec:
    """What a rule is called and where it comes from; as `LineSpec`."""

    name: str
    title: str
    source: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request does not come in.

    Attributes:
        code: one word for machines, like "tenant_tokens_per_minute".
        text: one sentence for people: what, and what to do.
        scope: whose limit it is.
        status: 429 where asking later helps, 503 where there is no capacity at all.
        wait_seconds: what the rule itself knows of when asking again helps (a bucket refills);
            None leaves it to `retry_after`.
        limit: of what bound.
        remaining: of it.
        unit: "requests" or "tokens".
        ahead: requests that have to leave the gateway's queue before it would be let in; None where
            the limit is not about a queue.
        counts_promised: whether `ahead` counts the sight's promised places too.
        is_final: asking again never helps: it is larger than the limit itself.
        per_second: units that come back by themselves; None where they do not.
    """

    code: str
    text: str
    scope: Scope = "fleet"
    status: int = 429
    wait_seconds: float | None = None
    limit: float | None = None
    remaining: float | None = None
    unit: str = "requests"
    ahead: float | None = None
    counts_promised: bool = False
    is_final: bool = False
    per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a limit, as `x-ratelimit-*` tell it.

    Attributes:
        unit: "requests" or "tokens".
        limit: at most.
        remaining: of it; never below 0.
        reset_seconds: until all of it is there again.
        per_second: units that come back by themselves; None where they come at once.
    """

    unit: str
    limit: float
    remaining: float
    reset_seconds: float
    per_second: float | None = None


@runtime_checkable
class Rule(Protocol):
    """May it come in? Rules are asked in turn; the first refusal counts."""

    @property
    def spec(self) -> RuleSpec:
        """Name, source, parameters."""
        ...

    def judge(self, ask: Ask, sight: Sight) -> Refusal | None:
        """None lets it in. Changes nothing: a later rule may still refuse."""
        ...

    def entered(self, ask: Ask, now: float) -> None:
        """It came in past every rule: book it."""
        ...

    def ended(self, ask: Ask, now: float) -> None:
        """It is over: correct what was booked by what it really took."""
        ...


@runtime_checkable
class Limited(Protocol):
    """A rule that can tell a tenant what is left."""

    def allowances(self, tenant: str, now: float) -> Sequence[Allowance]:
        """One for each of its limits; empty where the tenant has none."""
        ...


@runtime_checkable
class Lasting(Protocol):
    """A rule with books: they outlive a change of what decides."""

    def take_over(self, before: Rule, now: float) -> None:
        """Go on from the books of a rule that this one replaces; of another kind changes nothing.

        However often limits change, nobody is let in for more than they allow together.
        """
        ...


@runtime_checkable
class Place(Protocol):
    """Does it fit a replica now? All places must agree."""

    @property
    def spec(self) -> RuleSpec:
        """Name, source, parameters."""
        ...

    def has_room(self, ask: Ask, instance: Instance, now: float) -> bool:
        """Whether the replica can take it now without harm to those it serves."""
        ...

    def entered(self, ask: Ask, now: float) -> None:
        """It came in past every rule and waits, like a rule's."""
        ...

    def ended(self, ask: Ask, now: float) -> None:
        """Learn from one that is over, like the distribution of output lengths."""
        ...
