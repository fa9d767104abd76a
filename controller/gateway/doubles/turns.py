"""Turns of the event loop, by which tests measure what a wall clock could not."""

from __future__ import annotations

import asyncio


async def turns(count: int = 1) -> None:
    """Let so many go by."""
    for _ in range(count):
        passed = asyncio.Event()
        asyncio.get_running_loop().call_soon(passed.set)
        await passed.wait()
