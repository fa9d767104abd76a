"""Sums of products that do not wait for other threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def dot(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """Sum of products of two arrays of one length.

    `np.dot` hands more than ten thousand numbers to a pool of threads that spin for each other:
    where other work keeps the processors busy, that takes many times as long as one thread alone.
    """
    return float(np.einsum("i,i->", one, other))
