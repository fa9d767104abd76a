"""What pages are handed of comparisons: asked for, watched and ended from any thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from servescope.documents import plain
from store import audit

if TYPE_CHECKING:
    from servescope.runtime import Runtime

DASHBOARD = "dashboard"


class ReplayDesk:
    """Comparisons of a server. The simulator is loaded by whoever needs it.

    Args:
        runtime: the server's state.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def choices(self) -> Mapping[str, Sequence[str]]:
        """What may be chosen: `policies`, `usual`, `profiles`, the usual one first, `pools`.

        Configured pools that say no profile cannot be replayed: they are in
        `pools_without_profile`.
        """
        from controller import profiles
        from controller.comparison.building import names
        from servescope.calibrating import profiles_folder
        from servescope.replaying.asked import USUAL_POLICIES, USUAL_PROFILE

        known = {**profiles.shipped(), **profiles.read(profiles_folder())}
        pools = self._runtime.config.controller.pools()
        rest = sorted(set(known) - {USUAL_PROFILE})
        return {
            "policies": tuple(names()),
            "usual": USUAL_POLICIES,
            "profiles": (USUAL_PROFILE, *rest),
            "pools": tuple(pool.name for pool in pools if pool.profile),
            "pools_without_profile": tuple(pool.name for pool in pools if not pool.profile),
        }

    def progress(self, replay_id: str) -> Mapping[str, Any] | None:
        """How far it is; None when it does not wait or run here."""
        return self._runtime.replaying.progress(replay_id)

    def submit(self, about: Mapping[str, Any], by: str) -> Mapping[str, Any]:
        """Queue one.

        Raises:
            InputError: an unknown parameter, or one out of range.
            ControllerError: parameters that contradict each other, or too many wait.
        """
        from servescope.replaying import answers

        made = answers.submit(self._runtime, about, by)
        self._note("replays.submit", made["replay_id"], dict(about), by)
        return self._plain(made)

    def cancel(self, replay_id: str, by: str) -> str:
        """End one that waits or runs; what is done is kept.

        Raises:
            InputError: there is none.
        """
        state = self._runtime.replaying.cancel(replay_id)
        self._note("replays.cancel", replay_id, {"state": state}, by)
        return state

    def propose(self, replay_id: str, about: Mapping[str, Any], by: str) -> Mapping[str, Any]:
        """Record a row as a candidate that the controller watches in dry-run.

        Raises:
            InputError: no such row, or no pool.
        """
        from servescope.replaying import answers

        made = answers.propose(self._runtime, replay_id, about, by)
        self._note("replays.propose", str(made["candidate_id"]), made, by)
        return self._plain(made)

    def _note(self, action: str, subject: str, after: dict[str, Any], by: str) -> None:
        note = audit.Change(by, action, subject, None, after, DASHBOARD)
        audit.note(self._runtime.database.writer, self._runtime.clock.now(), note).result()

    def _plain(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        found: Mapping[str, Any] = plain(value)
        return found
