"""Binary heaps in rows of flat arrays, smallest key first."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from controller.simulator.jit import jit

Keys = npt.NDArray[np.int64] | npt.NDArray[np.float64]
Values = npt.NDArray[np.int32]


@jit
def push(keys: Keys, values: Values, size: int, key: float, value: int) -> None:
    """Add to a heap of `size`; there must be room for one more."""
    at = size
    while at > 0:
        above = (at - 1) >> 1
        if keys[above] <= key:
            break
        keys[at], values[at] = keys[above], values[above]
        at = above
    keys[at], values[at] = key, value


@jit
def pop(keys: Keys, values: Values, size: int) -> None:
    """Take the top off a heap of `size`; read it before."""
    sink(keys, values, size - 1, 0, keys[size - 1], values[size - 1])


@jit
def drop(keys: Keys, values: Values, size: int, at: int) -> None:
    """Take the entry at a place off a heap of `size`."""
    last = size - 1
    if at == last:
        return
    key, value = keys[last], values[last]
    if at > 0 and key < keys[(at - 1) >> 1]:
        while at > 0 and keys[(at - 1) >> 1] > key:
            keys[at], values[at] = keys[(at - 1) >> 1], values[(at - 1) >> 1]
            at = (at - 1) >> 1
        keys[at], values[at] = key, value
        return
    sink(keys, values, last, at, key, value)


@jit
def sink(keys: Keys, values: Values, size: int, at: int, key: float, value: int) -> None:
    """Put an entry at a place and let it sink to where it belongs."""
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        if below + 1 < size and keys[below + 1] < keys[below]:
            below += 1
        if keys[below] >= key:
            break
        keys[at], values[at] = keys[below], values[below]
        at = below
    if size > 0:
        keys[at], values[at] = key, value
