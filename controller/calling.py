"""Code that may never come back, called so that the loop does: in a thread, with a time limit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from store.errors import ControllerError

T = TypeVar("T")


class Hung(ControllerError):
    """It took longer than its limit; its answer will not be heard."""


class Busy(ControllerError):
    """A call from before has not come back; nothing was called."""


class Caller:
    """Calls one thing at a time. Belongs to one event loop.

    The thread is a daemon: what hangs does not keep the process from ending.

    Args:
        name: of the thread, and in errors.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.is_busy = False
        """Whether a call has not come back."""

    async def call(self, work: Callable[[], T], limit_seconds: float) -> T:
        """What `work` gives.

        Args:
            work: called in another thread.
            limit_seconds: > 0.

        Raises:
            Busy: the call before has not come back.
            Hung: it took too long.
            Exception: what `work` raises.
        """
        if self.is_busy:
            raise Busy(f"{self._name} has not come back from an earlier call")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def told(result: T | None, error: Exception | None) -> None:
            self.is_busy = False
            _told(answer, result, error)

        def run() -> None:
            tell = partial(told, *_tried(work, self._name))
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(tell)

        self.is_busy = True
        threading.Thread(target=run, name=self._name, daemon=True).start()
        try:
            return await asyncio.wait_for(answer, limit_seconds)
        except TimeoutError as error:
            raise Hung(f"{self._name} took longer than {limit_seconds:g} s") from error


def _tried(work: Callable[[], T], name: str) -> tuple[T | None, Exception | None]:
    try:
        return work(), None
    except Exception as error:  # noqa: BLE001 - whoever called gets it
        return None, error
    except BaseException as error:  # noqa: BLE001 - SystemExit in there ends no loop of ours
        return None, ControllerError(f"{name} wanted to end: {type(error).__name__}")


def _told(answer: asyncio.Future[T], result: T | None, error: Exception | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(result)  # type: ignore[arg-type]
    else:
        answer.set_exception(error)
