"""Roles: what a viewer, an operator and an admin may do.

One table for the API, the pages and the commands, so that what is shown as possible is what is
done. A viewer looks. An operator steers the fleet and acts on findings: all of it is recorded and
can be undone. An admin changes what the server is: what it watches, keeps, promises and sends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from store.errors import RoleRefused, SignInNeeded

SIGN_IN_HINT = "sign in on the dashboard, or send a token: Authorization: Bearer ss_..."


class Role(IntEnum):
    """Each may do what those before it may."""

    NOBODY = 0
    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        """As it is written in settings and in words."""
        return self.name.lower()


ROLES: Mapping[str, Role] = {role.word: role for role in Role if role}
"""What somebody may be given."""


@dataclass(frozen=True, slots=True)
class Act:
    """Something that may be done.

    Attributes:
        least: the role it needs.
        words: it, as the beginning of a sentence.
    """

    least: Role
    words: str


READ = "read"
_VIEWER: Mapping[str, str] = {READ: "Looking"}
_OPERATOR: Mapping[str, str] = {
    "freeze": "Freezing",
    "resume": "Resuming",
    "mode": "Setting a mode",
    "approve": "Approving a decision",
    "reject": "Rejecting a decision",
    "rollback": "Rolling back",
    "propose": "Proposing a candidate",
    "adopt": "Adopting a candidate",
    "withdraw": "Withdrawing a candidate",
    "restore": "Returning to the configured policy",
    "gateway-policy": "Changing what gateways decide by",
    "replay": "Replaying",
    "cancel": "Cancelling a replay",
    "train": "Training a predictor",
    "promote": "Promoting a model",
    "silence": "Silencing",
    "unsilence": "Ending a silence",
    "receiver-test": "Testing a receiver",
    "report_run": "Running a report",
    "report_test": "Testing a report",
    "report_switch": "Switching a schedule",
    "save-view": "Saving a view",
    "delete-view": "Deleting a saved view",
    "inside": "Seeing settings and threads",
    "support": "Taking the support file",
}
_ADMIN: Mapping[str, str] = {
    "slo_save": "Changing objectives",
    "report_save": "Scheduling a report",
    "report_remove": "Removing a schedule",
    "look": "Looking for engines",
    "watch": "Watching a target",
    "unwatch": "Leaving a target",
    "example": "Loading the example",
    "import": "Importing",
    "backup": "Taking a backup",
    "forget": "Leaving out an agent or a gateway",
    "people": "Seeing who may come in",
    "user-add": "Adding a user",
    "user-change": "Changing a user",
    "user-remove": "Removing a user",
    "token-add": "Making a token",
    "token-end": "Revoking a token",
    "session-end": "Ending somebody's session",
}
ACTS: Mapping[str, Act] = {
    name: Act(least, words)
    for least, named in (
        (Role.VIEWER, _VIEWER), (Role.OPERATOR, _OPERATOR), (Role.ADMIN, _ADMIN)
    )
    for name, words in named.items()
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rights:
    """What somebody may do here.

    Attributes:
        role: theirs.
        set_by: what gives it to them, such as "access.role in servescope.toml".
        is_known: False where nobody has said who they are.
    """

    role: Role = Role.ADMIN
    set_by: str = "access.role"
    is_known: bool = True

    def why_not(self, act: str) -> str:
        """Why something may not be done, as a sentence; "" where it may."""
        wanted = ACTS[act]
        if self.role >= wanted.least:
            return ""
        if not self.is_known and self.role is Role.NOBODY:
            return f"{wanted.words} needs a sign-in."
        return (
            f"{wanted.words} needs the role {wanted.least.word}; you have"
            f" {self.role.word if self.role else 'none'}"
            f" ({self.set_by})."
        )

    def check(self, act: str) -> None:
        """Refuse what may not be done.

        Raises:
            SignInNeeded: nobody has said who they are.
            RoleRefused: the role is less than the act needs.
        """
        why_not = self.why_not(act)
        if why_not and not self.is_known and self.role is Role.NOBODY:
            raise SignInNeeded(why_not.rstrip("."), hint=SIGN_IN_HINT)
        if why_not:
            least = ACTS[act].least.word
            raise RoleRefused(
                why_not.rstrip("."), hint=f"ask whoever runs this server to set {least} there",
                needs_role=least, role=self.role.word,
            )  # fmt: skip
