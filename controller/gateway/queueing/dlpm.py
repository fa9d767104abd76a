"""Deficit longest prefix match: what a replica kept goes first, as long as its tenant has credit.

Each tenant has a deficit counter. What of the prompt has to be computed is taken from it when a
request goes, and output as it comes; whoever is at 0 or below waits until no tenant that waits has
credit, then all get a quantum. A larger quantum keeps more in caches and bounds less.

D²LPM keeps a counter for each replica and tenant, so that no tenant lives on one replica alone:
the way chooses the replica, the tenant's credit there decides.

Not as in the paper: of those that wait the first `looked_at` by tenant and arrival are compared,
not all (5,000 would take too long), and the earliest of them is passed `most_passed` times at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from controller.gateway.ask import Ask
from controller.gateway.queueing.base import INPUT_WEIGHT, OUTPUT_WEIGHT, LineSpec, Room
from controller.gateway.queueing.by_tenant import ByTenant
from controller.gateway.queueing.credit import Credit
from controller.gateway.queueing.fifo import Fifo, arrival
from controller.gateway.queueing.lanes import Lanes
from controller.gateway.queueing.ranking import Key
from store.errors import ControllerError

SOURCE = "arXiv 2501.14312"
QUANTUM = 2_000.0
LOOKED_AT = 32
MOST_PASSED = 64


class Window:
    """Of one lane: who may be compared now, best match first."""

    def __init__(self, credit: Credit, *, is_by_replica: bool, looked_at: int, most: int) -> None:
        self._credit, self._is_by_replica = credit, is_by_replica
        self._looked_at, self._most_passed = looked_at, most
        self.tenants = ByTenant(Fifo, lambda tenant: 0.0)
        self._spent: dict[str, None] = {}
        self._oldest, self._passed = -1, 0

    def __len__(self) -> int:
        return len(self.tenants)

    def put(self, ask: Ask, now: float) -> None:
        """Add one."""
        self.tenants.put(ask)

    def drop(self, ask: Ask) -> bool:
        """Take one out; all that wait were passed once more."""
        if not self.tenants.drop(ask):
            return False
        if ask.tenant not in self.tenants:
            self._spent.pop(ask.tenant, None)
        self._passed = 0 if ask.number == self._oldest else self._passed + 1
        return True

    def key(self, ask: Ask) -> Key:
        """By arrival."""
        return arrival(ask)

    def candidates(self, room: Room, now: float) -> Iterator[Ask]:
        """Nobody else is offered while the earliest was passed too often."""
        if not len(self):
            return iter(())
        if not self._is_by_replica:
            self._renew()
        names = list(islice(self.tenants.ranking, self._looked_at))
        oldest = self.tenants.head(names[0])
        if oldest.number != self._oldest:
            self._oldest, self._passed = oldest.number, 0
        if self._passed >= self._most_passed:
            return iter((oldest,))
        each = max(self._looked_at // len(names), 1)
        seen = [ask for name in names for ask in islice(self.tenants.of(name), each)]
        return iter(sorted(seen, key=lambda ask: (-_kept(ask, room), *arrival(ask))))

    def _renew(self) -> None:
        """Leave those with credit in the ranking; give all a quantum when nobody has any."""
        ranking = self.tenants.ranking
        spent = [
            name for name in islice(ranking, self._looked_at) if self._credit.is_spent("", name)
        ]
        while spent:
            for name in spent:
                ranking.discard(name)
                self._spent[name] = None
            spent = [
                name for name in islice(ranking, self._looked_at) if self._credit.is_spent("", name)
            ]
        if not len(ranking):
            self._credit.refill(
                [("", name, self.tenants.head(name).weight) for name in self._spent]
            )
            back = [name for name in self._spent if not self._credit.is_spent("", name)]
            for name in back:
                del self._spent[name]
                ranking.add(name)


def _kept(ask: Ask, room: Room) -> int:
    return room.cached(ask) if ask.prefix else 0


class Dlpm:
    """See the head of this module."""

    def __init__(
        self,
        quantum: float = QUANTUM,
        looked_at: int = LOOKED_AT,
        most_passed: int = MOST_PASSED,
        input_weight: float = INPUT_WEIGHT,
        output_weight: float = OUTPUT_WEIGHT,
    ) -> None:
        """One counter a tenant.

        Args:
            quantum: service that each gets when nobody has credit, by weight.
            looked_at: requests that are compared.
            most_passed: times that the earliest is passed.
            input_weight: service of a prompt token that is computed.
            output_weight: service of an output token.

        Raises:
            ControllerError: a value out of range.
        """
        self._build(LineSpec(
            "dlpm", "Deficit longest prefix match", SOURCE + ", algorithm 1",
            shown(quantum, looked_at, most_passed, input_weight, output_weight), is_bounded=True,
        ), is_by_replica=False)  # fmt: skip

    def _build(self, spec: LineSpec, *, is_by_replica: bool) -> None:
        self.spec = spec
        knobs = spec.parameters
        self._input_weight, self._output_weight = knobs["input_weight"], knobs["output_weight"]
        self._is_by_replica = is_by_replica
        self.credit = Credit(knobs["quantum"])
        self._lanes = Lanes(
            lambda: Window(
                self.credit, is_by_replica=is_by_replica, looked_at=knobs["looked_at"],
                most=knobs["most_passed"],
            )
        )  # fmt: skip
        self._charged: dict[int, tuple[str, int]] = {}

    def put(self, ask: Ask, now: float) -> None:
        """Let it wait."""
        self._lanes.put(ask, now)

    def take(self, room: Room, now: float) -> Ask | None:
        """The longest match of a tenant with credit."""
        ask = self._by_replica(room, now) if self._is_by_replica else self._lanes.take(room, now)
        if ask is not None:
            replica = room.where(ask) if self._is_by_replica else ""
            cached = min(_kept(ask, room), ask.input_tokens)
            self._charged[ask.number] = replica, cached
            self._charge(replica, ask, self._input_weight * (ask.input_tokens - cached))
        return ask

    def drop(self, ask: Ask) -> bool:
        """Forget it; nothing was charged."""
        return self._lanes.drop(ask)

    def served(self, ask: Ask, output_tokens: int, *, is_over: bool, now: float) -> None:
        """Charge what came; at the end, the prompt by what was really kept of it."""
        replica, cached = self._charged.get(ask.number, ("", ask.cached_tokens))
        more = self._output_weight * output_tokens
        if is_over:
            more += self._input_weight * (cached - ask.cached_tokens)
            self._charged.pop(ask.number, None)
        if more:
            self._charge(replica, ask, more)

    def _charge(self, replica: str, ask: Ask, service: float) -> None:
        self.credit.charge(replica, ask.tenant, service)

    def _by_replica(self, room: Room, now: float) -> Ask | None:
        """Whose tenant has credit on the replica that the way chose for it."""
        short: dict[tuple[str, str], float] = {}

        def fits(ask: Ask) -> bool:
            if not room.fits(ask):
                return False
            replica = room.where(ask)
            if self.credit.is_spent(replica, ask.tenant):
                short[replica, ask.tenant] = ask.weight
                return False
            return True

        guarded = Room(fits, room.cached, room.instance, room.where)
        ask = self._lanes.take(guarded, now)
        if ask is None and short:
            self.credit.refill([(*pair, weight) for pair, weight in short.items()])
            ask = self._lanes.take(guarded, now)
        return ask


class D2lpm(Dlpm):
    """DLPM with a counter for each replica and tenant."""

    def __init__(
        self,
        quantum: float = QUANTUM,
        looked_at: int = LOOKED_AT,
        most_passed: int = MOST_PASSED,
        input_weight: float = INPUT_WEIGHT,
        output_weight: float = OUTPUT_WEIGHT,
    ) -> None:
        """As `Dlpm`; the quantum is of a replica and tenant."""
        self._build(LineSpec(
            "d2lpm", "Deficit longest prefix match by replica", SOURCE + ", section 4",
            shown(quantum, looked_at, most_passed, input_weight, output_weight), is_bounded=True,
        ), is_by_replica=True)  # fmt: skip


def shown(
    quantum: float, looked_at: int, most_passed: int, input_weight: float, output_weight: float
) -> dict[str, float]:
    """Parameters of a line, in range.

    Raises:
        ControllerError: naming which is not.
    """
    found = {
        "quantum": quantum, "looked_at": looked_at, "most_passed": most_passed,
        "input_weight": input_weight, "output_weight": output_weight,
    }  # fmt: skip
    least = {"quantum": 1.0, "looked_at": 1, "most_passed": 0}
    for name, value in found.items():
        if not least.get(name, 0.0) <= value < float("inf"):
            raise ControllerError(f"{name} must be {least.get(name, 0)} or more, not {value}")
    return found
