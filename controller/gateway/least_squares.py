"""Least squares with coefficients that are never negative, for a handful of columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

Matrix = list[list[float]]


def solved(matrix: Sequence[Sequence[float]], right: Sequence[float]) -> list[float] | None:
    """The x of `matrix` x = `right`, symmetric and positive definite; None where it is not.

    Source: Cholesky's decomposition.

    Args:
        matrix: (n, n).
        right: (n,).
    """
    n = len(right)
    lower: Matrix = [[0.0] * n for _ in range(n)]
    found = [0.0] * n
    for i in range(n):
        for j in range(i + 1):
            rest = matrix[i][j] - sum(lower[i][k] * lower[j][k] for k in range(j))
            if i > j:
                lower[i][j] = rest / lower[j][j]
            elif rest > 1e-12 * matrix[i][i]:
                lower[i][i] = float(rest**0.5)
            else:
                return None
        found[i] = (right[i] - sum(lower[i][k] * found[k] for k in range(i))) / lower[i][i]
    for i in reversed(range(n)):
        after = sum(lower[k][i] * found[k] for k in range(i + 1, n))
        found[i] = (found[i] - after) / lower[i][i]
    return found


def not_negative(matrix: Sequence[Sequence[float]], right: Sequence[float]) -> list[float] | None:
    """The x >= 0 with the least x' `matrix` x / 2 - `right`' x; None where `matrix` is no use.

    The best of all sets of columns that are left at 0: at most 15 with four columns, and one where
    nothing wants to be negative. Source: Lawson and Hanson, Solving Least Squares Problems, 1974,
    chapter 23, whose conditions pick the same set.
    """
    n = len(right)
    best, least, is_any = [0.0] * n, 0.0, False
    for size in range(n, 0, -1):
        for kept in combinations(range(n), size):
            part = solved([[matrix[i][j] for j in kept] for i in kept], [right[i] for i in kept])
            is_any = is_any or part is not None
            if part is None or min(part) < 0:
                continue
            found = [0.0] * n
            for i, value in zip(kept, part, strict=True):
                found[i] = value
            if size == n:
                return found
            loss = -0.5 * sum(right[i] * found[i] for i in kept)
            if loss < least:
                best, least = found, loss
    return best if is_any else None


def inverse(matrix: Sequence[Sequence[float]]) -> Matrix | None:
    """Of a symmetric, positive definite matrix; None where it is not."""
    n = len(matrix)
    found = [solved(matrix, [float(i == j) for j in range(n)]) for i in range(n)]
    kept = [row for row in found if row is not None]
    return kept if len(kept) == n else None


class FadingSums:
    """Weighted rows of a regression, kept as sums that can be made to count less.

    Counts of prompt tokens are a thousand times those of steps: solved as they are, digits would
    be lost. So each coefficient is solved for as the share that it has in a usual row.

    Args:
        terms: coefficients, few.

    Attributes:
        weight: of all rows, as they count now.
    """

    def __init__(self, terms: int) -> None:
        self.weight = 0.0
        self._squares = [[0.0] * terms for _ in range(terms)]
        self._right = [0.0] * terms

    def add(self, row: Sequence[float], value: float, weight: float) -> None:
        """One more: its counts, and what they sum up to."""
        self.weight += weight
        for i, count in enumerate(row):
            self._right[i] += weight * count * value
            squares = self._squares[i]
            for j, other in enumerate(row):
                squares[j] += weight * count * other

    def fade(self, kept: float) -> None:
        """All rows count for a share of what they did, in (0, 1]."""
        self.weight *= kept
        self._right = [kept * one for one in self._right]
        self._squares = [[kept * one for one in squares] for squares in self._squares]

    def solved(self, thought: Sequence[float], pull: float) -> list[float] | None:
        """The coefficients, none below 0; where no row has one of them, what was thought of it.

        Args:
            thought: of each.
            pull: so many rows' worth holds each to that.

        Returns:
            None where numbers are too large to be summed.
        """
        scales, share = self.scales(), pull / self.weight
        right = [
            value / (self.weight * scale) + share * before * scale if scale else 0.0
            for value, scale, before in zip(self._right, scales, thought, strict=True)
        ]
        found = not_negative(self.scaled(pull), right)
        if found is None or not all(map(math.isfinite, found)):
            return None
        return [
            value / scale if scale else before
            for value, scale, before in zip(found, scales, thought, strict=True)
        ]

    def scales(self) -> list[float]:
        """The count of each coefficient in a usual row (root mean square); 0 where none has it."""
        return [math.sqrt(squares[i] / self.weight) for i, squares in enumerate(self._squares)]

    def scaled(self, pull: float) -> Matrix:
        """The sums for shares of a usual row: 1 and the pull on the diagonal."""
        scales, share = self.scales(), pull / self.weight
        return [
            [
                1.0 + share if i == j
                else self._squares[i][j] / (self.weight * one * other) if one and other
                else 0.0
                for j, other in enumerate(scales)
            ]
            for i, one in enumerate(scales)
        ]  # fmt: skip
