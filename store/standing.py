"""How one open store stands: what writer and readers have met, told to whoever asks."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import replace

import duckdb

from store.clock import Clock
from store.condition import FREE_SPACE, OK, OPENING, Condition, State, disk_trouble
from store.settings import StoreSettings
from store.units import bytes_text

_KIND = re.compile(r"^(\w+ )?(\w+ )?Error: ")


class Standing:
    """Shared by the writer, the readers and the keeper; safe to use from any thread.

    Attributes:
        on_trouble: called whenever trouble is noticed; must return at once.

    Args:
        settings: how much of the disk stays free.
        clock: stamps.
        free_bytes: free disk space beside the store; None when it is in memory.
    """

    def __init__(
        self, settings: StoreSettings, clock: Clock, free_bytes: Callable[[], int] | None
    ) -> None:
        self.on_trouble: Callable[[], None] = lambda: None
        self._reserve = settings.disk_reserve_bytes
        self._clock = clock
        self._free_bytes = free_bytes
        self._lock = threading.Lock()
        self._noticed = OK
        self._low = OK

    def now(self) -> Condition:
        """How it stands; looks at the free space, and at nothing else."""
        with self._lock:
            noticed = self._noticed
        return noticed if noticed.state != "ok" else self._space()

    def noticed(self) -> Condition:
        """What was met and is not mended yet; free space plays no part."""
        with self._lock:
            return self._noticed

    def low_space(self) -> Condition:
        """Whether less than the reserve is free."""
        return self._space()

    def check_space(self) -> None:
        """DuckDB gives up when a checkpoint finds the disk full; stop before that.

        Raises:
            StoreFull: less than the reserve is free.
        """
        low = self._space()
        if low.state != "ok":
            raise low.refusal()

    def failed(self, error: Exception) -> Condition | None:
        """Note an error if it is about the whole store; what it means, None where it is not."""
        text = str(error)
        found = disk_trouble(text)
        if isinstance(error, duckdb.FatalException):
            return self.note("stopped", root_cause(text), OPENING)
        if found is not None:
            what = f"the store cannot be written ({root_cause(text)})"
            return self.note(found[0], what, found[1])
        return None

    def note(self, state: State, what: str, hint: str) -> Condition:
        """There is trouble; of what is known already only the words change."""
        with self._lock:
            since = self._noticed.since or self._clock.now()
            found = Condition(state, what, since, hint)
            if self._noticed.state != "stopped" or state == "stopped":
                self._noticed = found
        self.on_trouble()
        return found

    def reading(self, state: State, what: str, hint: str) -> None:
        """It answers again, and takes no rows."""
        with self._lock:
            since = self._noticed.since or self._clock.now()
            self._noticed = Condition(state, what, since, hint)

    def mended(self) -> None:
        """It takes rows again."""
        with self._lock:
            self._noticed = OK

    def _space(self) -> Condition:
        free = self._free_bytes() if self._free_bytes is not None else None
        if free is None or free >= self._reserve:
            self._low = OK
            return OK
        what = f"only {bytes_text(free)} are free beside the store"
        if self._low.state == "ok":
            self._low = Condition("full", what, self._clock.now(), FREE_SPACE)
        self._low = replace(self._low, what=what)
        return self._low


def root_cause(text: str) -> str:
    """What DuckDB says was the first error, in one line and without its advice."""
    original = text.split('Original error: "')[-1].strip().splitlines()[0]
    return _KIND.sub("", original.strip().rstrip('"'))
