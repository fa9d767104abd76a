"""The control loop of a server: started with it, asked from any thread, told what people want.

Policies bring compilers: what needs them is imported when something is controlled or asked about.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from controller.modes import PoolState, said
from controller.refusals import Missing, NotAllowed
from servescope.config import Config
from servescope.controlling.choosing import NO_POOLS, Choosing
from store import decisions
from store.clock import Clock
from store.database import Database
from store.queries import decisions as queries
from store.reader import Reader

if TYPE_CHECKING:
    from analysis.slo_model import Slo
    from controller.actuators.base import Actuator
    from controller.book import Open
    from controller.leases import Leases
    from controller.ledger import Checked
    from controller.loop import Counts, Loop
    from controller.orders import Orders
    from servescope.controlling.assembly import Plan

T = TypeVar("T")
FLIP_SECONDS = 3.0
ORDER_SECONDS = 60.0
MOST_LISTED = 1_000
MOST_VERIFIED = 100_000


class Controlling:
    """One process's control loop. Reading is safe from any thread; orders run on the loop's.

    Args:
        database: the store.
        clock: the time.
        config: the whole configuration.
    """

    def __init__(self, database: Database, clock: Clock, config: Config) -> None:
        self._database, self._clock, self._config = database, clock, config
        self.settings = config.controller
        self.loop: Loop | None = None
        self.orders: Orders | None = None
        self.candidates = Choosing(database, clock, config)
        self.actuators: Mapping[str, Actuator] = {}
        self.leases: Leases | None = None
        """Of this process, where several servers share the store."""
        self._planned: Plan | None = None
        self._events: asyncio.AbstractEventLoop | None = None

    def prepare(self, slos: Sequence[Slo]) -> None:
        """Check what is configured, before anything starts.

        Args:
            slos: objectives in force.

        Raises:
            ConfigError: a pool is configured in a way that cannot work.
        """
        if not self.settings.pool:
            return
        from servescope.controlling import assembly

        self._planned = assembly.plan(self.settings, slos, self._clock)
        self.actuators = self._planned.actuators

    async def start(self) -> None:
        """Take up where the last process stopped, and go on deciding what was prepared."""
        planned = self._planned
        if planned is None:
            return
        from controller import adoptions
        from controller.adopting import CandidateOrders
        from controller.orders import Orders
        from servescope.controlling import assembly

        scrape = self._config.collector.scrape_interval_seconds
        loop = assembly.loop_of(planned, self._database, self._clock, scrape, self.leases)
        await asyncio.to_thread(loop.load)
        await adoptions.resume(loop)
        self.orders = Orders(loop, planned.settings)
        self.candidates.begin(loop, CandidateOrders(loop, self.orders, planned.settings))
        self.loop, self._events = loop, asyncio.get_running_loop()
        loop.start()

    async def aclose(self) -> None:
        """Stop deciding; replicas go on. Safe without start."""
        if self.loop is not None:
            await self.loop.aclose()

    def forget(self) -> Mapping[str, Any] | None:
        """Delete steps older than the settings allow; details or None."""
        days = self.settings.retention_days
        if days is None:
            return None
        before = self._clock.now() - timedelta(days=days)
        gone = decisions.delete_old(self._database.writer, before.replace(tzinfo=None)).result()
        return {"steps": gone} if gone else None

    async def told(self, order: Coroutine[Any, Any, T]) -> T:
        """Let an order run on the loop's own event loop."""
        if self._events is None:
            order.close()
            raise NotAllowed("nothing is controlled here", hint=NO_POOLS)
        if self._events is asyncio.get_running_loop():
            return await order
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(order, self._events))

    def running(self) -> Orders:
        """What takes orders.

        Raises:
            NotAllowed: no pool is configured, or this process does not control any.
        """
        if self.orders is None:
            raise NotAllowed("nothing is controlled here", hint=NO_POOLS)
        return self.orders

    def status(self) -> dict[str, Any]:
        """Modes, freezes, targets, what is open, counters."""
        return status_document(self._database.reader, self._clock, self.loop)

    def decision(self, decision_id: int) -> dict[str, Any]:
        """Why a decision is what it is.

        Raises:
            Missing: there is none.
        """
        return decision_document(self._database.reader, self._clock, decision_id, self.settings)

    def published(self) -> list[tuple[dict[str, str], int]]:
        """What other scalers should give each pool, `pool` being a label: nothing in dry-run."""
        if self.loop is None:
            return []
        hands = self.loop.hands
        return [(hands.labels(pool), count) for pool, count in hands.asked().items()]

    def targets(self) -> dict[str, int]:
        """Replicas that were decided last of each pool, done or not."""
        return {} if self.loop is None else dict(self.loop.targets)

    def tell(self, order: Coroutine[Any, Any, T]) -> T:
        """Let an order run, from any thread but the event loop's own; waits for it.

        Raises:
            NotAllowed: nothing is controlled here.
        """
        if self._events is None:
            order.close()
            raise NotAllowed("nothing is controlled here", hint=NO_POOLS)
        told = asyncio.run_coroutine_threadsafe(order, self._events)
        return told.result(ORDER_SECONDS)

    def counts(self) -> Counts | None:
        """Totals since the start; None where nothing is controlled."""
        return None if self.loop is None else self.loop.counts


_PARAMETERS = ("parameters", "configured_parameters")


def state_document(state: PoolState, at: datetime) -> dict[str, Any]:
    """One pool's treatment; `adopted` is the candidate that decides, with a text, or None."""
    adopted = None
    if state.adopted is not None:
        own = {name: json.loads(getattr(state.adopted, name)) for name in _PARAMETERS}
        adopted = {**asdict(state.adopted), **own, "text": state.adopted.text()}
    return {**asdict(state), "is_frozen": state.frozen(at), "adopted": adopted}


def status_document(reader: Reader, clock: Clock, loop: Loop | None) -> dict[str, Any]:
    """How things stand: live from a loop, else as the ledger left them.

    Returns:
        running, pools (state, live numbers, open action), pending, version, counters, code.
    """
    from controller import codec

    at = clock.now().replace(tzinfo=None)
    if loop is None:
        return {
            "running": False,
            "pools": _recorded(reader),
            "pending": queries.pending(reader, at).drop("clips", "numbers").to_dicts(),
            "version": queries.numbers(reader)[2],
            "code": codec.code_version(),
        }
    book = loop.book
    return {
        "running": True,
        "pools": [_live(loop, name, at) for name in book.pools],
        "pending": [asdict(row) for row in list(book.pending.values())],
        "version": book.version,
        # Copied at once: the loop goes on meanwhile.
        "counters": {name: dict(getattr(loop.counts, name)) for name in loop.counts.__slots__},
        "code": codec.code_version(),
    }


def _live(loop: Loop, name: str, at: datetime) -> dict[str, Any]:
    from controller.observation import REQUESTS_RUNNING

    view, tried = loop.views.get(name), loop.book.open.get(name)
    fleet = loop.fleet_of(name)
    rules = fleet.rules.of(name)
    return {
        **state_document(loop.book.states[name], at),
        "policy": fleet.policy.spec.name,
        "policy_text": said(fleet.policy.spec.name, fleet.parameters),
        "parameters": json.loads(fleet.parameters),
        "fleet": fleet.name,
        "shadows": sorted(one.candidate_id for one in loop.shadows.of(fleet.name))
        if loop.shadows
        else [],
        "actuator": loop.hands.name(name),
        "least": rules.least,
        "most": rules.most,
        "wanted": view.target if view else None,
        "ready": view.ready if view else None,
        "starting": view.starting if view else None,
        "draining": view.draining if view else None,
        "requests_running": view.reading(REQUESTS_RUNNING).value if view else None,
        "desired": loop.targets.get(name),
        "doubt": loop.doubt(name),
        "lease": loop.leases.owner(name) if loop.leases.holds(name) else "",
        "policy_error": loop.errors.get(fleet.name, ""),
        "open": None if tried is None else _open(tried, loop.targets.get(name)),
        "notes": [note for note in loop.notes.get(fleet.name, ()) if note.startswith(name)],
        "step_seconds": loop.counts.seconds.get(fleet.name),
    }


def _open(tried: Open, desired: int | None) -> dict[str, Any]:
    """What was not done yet; `is_wanted` is whether the newest decision still wants it."""
    return {**asdict(tried), "is_wanted": desired in (None, tried.replicas)}


def _recorded(reader: Reader) -> list[dict[str, Any]]:
    """Pools as their newest decisions show them."""
    found = queries.newest_of_pools(reader)
    return [
        {
            "pool": row["pool"], "mode": row["mode"], "policy": row["policy"],
            "wanted": row["before_replicas"], "desired": row["final_replicas"],
            "ready": row["ready"], "starting": row["starting"], "draining": row["draining"],
            "decided_at": row["decided_at"],
        }
        for row in found.iter_rows(named=True)
    ]  # fmt: skip


def refused_modes(orders: Orders | None) -> dict[str, dict[str, dict[str, Any]]]:
    """Pool -> mode that it may not be set to now -> why, hint, may_override.

    A pool's name, typed, overrides what may be overridden. Empty where nothing is controlled.
    """
    if orders is None:
        return {}
    return {
        pool: {
            mode: {
                "why": error.message, "hint": error.hint,
                "may_override": isinstance(error, NotAllowed),
            }
            for mode, error in modes.items()
        }
        for pool, modes in orders.refusals().items()
    }  # fmt: skip


def decision_document(
    reader: Reader, clock: Clock, decision_id: int, settings: Any
) -> dict[str, Any]:
    """Why a decision is what it is.

    Raises:
        Missing: there is none.
    """
    from controller.explain import explained
    from servescope.controlling import assembly

    until = clock.monotonic() + FLIP_SECONDS
    found = explained(
        reader, decision_id, assembly.made_again, settings.settle_seconds,
        lambda: clock.monotonic() < until,
    )  # fmt: skip
    if found is None:
        raise Missing(
            f"there is no decision {decision_id}", hint="`servescope controller decisions` has them"
        )
    return found


def verify_document(reader: Reader, last: int) -> dict[str, Any]:
    """Newest steps made again, compared to the byte; and as many of candidates.

    Returns:
        checked, same, differs, other_code, not_there, problems (the first hundred); shadows: the
        same five of candidates' steps.
    """
    from controller import ledger, shadowing
    from servescope.controlling import assembly

    most = min(last, MOST_VERIFIED)
    told = _verified(ledger.verified(reader, assembly.made_again, most))
    shadows = _verified(shadowing.verified(reader, assembly.made_again, most))
    return {**told, "shadows": shadows}


def _verified(found: Iterable[Checked]) -> dict[str, Any]:
    counts = {"same": 0, "differs": 0, "other code": 0, "not there": 0}
    problems: list[dict[str, Any]] = []
    for one in found:
        counts[one.verdict] += 1
        if one.verdict != "same" and len(problems) < 100:
            problems.append(asdict(one))
    return {
        "checked": sum(counts.values()),
        **{name.replace(" ", "_"): count for name, count in counts.items()},
        "problems": problems,
    }
