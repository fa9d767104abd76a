"""Small tables that the servers of a lake share beside its catalogue, by PostgreSQL itself.

What must be asked without DuckDB lies here: who may come in (which ad-hoc SQL must not reach), and
who acts. They have a schema of their own beside the catalogue's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from store.errors import StoreError
from store.identities import Statement
from store.lake_address import LakeAddress

if TYPE_CHECKING:
    import psycopg

T = TypeVar("T")
ANSWER_SECONDS = 3
_SUFFIX = "_servers"
_ALONE = "SELECT pg_advisory_xact_lock(hashtext(current_schema()))"


class LakeTables:
    """One connection to the schema of shared tables; opened when needed, and again when it broke.

    May be used from any thread; one at a time.

    Args:
        address: of the lake; its catalogue is in PostgreSQL.
    """

    def __init__(self, address: LakeAddress) -> None:
        self._login = address.login
        self._schema = address.schema + _SUFFIX
        self._lock = threading.Lock()
        self._connection: psycopg.Connection[Any] | None = None

    def done(self, work: Callable[[psycopg.Cursor[Any]], T]) -> T:
        """Do something in one transaction.

        Raises:
            StoreError: the database does not answer, or refuses.
        """
        try:
            import psycopg
        except ImportError as error:
            raise StoreError(
                "servers that share a lake need psycopg", hint="pip install 'servescope[lake]'"
            ) from error
        with self._lock:
            try:
                connection = self._connected()
                with connection.transaction(), connection.cursor() as cursor:
                    return work(cursor)
            except psycopg.Error as error:
                self._leave()
                first = str(error).strip().splitlines() or [type(error).__name__]
                raise StoreError(
                    f"PostgreSQL does not answer ({first[0][:200]})", where="store.lake",
                    hint="`servescope doctor` says what is missing",
                ) from error  # fmt: skip

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of a question with `?` for values; see `store.identities.Rows`."""
        return self.done(lambda cursor: _asked(cursor, sql, values).fetchall())

    def write(self, statements: Iterable[Statement]) -> list[int]:
        """Do all or nothing, one writer at a time; gives the rows that each changed."""
        given = list(statements)

        def work(cursor: psycopg.Cursor[Any]) -> list[int]:
            cursor.execute(_ALONE)
            return [_asked(cursor, sql, values).rowcount for sql, values in given]

        return self.done(work)

    def close(self) -> None:
        """Leave the database; the next use comes back."""
        with self._lock:
            self._leave()

    def _leave(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connected(self) -> psycopg.Connection[Any]:
        import psycopg

        if self._connection is None:
            login = {_PARTS[name]: value for name, value in self._login.items()}
            waits = f"-c statement_timeout={ANSWER_SECONDS}s -c lock_timeout={ANSWER_SECONDS}s"
            address = psycopg.conninfo.make_conninfo(
                "", **login, options=waits, connect_timeout=ANSWER_SECONDS,
                tcp_user_timeout=ANSWER_SECONDS * 1_000,
            )  # fmt: skip
            made = psycopg.connect(address, autocommit=True)
            schema = psycopg.sql.Identifier(self._schema)
            with made.transaction():
                made.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [self._schema])
                made.execute(psycopg.sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
            made.execute(psycopg.sql.SQL("SET search_path = {}").format(schema))
            self._connection = made
        return self._connection


_PARTS = {
    "HOST": "host", "DATABASE": "dbname", "PORT": "port", "USER": "user", "PASSWORD": "password",
}  # fmt: skip


def _asked(cursor: psycopg.Cursor[Any], sql: str, values: Sequence[Any]) -> psycopg.Cursor[Any]:
    text = sql.replace("%", "%%").replace("?", "%s")
    return cursor.execute(text.encode(), tuple(values))
