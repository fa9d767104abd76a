"""The error tree of servescope.

ServescopeError
├── ConfigError            a setting or a configuration file is wrong
├── InputError             a file or a query value that somebody handed in is wrong
├── CollectError           a collector cannot be set up (a dead target is a value, not an error)
├── PredictorError         rows, a model file or a setting that a predictor cannot work with
├── ControllerError        a profile, policy, limit or target that the controller cannot work with
├── SignInNeeded           nobody has said who they are
├── RoleRefused            whoever asked has a role that may not do it
└── StoreError
    ├── StoreLocked        another process holds the database file
    ├── StoreDamaged       the file cannot be read
    ├── SchemaError        the file's schema is newer than this program, or a migration failed
    ├── QueryTimeout       a query passed its time limit and was stopped
    ├── QueryRefused       an ad-hoc query is not a read-only SELECT
    ├── StoreFull          the disk is full; nothing of this batch was accepted
    ├── StoreReadOnly      the disk cannot be written; nothing of this batch was accepted
    ├── StorePaused        the store is being opened again; ask once more in a moment
    └── WriterOverloaded   the write queue is full; nothing of this batch was accepted

Every error says what is wrong, where, and what to do next.
"""

from __future__ import annotations


class ServescopeError(Exception):
    """Base of every error this project raises on purpose.

    Args:
        message: one line for people: what is wrong.
        where: the file, line, setting or query it is about.
        hint: what to do about it.
    """

    code = "error"

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f" ({self.hint})" if self.hint else ""
        return f"{place}{self.message}{advice}"


class ConfigError(ServescopeError):
    """A setting or a configuration file is wrong."""

    code = "config"


class InputError(ServescopeError):
    """A file or a query value that somebody handed in is wrong."""

    code = "input"


class CollectError(ServescopeError):
    """A collector cannot be set up."""

    code = "collect"


class PredictorError(ServescopeError):
    """Rows, a model file or a setting that a predictor cannot work with."""

    code = "predictor"


class ControllerError(ServescopeError):
    """A profile, a policy, a limit or a target that the controller cannot work with."""

    code = "controller"


class SignInNeeded(ServescopeError):
    """Nobody has said who they are, or not in a way that holds."""

    code = "sign_in"


class RoleRefused(ServescopeError):
    """Whoever asked has a role that may not do it.

    Args:
        message: what was asked, the role it needs, and what gave the role that is not enough.
        hint: what to do about it.
        needs_role: the least role that may.
        role: the one that asked.
    """

    code = "role"

    def __init__(self, message: str, *, hint: str, needs_role: str, role: str) -> None:
        super().__init__(message, hint=hint)
        self.needs_role, self.role = needs_role, role


class StoreError(ServescopeError):
    """The store cannot do what was asked."""

    code = "store"


class StoreLocked(StoreError):
    """Another process holds the database file."""

    code = "store_locked"


class StoreDamaged(StoreError):
    """The database file cannot be read."""

    code = "store_damaged"


class SchemaError(StoreError):
    """The schema of the file does not fit this program."""

    code = "schema"


class QueryTimeout(StoreError):
    """A query passed its time limit and was stopped."""

    code = "query_timeout"


class QueryRefused(StoreError):
    """An ad-hoc query is not a single read-only statement."""

    code = "query_refused"


class WriterOverloaded(StoreError):
    """The write queue is full; nothing of this batch was accepted."""

    code = "writer_overloaded"


class StoreFull(StoreError):
    """Too little of the disk is free; nothing of this batch was accepted."""

    code = "store_full"


class StoreReadOnly(StoreError):
    """The disk cannot be written; nothing of this batch was accepted."""

    code = "store_read_only"


class StorePaused(StoreError):
    """The store is being opened again; ask once more in a moment."""

    code = "store_paused"
