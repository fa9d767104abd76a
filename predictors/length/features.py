"""Prompts as rows of numbers for the network: surface, views, word vectors, what terms tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from predictors.distribution import Floats
from predictors.length.surface import WIDTH as SURFACE_WIDTH
from predictors.length.surface import surface
from predictors.length.tokens import Words, cut, words
from predictors.length.views import CUTS, View, fit_view
from predictors.length.words import WordVectors, fit_words

Matrix = npt.NDArray[np.float32]

# Texts answered at once: more would cost memory, not save time.
CHUNK = 512
# Of each answer only so much is read for its words.
ANSWER_CHARACTERS = 2500


@dataclass(frozen=True, slots=True)
class TextFeatures:
    """What was learnt about texts.

    Attributes:
        middle: (SURFACE_WIDTH + 1,) of the surface and the input size on the training prompts.
        spread: their standard deviations.
        views: those that could be fitted.
        vectors: None where the texts held too few words.
        told: (k,) what the weights of the terms of all views are added to; see `told.py`.
    """

    middle: Matrix
    spread: Matrix
    views: tuple[View, ...]
    vectors: WordVectors | None
    told: Matrix = field(default_factory=lambda: np.zeros(0, np.float32))

    @property
    def width(self) -> int:
        """Columns of `of`."""
        parts = [len(self.told), *(view.width for view in self.views)]
        parts += [2 * self.vectors.table.shape[1]] if self.vectors else []
        return int(len(self.middle) + sum(parts))

    @property
    def leading(self) -> list[int]:
        """The columns that say most: the first directions of each view, and all that are none."""
        known = len(self.middle)
        chosen, start = list(range(known)), known
        for view in self.views:
            chosen += range(start, start + view.width // 3)
            start += view.width
        if self.vectors is not None:
            chosen += range(start, start + self.vectors.table.shape[1] // 2)
            start += 2 * self.vectors.table.shape[1]
        return chosen + list(range(start, start + len(self.told)))

    def of(self, prompts: Sequence[str | None], input_tokens: Floats) -> Matrix:
        """(n, width) features.

        Args:
            prompts: None is an empty one.
            input_tokens: (n,) of the prompts; NaN unknown.
        """
        if not len(prompts):
            return np.zeros((0, self.width), np.float32)
        bounds = range(0, len(prompts), CHUNK)
        parts = [
            self._chunk(prompts[low : low + CHUNK], input_tokens[low : low + CHUNK])
            for low in bounds
        ]
        return parts[0] if len(parts) == 1 else np.vstack(parts)

    def _chunk(self, prompts: Sequence[str | None], input_tokens: Floats) -> Matrix:
        texts = [cut(prompt) for prompt in prompts]
        found = words(texts)
        characters = [len(prompt or "") for prompt in prompts]
        seen = raw_surface(texts, found, characters, input_tokens)
        parts = [np.clip((seen - self.middle) / self.spread, -4, 4)]
        told = np.repeat(self.told[None], len(texts), axis=0)
        for view in self.views:
            made = view.project(found)
            parts.append(made[:, : view.width])
            told += made[:, view.width :]
        if self.vectors is not None:
            parts.append(self.vectors.project(found))
        return np.hstack([*parts, told])

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """For `artifact.write`."""
        arrays: dict[str, npt.NDArray[Any]] = {
            "surface.middle": self.middle,
            "surface.spread": self.spread,
            "told": self.told,
        }
        for view in self.views:
            arrays |= view.arrays()
        return arrays | (self.vectors.arrays() if self.vectors else {})

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[Any]]) -> TextFeatures:
        """What `arrays` gave."""
        views = [View.from_arrays(c, arrays) for c in CUTS if f"view.{c.name}.known" in arrays]
        vectors = WordVectors.from_arrays(arrays) if "words.known" in arrays else None
        surface_of = arrays["surface.middle"], arrays["surface.spread"]
        # Models of before terms told anything lack the array.
        told = arrays.get("told", np.zeros(0, np.float32))
        return cls(*surface_of, tuple(views), vectors, told)


def raw_surface(
    texts: Sequence[str], found: Words, characters: Sequence[int], input_tokens: Floats
) -> Matrix:
    """(n, SURFACE_WIDTH + 1) before it is centred; the last column is the input size.

    An unknown input size is read off the characters, four to a token.
    """
    out = np.empty((len(texts), SURFACE_WIDTH + 1), np.float32)
    out[:, :-1] = surface(texts, found, characters)
    guess = np.asarray(characters, dtype=np.float64) / 4
    known = np.where(np.isfinite(input_tokens), input_tokens, guess)
    out[:, -1] = np.log1p(np.clip(known, 0, 1e7))
    return out


def fit_features(
    prompts: Sequence[str], input_tokens: Floats, answers: Sequence[str], seed: int
) -> TextFeatures:
    """Learn from distinct prompts and from the words of some answers.

    Args:
        prompts: at least one.
        input_tokens: (n,) of the prompts; NaN unknown.
        answers: read for their words alone; may be empty.
        seed: of the projections.
    """
    texts = [cut(prompt) for prompt in prompts]
    found = words(texts)
    seen = raw_surface(texts, found, [len(prompt) for prompt in prompts], input_tokens)
    corpus = words([*texts, *(answer[:ANSWER_CHARACTERS] for answer in answers)])
    views = [fit_view(one, found, seed) for one in CUTS]
    return TextFeatures(
        seen.mean(axis=0),
        # A cue that hardly ever stands in a prompt must not shout when it does.
        np.maximum(seen.std(axis=0), 0.02),
        tuple(view for view in views if view is not None),
        fit_words(corpus, found, seed),
    )
