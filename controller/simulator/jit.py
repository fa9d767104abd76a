"""Machine code for the simulator's loops, compiled once and kept for the next process.

numba keeps code by the file a function stands in, and does not see that a function it calls
elsewhere was changed. So the folder where it is kept carries a digest of all of the simulator's
sources.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])
_NAMED = "NUMBA_CACHE_DIR"


def jit(function: F) -> F:
    """`function` compiled at its first call and kept for the next process.

    Where no folder can be written, as in a container whose root is read-only, each process compiles
    anew.
    """
    try:
        return cast("F", numba.njit(cache=True, nogil=True, error_model="numpy")(function))
    except RuntimeError:
        return cast("F", numba.njit(nogil=True, error_model="numpy")(function))


def _kept() -> Path:
    """Where code of just these sources is kept."""
    base = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(base) if base else Path.home() / ".cache") / "servescope"
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return folder / f"compiled-{digest.hexdigest()[:16]}"


if _NAMED not in os.environ:
    setattr(numba.config, "CACHE_DIR", str(_kept()))  # noqa: B010 - made at import by numba
