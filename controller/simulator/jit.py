"""Machine code for the simulator's loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def jit(function: F) -> F:
    """`function` compiled at its first call and kept for the next process."""
    return cast("F", numba.njit(cache=True, nogil=True, error_model="numpy")(function))
