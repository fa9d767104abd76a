"""Who sees the names of tenants: `dashboard.tenant_names`, and who asks, decide it together.

With "pseudonyms-for-viewers" operators and admins see names. All that is kept or sent, such as
alerts and reports, goes by pseudonyms then, because everybody can read it later; and so does what
the server says where it is not known who reads it.
"""

from __future__ import annotations

from collections.abc import Mapping

from servescope.access.caller import caller
from servescope.veil import Veil, refuse_rows
from store.access import Role
from store.database import Database

SHOWN, HIDDEN, FOR_VIEWERS = "shown", "pseudonyms", "pseudonyms-for-viewers"
MODES = (SHOWN, HIDDEN, FOR_VIEWERS)
_WHO_SEES = frozenset({"person", "token"})


class Veils:
    """What hides names from whom.

    Args:
        mode: of `MODES`.
        database: the open store.
    """

    def __init__(self, mode: str, database: Database) -> None:
        self._mode = mode
        self.kept = Veil(database) if mode != SHOWN else None
        """Over what is kept or sent."""

    @property
    def now(self) -> Veil | None:
        """Over what is answered to whoever asks; None shows names."""
        return None if self._sees_names() else self.kept

    def params(self, given: Mapping[str, str]) -> Mapping[str, str]:
        """Parameters of a question with names for pseudonyms.

        Whoever sees names may ask by either: addresses in alerts and reports hold pseudonyms.

        Raises:
            InputError: somebody who does not see names asks for something else than a pseudonym.
        """
        if self.kept is None:
            return given
        return self.kept.named(given) if self._sees_names() else self.kept.params(given)

    def scope(self, kept: Mapping[str, str]) -> Mapping[str, str]:
        """A scope that somebody wrote down, as whoever asks may see it."""
        veil = self.now
        return kept if veil is None else veil.scope(kept)

    def said(self, text: str) -> str:
        """A text of people, as whoever asks may see it."""
        veil = self.now
        return text if veil is None else veil.speech(veil.known())(text)

    def refuse(self, what: str) -> None:
        """Refuse rows as they are to whoever may not see names.

        The server's own user may: who may open the store has them anyway.

        Raises:
            QueryRefused: they would show what is hidden.
        """
        who = caller()
        is_own = self._mode == FOR_VIEWERS and (who is None or who.kind == "local")
        if self.now is not None and not is_own:
            refuse_rows(what)

    def _sees_names(self) -> bool:
        if self._mode != FOR_VIEWERS:
            return self.kept is None
        who = caller()
        if who is None or who.kind not in _WHO_SEES:
            return False
        return who.rights.role >= Role.OPERATOR
