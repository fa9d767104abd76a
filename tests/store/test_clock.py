"""The clock that moves only when told to."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from store.clock import VirtualClock

START = datetime(2026, 1, 1, tzinfo=UTC)


async def test_sleepers_wake_in_order_and_not_before_their_time():
    """Advancing wakes exactly those whose time has come."""
    clock, woken = VirtualClock(START), []

    async def nap(seconds):
        await clock.sleep(seconds)
        woken.append(seconds)

    naps = [asyncio.create_task(nap(s)) for s in (3, 1, 2)]
    await clock.sleep(0)
    clock.advance(2)
    await asyncio.gather(naps[1], naps[2])
    assert woken == [1, 2]
    clock.advance(1)
    await naps[0]
    assert woken == [1, 2, 3]
    assert clock.now() == START + timedelta(seconds=3)
    assert clock.monotonic() == 3


def test_time_never_goes_back_and_is_never_naive():
    """A clock that goes back or has no zone would make ages negative."""
    with pytest.raises(ValueError, match="never goes back"):
        VirtualClock(START).advance(-1)
    with pytest.raises(ValueError, match="aware"):
        VirtualClock(START.replace(tzinfo=None))
