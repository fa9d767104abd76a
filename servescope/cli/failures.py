"""How a command ends when it cannot do what was asked."""

from __future__ import annotations

import errno
import os
import traceback
from contextlib import suppress

import typer
from typer.exceptions import TyperException

from servescope.cli.output import CommandError, ExitCode, exit_code_of, report_error
from store.errors import ServescopeError

TRACEBACK_SWITCH = "SERVESCOPE_TRACEBACK"
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def explain(error: Exception, *, as_json: bool) -> int:
    """Report an error and give the exit code for it."""
    if os.environ.get(TRACEBACK_SWITCH):
        traceback.print_exception(error)
    if _is_help(error) and not as_json:
        typer.echo(str(error).rstrip(), err=True)
        return int(ExitCode.USAGE)
    known = _known(error)
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        as_json = False  # where the answer could not be written, the error cannot either
        drop_unwritten()
    report_error(known, as_json=as_json)
    return int(exit_code_of(known))


def drop_unwritten() -> None:
    """Let nothing be written at the end of the process: it would fail there once more, and loudly.

    Text that is still in a buffer goes nowhere; it did not fit where it should have gone.
    """
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _is_help(error: Exception) -> bool:
    """Whether a group was named without a command: Typer answers with the list of its commands."""
    return isinstance(error, TyperException) and str(error).startswith("Usage: ")


def _known(error: Exception) -> ServescopeError:
    if isinstance(error, ServescopeError):
        return error
    if isinstance(error, TyperException):
        return CommandError(error.format_message(), ExitCode.USAGE, hint="see --help", code="usage")
    if isinstance(error, typer.Abort):
        return CommandError("stopped", ExitCode.INTERRUPTED, code="interrupted")
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return CommandError(
            f"cannot be written ({error.strerror})", ExitCode.FAILED,
            where=error.filename or "the output", hint="free some space, or write elsewhere",
            code="no_space",
        )  # fmt: skip
    return CommandError(
        f"{type(error).__name__}: {error}",
        ExitCode.FAILED,
        hint=f"a fault in servescope; {TRACEBACK_SWITCH}=1 shows where",
        code="unexpected",
    )
