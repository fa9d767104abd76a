"""A reader that asks each question once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from threading import Lock
from typing import Any

import numpy.typing as npt
import polars as pl

from store.queries.workload import FrameReader


class Remembering:
    """Answers the same question with the same frame, for as long as one view is being made.

    Threads that ask the same thing at once wait for one answer. Streams are not kept.

    Args:
        reader: whom to ask.
    """

    def __init__(self, reader: FrameReader) -> None:
        self._reader = reader
        self._lock = Lock()
        self._answers: dict[str, Future[pl.DataFrame]] = {}

    def frame(self, sql: str, **params: Any) -> pl.DataFrame:
        """As the reader behind it; a failure is remembered too."""
        key = f"{sql}\n{sorted(params.items())!r}"
        with self._lock:
            answer = self._answers.get(key)
            mine = answer is None
            if answer is None:
                answer = self._answers[key] = Future()
        if mine:
            try:
                answer.set_result(self._reader.frame(sql, **params))
            except BaseException as error:
                # Whoever waits for this answer must not wait for ever.
                answer.set_exception(error)
                raise
        return answer.result()

    def batches(self, sql: str, **params: Any) -> Iterator[Mapping[str, npt.NDArray[Any]]]:
        """As the reader behind it."""
        return self._reader.batches(sql, **params)
