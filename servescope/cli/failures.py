"""How a command ends when it cannot do what was asked."""

from __future__ import annotations

import os
import traceback

import typer
from typer.exceptions import TyperException

from servescope.cli.output import CommandError, ExitCode, exit_code_of, report_error
from store.errors import ServescopeError

TRACEBACK_SWITCH = "SERVESCOPE_TRACEBACK"


def explain(error: Exception, *, as_json: bool) -> int:
    """Report an error and give the exit code for it."""
    if os.environ.get(TRACEBACK_SWITCH):
        traceback.print_exception(error)
    known = _known(error)
    report_error(known, as_json=as_json)
    return int(exit_code_of(known))


def _known(error: Exception) -> ServescopeError:
    if isinstance(error, ServescopeError):
        return error
    if isinstance(error, TyperException):
        return CommandError(error.format_message(), ExitCode.USAGE, hint="see --help", code="usage")
    if isinstance(error, typer.Abort):
        return CommandError("stopped", ExitCode.INTERRUPTED, code="interrupted")
    return CommandError(
        f"{type(error).__name__}: {error}",
        ExitCode.FAILED,
        hint=f"a fault in servescope; {TRACEBACK_SWITCH}=1 shows where",
        code="unexpected",
    )
