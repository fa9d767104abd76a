"""Every program whose loss is measured; those of other people's neighbourhoods, too."""

from __future__ import annotations

from servescope.lab.compute import COMPUTE
from servescope.lab.engines import ENGINES
from servescope.lab.services import SERVICES
from servescope.lab.work import Program
from store.errors import ConfigError

VICTIMS: dict[str, Program] = {one.name: one for one in (*ENGINES, *COMPUTE, *SERVICES)}


def victim(name: str) -> Program:
    """The program of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in VICTIMS:
        raise ConfigError(
            f"no victim is called {name!r}", hint=f"take some of {', '.join(VICTIMS)}"
        )
    return VICTIMS[name]
