"""What is over must not point in a circle.

Who is in none is gone as soon as nobody needs it. The rest stays until the interpreter looks
through everything it knows while all streams wait: beside a thousand connections that come and go,
for 20 to 50 ms every few seconds. So both ends of a connection, their parsers and what flew between
let go of each other, and a test sees to it that nothing is left.
"""

from __future__ import annotations

import asyncio


def untie(transport: asyncio.BaseTransport) -> None:
    """Of a connection that is lost: asyncio's own holds its method, which holds the transport."""
    getattr(transport, "__dict__", {}).pop("_read_ready_cb", None)
