"""The chair of a server, where its store is shared."""

from __future__ import annotations

from controller.leases.kept import KeptLeases
from controller.leases.postgres import PostgresLeases
from servescope.chair.chair import CHAIR, Chair, owner_text
from servescope.runtime import Runtime
from store.lake_secret import shared_secret
from store.lake_tables import LakeTables

PEERS = "peers"


def take_place(runtime: Runtime) -> None:
    """Let a server of a lake know its peers, and stand in line for the chair. Else does nothing.

    Args:
        runtime: of a server that knows where it answers.

    Raises:
        StoreError: what the servers share cannot be asked.
    """
    lake, settings = runtime.database.lake, runtime.config
    if lake is None or not lake.address.is_shared:
        return
    tables = LakeTables(lake.address)
    runtime.people.peer_key = shared_secret(tables, PEERS)
    owner = owner_text(settings.server.peer_url or runtime.url or "")
    seconds = settings.controller.lease_seconds
    runtime.leases = KeptLeases(PostgresLeases(tables), owner, runtime.clock, seconds, [CHAIR])
    runtime.chair = Chair(runtime.leases, owner, runtime.clock)
