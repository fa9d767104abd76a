"""Secrets that the servers of a lake share: made by whoever asks first, the same for all."""

from __future__ import annotations

import secrets

from store.lake_tables import LakeTables

_MADE = "CREATE TABLE IF NOT EXISTS shared_secret (name TEXT PRIMARY KEY, value TEXT NOT NULL)"
_GIVEN = "INSERT INTO shared_secret (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING"
SECRET_BYTES = 32


def shared_secret(tables: LakeTables, name: str) -> str:
    """A secret by its name: 32 random bytes in hexadecimal, the same whenever it is asked for.

    Args:
        tables: what the servers share.
        name: what it is for.

    Raises:
        StoreError: PostgreSQL does not answer.
    """
    tables.write([(_MADE, ()), (_GIVEN, (name, secrets.token_hex(SECRET_BYTES)))])
    return str(tables.read("SELECT value FROM shared_secret WHERE name = ?", (name,))[0][0])
