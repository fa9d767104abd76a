"""Making the folder that something is kept in."""

from __future__ import annotations

import os
from pathlib import Path

from store.errors import StoreError


def make_folder(folder: Path) -> None:
    """Make it with its parents, and see whether it can be written.

    Raises:
        StoreError: it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"cannot create the folder ({error.strerror})",
            where=str(folder),
            hint="choose another place with --store",
        ) from error
    if not os.access(folder, os.W_OK):
        raise StoreError(
            "the folder cannot be written", where=str(folder), hint="choose another with --store"
        )
