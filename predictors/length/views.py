"""Prompts as points: what a text says (words and pairs), how it opens and how it ends.

A view counts hashed word runs, weighs them by rarity and projects them on the directions that
explain most of the training prompts (latent semantic analysis). The directions never see a length,
so a prompt of the past and one of tomorrow are treated alike.

Source: Deerwester et al. (1990), Indexing by Latent Semantic Analysis, JASIS 41(6).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from predictors.length.tokens import Hashes, Ints, Words

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Cut:
    """Which words of a text a view reads.

    Attributes:
        name: of the view.
        longest: runs of up to so many words.
        head: only the first so many words; 0 is all.
        tail: only the last so many words; 0 is all.
        terms: kept, most frequent first.
        width: directions kept.
    """

    name: str
    longest: int
    head: int
    tail: int
    terms: int
    width: int

    def grams(self, found: Words) -> tuple[Hashes, Ints]:
        """(hash, text) of what the view reads."""
        if self.head:
            found = found.first(self.head)
        if self.tail:
            found = found.last(self.tail)
        return found.grams(self.longest)


CUTS = (
    Cut("body", 2, 0, 0, 20_000, 192),
    Cut("head", 3, 14, 0, 10_000, 96),
    Cut("tail", 2, 0, 14, 6_000, 64),
)
# For so few texts a sparse product costs more to set up than it saves.
_FEW = 4
# Runs seen in fewer texts than this say something about those texts alone.
LEAST_TEXTS = 3


@dataclass(frozen=True, slots=True)
class View:
    """A fitted view.

    Attributes:
        cut: which words it reads.
        known: (t,) hashes of the terms, rising.
        rarity: (t,) inverse document frequency.
        table: (t, width) of the directions.
        scale: what makes the projections of the training texts spread by about 1.
        told: columns at the end of the table that are no directions but weights of the terms.
    """

    cut: Cut
    known: Hashes
    rarity: Matrix
    table: Matrix
    scale: float
    told: int = 0

    @property
    def width(self) -> int:
        """Directions."""
        return int(self.table.shape[1]) - self.told

    def telling(self, weights: Matrix) -> View:
        """The same view with (t, k) weights of its terms beside the directions."""
        # Rounded as they will be kept, so that a model answers the same once it is read again.
        columns = (weights / self.scale).astype(np.float16).astype(np.float32)
        table = np.hstack([self.table[:, : self.width], columns])
        return replace(self, table=table, told=columns.shape[1])

    def project(self, found: Words) -> Matrix:
        """(n, width + told) of the texts of `found`; 0 where no term is known."""
        n = len(found.sizes)
        text, term, weight = weighed(*self.cut.grams(found), self.known, self.rarity, n)
        bounds = np.searchsorted(text, np.arange(n + 1))
        return summed(weight, term, bounds, self.table) * np.float32(self.scale)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """For `artifact.write`; half precision is far more than the directions are worth."""
        name = f"view.{self.cut.name}"
        return {
            f"{name}.known": self.known.view(np.int64),
            f"{name}.rarity": self.rarity,
            f"{name}.table": self.table.astype(np.float16),
            f"{name}.scale": np.array([self.scale]),
            f"{name}.told": np.array([self.told]),
        }

    @classmethod
    def from_arrays(cls, cut: Cut, arrays: dict[str, npt.NDArray[Any]]) -> View:
        """What `arrays` gave."""
        name = f"view.{cut.name}"
        return cls(
            cut,
            arrays[f"{name}.known"].view(np.uint64),
            arrays[f"{name}.rarity"],
            arrays[f"{name}.table"].astype(np.float32),
            float(arrays[f"{name}.scale"][0]),
            int(arrays.get(f"{name}.told", [0])[0]),
        )


def summed(weight: Matrix, term: Ints, bounds: Ints, table: Matrix) -> Matrix:
    """(n, width) weighted sums of rows of `table`; text i has the terms bounds[i]:bounds[i + 1]."""
    n = len(bounds) - 1
    if n > _FEW:
        from scipy import sparse

        # The product walks the table in place; picking its rows first would copy them.
        counts = sparse.csr_matrix((weight, term, bounds), shape=(n, len(table)))
        return np.asarray(counts @ table, dtype=np.float32)
    out = np.zeros((n, table.shape[1]), np.float32)
    for number in range(n):
        some = slice(bounds[number], bounds[number + 1])
        out[number] = weight[some] @ table[term[some]]
    return out


def weighed(
    hashes: Hashes, text: Ints, known: Hashes, rarity: Matrix, n: int
) -> tuple[Ints, Ints, Matrix]:
    """(text, term, weight) of the known terms of n texts, sorted by text.

    Weights are (1 + log count) times rarity, of length 1 a text.
    """
    terms = len(known)
    place = np.minimum(np.searchsorted(known, hashes), max(terms - 1, 0))
    hit = known[place] == hashes
    pairs, counts = np.unique(text[hit] * terms + place[hit], return_counts=True)
    texts, term = pairs // max(terms, 1), pairs % max(terms, 1)
    weight = (1 + np.log(counts)) * rarity[term]
    norm = np.sqrt(np.bincount(texts, weights=weight**2, minlength=n))
    return texts, term, (weight / np.maximum(norm[texts], 1e-9)).astype(np.float32)


def fit_view(cut: Cut, found: Words, seed: int) -> View | None:
    """The view of these texts; None where they share too few terms."""
    from scipy import sparse
    from sklearn.utils.extmath import randomized_svd

    n = len(found.sizes)
    hashes, text = cut.grams(found)
    known, rarity = _terms(cut, hashes, text, n)
    if min(len(known), n) < 8:
        return None
    texts, term, weight = weighed(hashes, text, known, rarity, n)
    counts = sparse.csr_matrix((weight, (texts, term)), shape=(n, len(known)))
    width = min(cut.width, min(counts.shape) - 1)
    _, _, directions = randomized_svd(counts, width, n_iter=3, random_state=seed)
    table = directions.T.astype(np.float16).astype(np.float32)
    spread = float(np.asarray(counts @ table).std())
    return View(cut, known, rarity, table, 1.0 / max(spread, 1e-6))


def _terms(cut: Cut, hashes: Hashes, text: Ints, n: int) -> tuple[Hashes, Matrix]:
    order = np.lexsort((text, hashes))
    hashes, text = hashes[order], text[order]
    fresh = np.ones(len(hashes), np.bool_)
    fresh[1:] = (hashes[1:] != hashes[:-1]) | (text[1:] != text[:-1])
    known, texts = np.unique(hashes[fresh], return_counts=True)
    often = texts >= LEAST_TEXTS
    known, texts = known[often], texts[often]
    kept = np.sort(np.argsort(-texts, kind="stable")[: cut.terms])
    known, texts = known[kept], texts[kept]
    return known, (1 + np.log((1 + n) / (1 + texts))).astype(np.float32)
