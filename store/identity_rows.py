"""Where a store's people are kept."""

from __future__ import annotations

from store.database import Database
from store.identities import Rows
from store.identity_file import IdentityFile, identity_path
from store.lake_tables import LakeTables


def identity_rows(database: Database) -> Rows:
    """In a file beside a store; for a lake in what its servers share.

    Raises:
        StoreError: neither can be used.
    """
    lake = database.lake
    if lake is not None and lake.address.is_shared:
        return LakeTables(lake.address)
    return IdentityFile(identity_path(database.path) if database.path is not None else None)
