"""Secrets are named, not written: `env:NAME` or `file:PATH` is read when it is needed."""

from __future__ import annotations

import os
from pathlib import Path

from store.errors import ConfigError

MOST_BYTES = 8_192


def secret(told: str, where: str) -> str:
    """The value behind a setting.

    Args:
        told: `env:NAME`, `file:PATH`, or the value itself.
        where: the setting, for the error.

    Raises:
        ConfigError: the variable or the file is not there, or empty.
    """
    kind, _, name = told.partition(":")
    if kind == "env":
        value = os.environ.get(name, "")
        problem = f"the environment has no {name}"
    elif kind == "file":
        value, problem = _from_file(Path(name).expanduser()), f"{name} cannot be read or is empty"
    else:
        return told
    if not value:
        raise ConfigError(problem, where=where, hint="it is read again at every attempt")
    return value


def _from_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES).decode("utf-8", "replace").strip()
    except OSError:
        return ""
