"""Adopted policies: given back, and taken up again after a restart.

One rule where the configuration and an adoption differ: the newer word holds. An adoption outlives
restarts as long as the configuration names what it named then, for the same pools; once it names
something else, that decides, and the adoption has ended.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict

from controller import shadowing
from controller.loop import Loop
from controller.modes import ACTIVE, Adopted, said
from controller.policies.registry import check_mode
from controller.policy import Policy
from controller.pools import Fleet
from controller.refusals import NotAllowed, Who
from controller.shadows import Shadows
from store.audit import Change
from store.candidates import ENDED, CandidateRow
from store.decisions import Row
from store.errors import ControllerError
from store.queries import candidates as queries

CONFIGURATION = "configuration"
log = logging.getLogger("servescope.controller")


async def give_back(loop: Loop, fleet: Fleet, who: Who) -> None:
    """Let what the configuration names decide a fleet again."""
    book, configured = loop.book, loop.configured[fleet.name]
    names = [pool.name for pool in fleet.pools if book.states[pool.name].adopted]
    rows = [book.row(name, "restore", who.name, comment=who.comment) for name in names]
    policy = said(configured.policy.spec.name, configured.parameters)
    before = {name: asdict(one) for name in names if (one := book.states[name].adopted)}
    change = Change(
        who.name, "controller.restore", ", ".join(names), before, {"policy": policy}, who.origin,
        who.comment or None,
    )  # fmt: skip
    over: Sequence[Row] = ended(loop, names, who.comment, who.name)
    await book.change(rows, change, over)
    if fleet.policy is not configured.policy:
        await loop.decide_by(fleet.name, configured.policy, configured.parameters, "{}")
    text = f"{fleet.name}: {policy} of the configuration decides again; {who.name}: {who.comment}"
    book.tell(f"restore:{rows[0].version}", "policy", names[0], text[:500])


async def resume(loop: Loop) -> None:
    """After a restart: adoptions that still hold decide, the others end, and say so."""
    for fleet in loop.fleets:
        told = [loop.book.states[pool.name].adopted for pool in fleet.pools]
        adopted = next((one for one in told if one is not None), None)
        if adopted is None:
            continue
        why = _ends(adopted, fleet)
        policy: Policy | None = None
        if not why:
            policy, why = _made(loop, adopted)
        if policy is None:
            log.warning("adoption_ended", extra={"fleet": fleet.name, "reason": why})
            await give_back(loop, fleet, Who(CONFIGURATION, CONFIGURATION, why))
            continue
        await loop.decide_by(fleet.name, policy, adopted.parameters, "{}")
        await asyncio.to_thread(_remember, loop, fleet.name, policy, adopted)


def _ends(adopted: Adopted, fleet: Fleet) -> str:
    """Why an adoption does not hold any more; "" while it does."""
    then = said(adopted.configured_policy, adopted.configured_parameters)
    now = said(fleet.policy.spec.name, fleet.parameters)
    if now != then:
        return f"the configuration names {now} now, where it named {then} when this was adopted"
    if fleet.name != adopted.fleet:
        return f"{fleet.name} are decided together now, where it was {adopted.fleet} at adoption"
    return ""


def _made(loop: Loop, adopted: Adopted) -> tuple[Policy | None, str]:
    try:
        policy = shadows_of(loop).making(adopted.policy, json.loads(adopted.parameters))
        check_mode(policy, ACTIVE)
    except (ControllerError, TypeError, ValueError) as error:
        return None, f"{said(adopted.policy, adopted.parameters)} cannot be made any more: {error}"
    return policy, ""


def _remember(loop: Loop, fleet: str, policy: Policy, adopted: Adopted) -> None:
    """Go on with its last step; where it made none yet, with what it remembered as a shadow."""
    if loop.book.resume_memory(fleet, policy, adopted.parameters):
        return
    reader = loop.book.database.reader
    steps = queries.newest_steps(reader, 1, adopted.candidate_id)
    if steps:
        chain = queries.chain(reader, steps[0][0])
        loop.book.threads[fleet].memory = shadowing.resumed(chain, policy)[0]


def ended(loop: Loop, names: Sequence[str], text: str, by: str) -> list[CandidateRow]:
    """What becomes of the candidates that decided pools until now."""
    told = (loop.book.states[name].adopted for name in names)
    numbers = sorted({one.candidate_id for one in told if one is not None})
    now = loop.book.now()
    return [CandidateRow(number, now, ENDED, text[:500], by) for number in numbers]


def shadows_of(loop: Loop) -> Shadows:
    """What asks candidates.

    Raises:
        NotAllowed: nothing does.
    """
    if loop.shadows is None:
        raise NotAllowed("no candidates are watched here")
    return loop.shadows
