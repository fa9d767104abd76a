"""What the pages are told of who may come in, and what they tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from dashboard.people_desk import Account
from servescope.access.assembly import People
from servescope.access.caller import caller
from servescope.access.desk import Document
from servescope.access.scopes import DOORS
from store.access import ROLES
from store.clock import Clock
from store.reader import Reader

LATELY = timedelta(days=7)
MOST_CHANGES = 50
REFUSED_SQL = """
SELECT subject AS name, after ->> 'from' AS address, count(*) AS attempts,
       max(happened_at) AS last_at
FROM audit WHERE action = 'access.sign-in-refused' AND happened_at >= $since
GROUP BY ALL ORDER BY last_at DESC LIMIT 50
"""
CHANGES_SQL = """
SELECT happened_at AS at, actor, action, subject, after AS became, comment, origin
FROM audit WHERE action NOT LIKE 'access.sign-%' ORDER BY happened_at DESC LIMIT $most
"""


def account(people: People) -> Account | None:
    """Whoever looks; None where nobody signs in."""
    if not people.asks:
        return None
    who = caller()
    return Account() if who is None else Account(who.name, who.kind == "person")


def desk(people: People, reader: Reader, clock: Clock) -> PeopleDesk | None:
    """What the Admin page asks; None where nobody signs in."""
    return PeopleDesk(people, reader, clock) if people.asks else None


class PeopleDesk:
    """`dashboard.people_desk.PeopleDesk` over the people of this process.

    Args:
        people: who may come in.
        reader: of the store, for the record of changes.
        clock: the time.
    """

    def __init__(self, people: People, reader: Reader, clock: Clock) -> None:
        self._people, self._reader, self._clock = people, reader, clock

    def listed(self) -> Mapping[str, Sequence[Document]]:
        """Everything at once, as it is now."""
        self._people.book.refresh()
        held = self._people.desk
        return {
            "users": held.users(),
            "tokens": held.tokens(),
            "sessions": held.open_sessions(),
            "refused": self._rows(REFUSED_SQL, since=self._clock.now() - LATELY),
            "changes": self._rows(CHANGES_SQL, most=MOST_CHANGES),
        }

    def scopes(self) -> Mapping[str, str]:
        """What a token may open."""
        return dict.fromkeys(ROLES, "") | dict(DOORS)

    def user_add(self, name: str, role: str, password: str | None, by: str) -> Document:
        """See `AccessDesk.user_add`."""
        return self._people.desk.user_add(name, role, password, by)

    def user_change(self, name: str, by: str, **changes: Any) -> Document:
        """See `AccessDesk.user_change`."""
        return self._people.desk.user_change(name, by, **changes)

    def user_remove(self, name: str, by: str) -> Document:
        """See `AccessDesk.user_remove`."""
        return self._people.desk.user_remove(name, by)

    def token_add(
        self, name: str, wanted: Sequence[str], days: float | None, by: str
    ) -> tuple[Document, str]:
        """See `AccessDesk.token_add`."""
        return self._people.desk.token_add(name, wanted, days, by)

    def token_end(self, token_id: str, by: str) -> Document:
        """See `AccessDesk.token_end`."""
        return self._people.desk.token_end(token_id, by)

    def session_end(self, session_id: str, by: str) -> Document:
        """See `AccessDesk.session_end`."""
        return self._people.desk.session_end(session_id, by)

    def _rows(self, sql: str, **params: Any) -> list[Document]:
        return self._reader.frame(sql, **params).to_dicts()
