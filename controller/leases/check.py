"""What every place that keeps leases has to do; run it against yours."""

from __future__ import annotations

from collections.abc import Callable

from controller.leases.base import LeaseTable

A_WHILE_SECONDS = 60.0
A_MOMENT_SECONDS = 0.3
POOLS = ("chat", "code")


def check_lease_table(
    one: LeaseTable, other: LeaseTable, passed: Callable[[float], bool], pool_prefix: str = ""
) -> None:
    """Two processes at the same table: nothing is ever held by both, nor twice with one number.

    Args:
        one: as the first process has it.
        other: as the second has it.
        passed: called again and again while time is to pass; whether so many seconds have.
        pool_prefix: makes pools that nobody used before.
    """
    pools = [f"{pool_prefix}{pool}" for pool in POOLS]
    pool = pools[0]
    first = one.renew(pools, "one", A_WHILE_SECONDS)
    assert all(lease.is_held and lease.owner == "one" for lease in first.values())
    _second_waits(one, other, pools, first[pool].token)
    _decisions_only_grow(one, pool, first[pool].token)
    one.release([pool], "one")
    taken = other.renew([pool], "two", A_MOMENT_SECONDS)[pool]
    assert (taken.owner, taken.is_held) == ("two", True), "what is let go is free at once"
    assert taken.token > first[pool].token, "the number grows with the owner"
    assert not one.confirm(pool, "one", first[pool].token, 10, 1.0), "the old owner is fenced off"
    while not passed(2 * A_MOMENT_SECONDS):
        pass
    assert not other.confirm(pool, "two", taken.token, 11, 1.0), "what has run out confirms nothing"
    back = one.renew([pool], "one", A_WHILE_SECONDS)[pool]
    assert (back.owner, back.is_held) == ("one", True), "what has run out is free"
    assert back.token > taken.token
    assert not one.confirm(pool, "one", first[pool].token, 12, 1.0), "an old number is no number"
    assert one.confirm(pool, "one", back.token, 12, 1.0)
    assert one.renew([pools[1]], "one", 1.0)[pools[1]].token == first[pools[1]].token


def _second_waits(one: LeaseTable, other: LeaseTable, pools: list[str], token: int) -> None:
    seen = other.renew(pools, "two", A_WHILE_SECONDS)
    assert all(lease.is_held and lease.owner == "one" for lease in seen.values())
    assert not other.confirm(pools[0], "two", token, 1, 1.0)
    other.release(pools, "two")
    again = one.renew(pools, "one", A_WHILE_SECONDS)
    assert again[pools[0]].token == token, "who keeps a lease keeps its number"
    assert again[pools[0]].owner == "one", "nobody lets go of what is another's"


def _decisions_only_grow(table: LeaseTable, pool: str, token: int) -> None:
    assert table.confirm(pool, "one", token, 5, 1.0)
    assert table.confirm(pool, "one", token, 5, 1.0), "the same decision may be tried again"
    assert not table.confirm(pool, "one", token, 4, 1.0), "an older one may not"
    assert not table.confirm(f"{pool}-nobody", "one", token, 6, 1.0), "a pool that nobody took"
