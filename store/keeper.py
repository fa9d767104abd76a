"""Getting a store that met trouble to answer, and to take rows, without a restart.

DuckDB refuses everything after an error that it cannot undo, such as a full disk in the middle of
a checkpoint: all its connections have to be closed, then the file is opened anew. What was
acknowledged is in the file and its log, and is read back.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from store.condition import (
    MAKE_WRITABLE,
    RETRY_SECONDS,
    Condition,
    State,
    disk_trouble,
    try_to_write,
)
from store.errors import StoreError
from store.standing import Standing

log = logging.getLogger("servescope.store")


class Instance(Protocol):
    """The open file, as far as it can be exchanged."""

    is_read_only: bool

    def reopen(self, *, read_only: bool) -> None:
        """Close everything and open the file anew.

        Raises:
            StoreError: it cannot be opened, or somebody does not let go of the old one.
        """
        ...


class Keeper:
    """A thread that is there only while there is trouble.

    Args:
        instance: what is opened anew.
        standing: what is wrong, and where it is told that nothing is.
        folder: of the store; None in memory, where nothing can be opened again.
        low_space: what is wrong with the free space now.
    """

    def __init__(
        self,
        instance: Instance,
        standing: Standing,
        folder: Path | None,
        low_space: Callable[[], Condition],
    ) -> None:
        self._instance = instance
        self._standing = standing
        self._folder = folder
        self._low_space = low_space
        self._lock = threading.Lock()
        self._mending = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """See to it from now on; safe to call again and again, from any thread."""
        if self._folder is None:
            return
        with self._lock:
            alive = self._thread is not None and self._thread.is_alive()
            if alive or self._stop.is_set():
                return
            self._thread = threading.Thread(target=self._run, name="store-keeper", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Give up. Safe to call twice and without start."""
        with self._lock:
            self._stop.set()
            thread = self._thread
        if thread is not None:
            thread.join()

    def mend(self) -> bool:
        """Try once; whether rows are taken again."""
        with self._mending:
            return self._mend()

    def _mend(self) -> bool:
        noticed = self._standing.noticed()
        if noticed.state == "ok":
            return True
        why_not = self._why_not()
        must_open = noticed.state == "stopped" or (why_not is None and self._instance.is_read_only)
        if must_open and not self._opened(read_only=why_not is not None):
            return False
        if why_not is None:
            self._standing.mended()
            return True
        self._standing.reading(*why_not)
        return False

    def _opened(self, *, read_only: bool) -> bool:
        try:
            self._instance.reopen(read_only=read_only)
        except StoreError as error:
            self._standing.note("stopped", error.message, error.hint or "servescope doctor")
            return False
        return True

    def _why_not(self) -> tuple[State, str, str] | None:
        """State, words and hint of what keeps rows out; None when they could be taken."""
        assert self._folder is not None  # noqa: S101 - a store in memory has no keeper
        low = self._low_space()
        if low.state != "ok":
            return low.state, low.what, low.hint
        failure = try_to_write(self._folder)
        if failure is None:
            return None
        state, hint = disk_trouble(failure) or ("read_only", MAKE_WRITABLE)
        return state, f"the store's folder cannot be written ({failure})", hint

    def _run(self) -> None:
        log.error("store_in_trouble", extra={"what": self._standing.noticed().what})
        while not self._stop.is_set():
            try:
                if self.mend():
                    log.warning("store_takes_rows_again")
                    return
            except Exception:
                log.exception("store_not_mended")
            self._stop.wait(RETRY_SECONDS)
