"""One computation for all who ask: a bounded, single-flight cache of views."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from store.clock import Clock

T = TypeVar("T")

UNCHANGED_SECONDS = 300.0
"""How long an answer may be reused while the data have not changed. Bounded, because a view also
depends on what is not a row: the end of its window, the objectives in force."""


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What the cache did since it was made.

    Attributes:
        hits: answers taken from a kept value.
        misses: computations started.
        waits: callers that waited for somebody else's computation.
        errors: computations that raised; these are not kept.
        evictions: values dropped because the cache was full.
        entries: values kept now.
        bytes: their size, as far as `size_of` tells; 0 without it.
    """

    hits: int
    misses: int
    waits: int
    errors: int
    evictions: int
    entries: int
    bytes: int


@dataclass(frozen=True, slots=True)
class _Entry:
    value: Any
    made_at: float
    version: int | None
    size_bytes: int


@dataclass(slots=True)
class _Flight:
    thread_id: int
    done: Future[Any]


class ViewCache:
    """Shared results by key, safe to use from any thread; two keys are computed side by side.

    Args:
        clock: judges age by `monotonic()`.
        max_entries: most values kept, least recently used dropped first; at least 1.
        max_bytes: most bytes kept, by `size_of`; None sets no limit.
        size_of: size of a value in bytes.
        unchanged_seconds: how long a value whose data version still holds may be served.
    """

    def __init__(
        self,
        clock: Clock,
        max_entries: int = 256,
        max_bytes: int | None = None,
        *,
        size_of: Callable[[Any], int] | None = None,
        unchanged_seconds: float = UNCHANGED_SECONDS,
    ) -> None:
        self._clock = clock
        self._max_entries = max(1, max_entries)
        self._max_bytes = max_bytes
        self._size_of = size_of
        self._unchanged_seconds = unchanged_seconds
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._flights: dict[Hashable, _Flight] = {}
        self._bytes = 0
        self._epoch = 0
        self._counts = dict.fromkeys(("hits", "misses", "waits", "errors", "evictions"), 0)

    def get(
        self,
        key: Hashable,
        compute: Callable[[], T],
        *,
        ttl_seconds: float,
        version: int | None = None,
    ) -> T:
        """The value of `key`, computed at most once at a time.

        Args:
            key: everything the value depends on, except the data.
            compute: makes the value; whatever it raises reaches all who wait and is not kept.
            ttl_seconds: a kept value this young is served, whatever happened to the data; 0 asks
                for a new one unless `version` says that nothing changed.
            version: the data version now (`Writer.version()`); a kept value of the same version is
                served beyond `ttl_seconds`, up to `unchanged_seconds`.

        Raises:
            RuntimeError: `compute` asks for its own key.
        """
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and self._is_fresh(entry, ttl_seconds, version):
                self._entries.move_to_end(key)
                self._counts["hits"] += 1
                value: T = entry.value
                return value
            flight = self._flights.get(key)
            if flight is not None and flight.thread_id == threading.get_ident():
                raise RuntimeError(f"the computation of {key!r} asks for itself")
            if flight is None:
                own = self._flights[key] = _Flight(threading.get_ident(), Future())
                epoch = self._epoch
                self._counts["misses"] += 1
            else:
                self._counts["waits"] += 1
        if flight is not None:
            shared: T = flight.done.result()
            return shared
        return self._compute(key, compute, own, version, epoch)

    def clear(self) -> None:
        """Forget every value; a computation under way reaches its callers but is not kept."""
        with self._lock:
            self._entries.clear()
            self._bytes = 0
            self._epoch += 1

    def stats(self) -> CacheStats:
        """Counters and fill."""
        with self._lock:
            return CacheStats(**self._counts, entries=len(self._entries), bytes=self._bytes)

    def _is_fresh(self, entry: _Entry, ttl_seconds: float, version: int | None) -> bool:
        age_seconds = self._clock.monotonic() - entry.made_at
        if age_seconds < ttl_seconds:
            return True
        unchanged = version is not None and version == entry.version
        return unchanged and age_seconds < self._unchanged_seconds

    def _compute(
        self,
        key: Hashable,
        compute: Callable[[], T],
        flight: _Flight,
        version: int | None,
        epoch: int,
    ) -> T:
        try:
            value = compute()
            size_bytes = self._size_of(value) if self._size_of else 0
        except BaseException as error:
            with self._lock:
                del self._flights[key]
                self._counts["errors"] += 1
            flight.done.set_exception(error)
            raise
        with self._lock:
            del self._flights[key]
            if epoch == self._epoch:
                made_at = self._clock.monotonic()
                self._keep(key, _Entry(value, made_at, version, size_bytes))
        flight.done.set_result(value)
        return value

    def _keep(self, key: Hashable, entry: _Entry) -> None:
        old = self._entries.pop(key, None)
        self._bytes += entry.size_bytes - (old.size_bytes if old else 0)
        self._entries[key] = entry
        while self._is_over():
            _, dropped = self._entries.popitem(last=False)
            self._bytes -= dropped.size_bytes
            self._counts["evictions"] += 1

    def _is_over(self) -> bool:
        too_large = self._max_bytes is not None and self._bytes > self._max_bytes
        return too_large or len(self._entries) > self._max_entries
