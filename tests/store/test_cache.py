"""What the shared cache promises: one computation for all, bounded, never an old error."""

import threading
from datetime import UTC, datetime

import pytest

from store.cache import ViewCache
from store.clock import VirtualClock


@pytest.fixture
def clock():
    return VirtualClock(datetime(2026, 1, 1, tzinfo=UTC))


def counting(values):
    """A computation that returns the next of `values` each time it really runs."""
    rest = iter(values)
    return lambda: next(rest)


def test_a_value_is_shared_until_it_is_too_old(clock):
    """Within the time to live everybody gets the same value, then a new one."""
    cache, compute = ViewCache(clock), counting("ab")
    assert cache.get("k", compute, ttl_seconds=5) == "a"
    clock.advance(4.9)
    assert cache.get("k", compute, ttl_seconds=5) == "a"
    clock.advance(0.1)
    assert cache.get("k", compute, ttl_seconds=5) == "b"


def test_unchanged_data_are_not_computed_again(clock):
    """The same data version keeps an answer beyond its time to live, but not for ever."""
    cache, compute = ViewCache(clock, unchanged_seconds=60), counting("abc")
    assert cache.get("k", compute, ttl_seconds=5, version=7) == "a"
    clock.advance(30)
    assert cache.get("k", compute, ttl_seconds=5, version=7) == "a"
    assert cache.get("k", compute, ttl_seconds=5, version=8) == "b"
    clock.advance(61)
    assert cache.get("k", compute, ttl_seconds=5, version=8) == "c"


def test_twenty_callers_wait_for_one_computation(clock):
    """However many ask at once, the work is done once."""
    cache, started, release = ViewCache(clock), threading.Event(), threading.Event()
    runs, answers = [], []

    def compute():
        runs.append(1)
        started.set()
        release.wait(10)
        return object()

    def ask():
        answers.append(cache.get("k", compute, ttl_seconds=5))

    first = threading.Thread(target=ask)
    first.start()
    assert started.wait(10)
    others = [threading.Thread(target=ask) for _ in range(19)]
    for thread in others:
        thread.start()
    release.set()
    for thread in (first, *others):
        thread.join(10)
    assert len(runs) == 1
    assert len(answers) == 20
    assert len({id(answer) for answer in answers}) == 1


def test_an_error_reaches_all_waiters_and_is_not_kept(clock):
    """A failed computation fails for everybody who waited; the next one tries again."""
    cache, started, release = ViewCache(clock), threading.Event(), threading.Event()
    errors = []

    def fail():
        started.set()
        release.wait(10)
        raise ValueError("broken")

    def ask():
        try:
            cache.get("k", fail, ttl_seconds=5)
        except ValueError as error:
            errors.append(str(error))

    first = threading.Thread(target=ask)
    first.start()
    assert started.wait(10)
    second = threading.Thread(target=ask)
    second.start()
    while not cache.stats().waits:
        second.join(0.001)
    release.set()
    first.join(10)
    second.join(10)
    assert errors == ["broken", "broken"]
    assert cache.get("k", lambda: "fine", ttl_seconds=5) == "fine"
    assert cache.stats().errors == 1


def test_the_least_used_value_goes_first(clock):
    """A full cache drops what nobody asked for lately, and counts it."""
    cache = ViewCache(clock, max_entries=2)
    cache.get("a", lambda: 1, ttl_seconds=5)
    cache.get("b", lambda: 2, ttl_seconds=5)
    cache.get("a", lambda: 0, ttl_seconds=5)
    cache.get("c", lambda: 3, ttl_seconds=5)
    assert cache.get("a", lambda: 0, ttl_seconds=5) == 1
    assert cache.get("b", lambda: 9, ttl_seconds=5) == 9
    assert cache.stats().evictions == 2


def test_memory_is_bounded(clock):
    """The sizes of what is kept stay under the limit."""
    cache = ViewCache(clock, max_bytes=100, size_of=len)
    for number in range(10):
        cache.get(number, lambda: b"x" * 40, ttl_seconds=5)
    assert cache.stats().bytes == 80
    assert cache.stats().entries == 2


def test_clear_forgets_even_what_is_being_computed(clock):
    """A value whose computation began before `clear` is not served after it."""
    cache = ViewCache(clock)

    def compute():
        cache.clear()
        return "old"

    assert cache.get("k", compute, ttl_seconds=5) == "old"
    assert cache.get("k", lambda: "new", ttl_seconds=5) == "new"


def test_a_computation_that_needs_itself_is_an_error(clock):
    """A circular view says so instead of hanging."""
    cache = ViewCache(clock)
    with pytest.raises(RuntimeError, match="asks for itself"):
        cache.get("k", lambda: cache.get("k", lambda: 1, ttl_seconds=5), ttl_seconds=5)
