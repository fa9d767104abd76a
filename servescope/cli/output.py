"""What a command says and where: data on stdout, the rest on stderr, exit codes by meaning."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import IntEnum
from typing import Any, TextIO

from store.clock import Clock, WallClock
from store.errors import ServescopeError

LOG_LINE_SECONDS = 10.0
BAR_SECONDS = 0.1
BAR_CELLS = 24


class ExitCode(IntEnum):
    """What the exit status of every command means."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    FINDING = 3
    UNREACHABLE = 4
    REFUSED = 5
    INTERRUPTED = 130


class CommandError(ServescopeError):
    """A command cannot go on; carries its exit code.

    Args:
        message: what is wrong.
        exit_code: see `ExitCode`.
        where: what it is about.
        hint: what to do.
        code: machine-readable name in `--json` errors.
    """

    def __init__(
        self,
        message: str,
        exit_code: ExitCode,
        *,
        where: str | None = None,
        hint: str | None = None,
        code: str = "failed",
    ) -> None:
        super().__init__(message, where=where, hint=hint)
        self.exit_code = exit_code
        self.code = code


_EXIT_BY_CODE = {
    "config": ExitCode.USAGE,
    "input": ExitCode.USAGE,
    "collect": ExitCode.USAGE,
    "predictor": ExitCode.USAGE,
    "controller": ExitCode.USAGE,
    "store_locked": ExitCode.USAGE,
    "store_damaged": ExitCode.USAGE,
    "schema": ExitCode.USAGE,
    "store": ExitCode.USAGE,
    "query_refused": ExitCode.REFUSED,
    "query_timeout": ExitCode.FAILED,
}


def exit_code_of(error: ServescopeError) -> ExitCode:
    """The exit status an error ends a command with."""
    if isinstance(error, CommandError):
        return error.exit_code
    return _EXIT_BY_CODE.get(error.code, ExitCode.FAILED)


class Output:
    """One command's two streams.

    Args:
        as_json: print one JSON document instead of text.
        plain: no colours, no progress bar.
    """

    def __init__(self, *, as_json: bool = False, plain: bool = False) -> None:
        self.as_json = as_json
        self.plain = plain
        self.warnings: list[str] = []

    def line(self, text: str = "") -> None:
        """A line of data, when the answer is text."""
        if not self.as_json:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()

    def note(self, text: str) -> None:
        """A line for people that is not data."""
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def warn(self, text: str) -> None:
        """A note that is also part of the JSON answer."""
        self.warnings.append(text)
        self.note(f"note: {text}")

    def document(self, schema: str, data: Any) -> None:
        """The JSON answer, when JSON was asked for."""
        if self.as_json:
            body = {
                "schema": f"servescope.{schema}/1",
                "data": jsonable(data),
                "warnings": self.warnings,
            }
            sys.stdout.write(json.dumps(body, ensure_ascii=False) + "\n")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Aligned columns of text; numbers to the right."""
        if self.as_json:
            return
        cells = [[cell_text(value) for value in row] for row in rows]
        widths = [
            max([len(name), *(len(row[at]) for row in cells)]) for at, name in enumerate(columns)
        ]
        right = [
            all(isinstance(row[at], int | float | None) for row in rows) and bool(rows)
            for at in range(len(columns))
        ]
        for row in [list(columns), *cells]:
            parts = [
                text.rjust(width) if to_right else text.ljust(width)
                for text, width, to_right in zip(row, widths, right, strict=True)
            ]
            self.line("  ".join(parts).rstrip())

    @property
    def is_terminal(self) -> bool:
        """Whether progress may be drawn in place."""
        return sys.stderr.isatty() and not self.plain and not os.environ.get("CI")


class Progress:
    """How far a long step is: a bar on a terminal, a line every ten seconds in a log."""

    def __init__(self, out: Output, label: str, clock: Clock | None = None) -> None:
        self._out = out
        self._clock = clock or WallClock()
        self._label = label
        self._stream: TextIO = sys.stderr
        self._started = self._last = self._clock.monotonic()
        self._drawn = False

    def __call__(self, ratio: float, more: str = "") -> None:
        """Report progress, 0..1, with what else is to be said in the same line."""
        now = self._clock.monotonic()
        every = BAR_SECONDS if self._out.is_terminal else LOG_LINE_SECONDS
        if now - self._last < every:
            return
        self._last = now
        seconds = now - self._started
        text = f"{self._label}  {ratio * 100:3.0f} %  {seconds:.0f} s"
        if self._out.is_terminal:
            full = round(min(max(ratio, 0.0), 1.0) * BAR_CELLS)
            self._stream.write(f"\r\033[K{text}  [{'#' * full}{'.' * (BAR_CELLS - full)}]{more}")
            self._drawn = True
        else:
            self._stream.write(f"{text}{more}\n")
        self._stream.flush()

    def done(self) -> None:
        """Take the bar away."""
        if self._drawn:
            self._stream.write("\r\033[K")
            self._stream.flush()


def cell_text(value: Any) -> str:
    """A table cell: unknown is a dash, numbers keep four digits that matter."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:,.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def jsonable(value: Any) -> Any:
    """Plain JSON values: times as ISO 8601, unknown numbers as null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [jsonable(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)


def report_error(error: ServescopeError, *, as_json: bool) -> None:
    """Say what went wrong: one line a problem on stderr, or the JSON error on stdout."""
    if as_json:
        message = f"{error.where}: {error.message}" if error.where else error.message
        body = {"error": {"code": error.code, "message": message, "hint": error.hint}}
        sys.stdout.write(json.dumps(body, ensure_ascii=False) + "\n")
        return
    sys.stderr.write(f"error: {error}\n")
