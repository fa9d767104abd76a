"""A gateway that goes by the server's word: its policy, replicas on their way, lengths of answers.

Two things change what decides while requests run: the server's policy and the file of tenants.
Either way the gate takes over who waits; nobody is dropped.
"""

from __future__ import annotations

import asyncio
import platform
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from collector.agent.post import Poster
from controller.gateway.admission.base import Rule
from controller.gateway.control import Control
from controller.gateway.fairness_watch import FairnessWatch
from controller.gateway.fleet import Starting
from controller.gateway.gate import Gate
from controller.gateway.lengths import TableLengths
from controller.gateway.rows import Marks
from controller.gateway.tenant_book import TenantBook
from servescope.gateway import policy
from servescope.gateway.settings import GatewaySettings
from store.clock import Clock

POLL_SECONDS = 2.0

Standing = Callable[[], Mapping[str, Any]]
"""`waiting_rows`, `dropped_rows` and `details` of a heartbeat."""


class Steering:
    """Between the server's word and the gate. One event loop owns it.

    Args:
        settings: what counts until somebody says otherwise.
        clock: the time.
    """

    def __init__(self, settings: GatewaySettings, clock: Clock) -> None:
        self.control: Control | None = None
        self.lengths = TableLengths()
        self._own, self._settings, self._clock = settings, settings, clock
        self._rules: Mapping[str, Mapping[str, Any]] = {}
        self._gate: Gate | None = None
        self._fairness: FairnessWatch | None = None
        self._pump: Callable[[], None] = lambda: None
        self._task: asyncio.Task[None] | None = None

    def attach(
        self, gate: Gate, pump: Callable[[], None], fairness: FairnessWatch | None = None
    ) -> None:
        """Change this gate from now on.

        Args:
            gate: decides.
            pump: called after a change: somebody may have a place now.
            fairness: watches whatever line decides.
        """
        self._gate, self._pump, self._fairness = gate, pump, fairness

    def ask(self, name: str, url: str, poster: Poster, folder: Path, standing: Standing) -> None:
        """Go by the server's word; what it said last counts at once.

        Args:
            name: of this gateway.
            url: where clients come to.
            poster: the way to the server.
            folder: where its last word is kept.
            standing: tells how this gateway stands.
        """
        identity, started_at = secrets.token_hex(8), self._clock.now().timestamp()

        def told() -> Mapping[str, Any]:
            return {
                "identity": identity, "node": platform.node(), "url": url,
                "version": metadata.version("servescope"), "started_at": started_at,
                "heartbeat_seconds": POLL_SECONDS, "policy_version": self.marks().policy_version,
                **standing(),
            }  # fmt: skip

        self.control = Control(
            name, poster, folder, self._clock, told, self.use_policy, self._use_starting,
            self._own.seats, POLL_SECONDS,
        )  # fmt: skip
        self.control.lengths = self.lengths
        self.control.load()

    def start(self) -> None:
        """Ask from now on."""
        if self.control is not None:
            self._task = asyncio.create_task(self.control.run())

    async def aclose(self) -> None:
        """Stop asking. Safe twice."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        if self.control is not None:
            await self.control.aclose()

    def rules(self) -> Mapping[str, Rule]:
        """Those in force, by name."""
        return {} if self._gate is None else self._gate.policies.named_rules

    def marks(self) -> Marks:
        """What rows say was in force."""
        return Marks() if self.control is None else self.control.marks

    def use_policy(self, document: Mapping[str, Any]) -> None:
        """Decide by this from now on.

        Raises:
            ServescopeError: it cannot be; everything stays as it was.
        """
        self._change(policy.with_policy(self._own, document), self._rules)

    def use_book(self, book: TenantBook) -> None:
        """Keep the limits of these tenants from now on.

        Raises:
            ServescopeError: a limit cannot be; everything stays as it was.
        """
        rules = book.rules()
        if rules != self._rules:
            self._change(self._settings, rules)
        elif self._fairness is not None:
            self._fairness.forget()

    def status(self) -> dict[str, Any]:
        """How it stands with the server's word, for people."""
        if self.control is None:
            return {"policy_version": None, "server": "none is set"}
        state = self.control.state()
        age = state.age_seconds
        heard = "not heard yet" if age is None else f"heard {age:.0f} s ago"
        return {
            "policy_version": state.policy_version,
            "policy_is_from_disk": state.is_from_disk,
            "server": heard,
            "server_age_seconds": age,
            "problem": state.problem,
        }

    def _change(self, settings: GatewaySettings, rules: Mapping[str, Mapping[str, Any]]) -> None:
        before = None if self._gate is None else (self._settings, self._gate.policies)
        made = policy.policies(settings, rules, before)
        self._settings, self._rules = settings, rules
        if self._fairness is not None and before is not None and made.line is before[1].line:
            self._fairness.forget()  # the line goes on, and is measured already
        elif self._fairness is not None:
            made = self._fairness.over(made)
        if self._gate is not None:
            self._gate.change(made, self._clock.monotonic())
            self._gate.limits = policy.limits(settings)
            self._pump()

    def _use_starting(self, starting: tuple[Starting, ...]) -> None:
        if self._gate is not None:
            self._gate.starting = starting
