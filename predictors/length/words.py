"""Word vectors from the operator's own texts: words that stand beside the same words are alike.

With a few thousand prompts most words are rare, and a rare word says nothing about a length by
itself. Its neighbours in prompts and answers tell which commoner words it is like. Answers are
read here for their words alone, never for their lengths, and are not kept.

Source: Levy, Goldberg (2014), Neural Word Embedding as Implicit Matrix Factorization: singular
vectors of the positive pointwise mutual information.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from predictors.length.tokens import Hashes, Words
from predictors.length.views import summed

Matrix = npt.NDArray[np.float32]

MOST_WORDS, WIDTH, LEAST_COUNT = 16_000, 128, 5
REACH = 4
HEAD_WORDS = 12
# A vector of a word as common as this counts half (Arora et al. 2017, smooth inverse frequency).
_COMMON = 1e-3


@dataclass(frozen=True, slots=True)
class WordVectors:
    """Vectors of the commonest words.

    Attributes:
        known: (w,) hashes, rising.
        weight: (w,) how much a word counts in a mean, less the commoner it is.
        table: (w, width) vectors of length 1.
        scale: what makes the means of training texts spread by about 1.
        middle: (width,) their mean, taken away.
    """

    known: Hashes
    weight: Matrix
    table: Matrix
    middle: Matrix
    scale: float

    def project(self, found: Words) -> Matrix:
        """(n, 2 * width): the mean of all words, and that of the first `HEAD_WORDS`."""
        whole = self._mean(found)
        return np.hstack([whole, self._mean(found.first(HEAD_WORDS))]) * np.float32(self.scale)

    def _mean(self, found: Words) -> Matrix:
        n = len(found.sizes)
        place = np.minimum(np.searchsorted(self.known, found.hashes), len(self.known) - 1)
        hit = np.flatnonzero(self.known[place] == found.hashes)
        place, text = place[hit], found.text[hit]
        bounds = np.searchsorted(text, np.arange(n + 1))
        weight = self.weight[place]
        total = summed(weight, place, bounds, self.table)
        heft = np.bincount(text, weights=weight, minlength=n).astype(np.float32)[:, None]
        return np.where(heft > 0, total / np.maximum(heft, 1e-9) - self.middle, 0.0)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """For `artifact.write`."""
        return {
            "words.known": self.known.view(np.int64),
            "words.weight": self.weight,
            "words.table": self.table.astype(np.float16),
            "words.middle": self.middle,
            "words.scale": np.array([self.scale]),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[Any]]) -> WordVectors:
        """What `arrays` gave."""
        return cls(
            arrays["words.known"].view(np.uint64),
            arrays["words.weight"],
            arrays["words.table"].astype(np.float32),
            arrays["words.middle"],
            float(arrays["words.scale"][0]),
        )


def fit_words(corpus: Words, prompts: Words, seed: int) -> WordVectors | None:
    """Vectors of the words of `corpus`, scaled for `prompts`; None where they are too few."""
    from sklearn.utils.extmath import randomized_svd

    known, counts = _commonest(corpus)
    if len(known) < 2 * WIDTH:
        return None
    information = _information(corpus, known)
    if information.nnz < 10 * len(known):
        return None
    left, strength, _ = randomized_svd(information, WIDTH, n_iter=3, random_state=seed)
    table = left * np.sqrt(strength)
    table /= np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-9)
    share = counts / counts.sum()
    raw = WordVectors(
        known,
        (_COMMON / (_COMMON + share)).astype(np.float32),
        table.astype(np.float16).astype(np.float32),
        np.zeros(WIDTH, np.float32),
        1.0,
    )
    means = raw.project(prompts)[:, :WIDTH]
    middle = means.mean(axis=0)
    scale = 1.0 / max(float((means - middle).std()), 1e-6)
    return WordVectors(raw.known, raw.weight, raw.table, middle, scale)


def _commonest(corpus: Words) -> tuple[Hashes, npt.NDArray[np.int64]]:
    known, counts = np.unique(corpus.hashes, return_counts=True)
    often = np.flatnonzero(counts >= LEAST_COUNT)
    kept = np.sort(often[np.argsort(-counts[often], kind="stable")[:MOST_WORDS]])
    return known[kept], counts[kept]


def _information(corpus: Words, known: Hashes) -> Any:
    from scipy import sparse

    place = np.minimum(np.searchsorted(known, corpus.hashes), len(known) - 1)
    hit = known[place] == corpus.hashes
    size = (len(known), len(known))
    together = sparse.csr_matrix(size, dtype=np.float32)
    for far in range(1, REACH + 1):
        both = hit[:-far] & hit[far:] & (corpus.text[:-far] == corpus.text[far:])
        weight = np.full(int(both.sum()), 1 / far, np.float32)
        places = (place[:-far][both], place[far:][both])
        together = together + sparse.csr_matrix((weight, places), shape=size)
    cells = (together + together.T).tocoo()
    row = np.bincount(cells.row, weights=cells.data, minlength=len(known))
    # Rare contexts are drawn nearer: a word seen twice is no strong evidence.
    context = row**0.75 / max(float((row**0.75).sum()), 1e-9)
    gain = np.log(np.maximum(cells.data / (row[cells.row] * context[cells.col]), 1e-9))
    kept = gain > 0
    return sparse.csr_matrix((gain[kept], (cells.row[kept], cells.col[kept])), shape=size)
