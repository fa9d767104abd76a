"""What can be seen of a prompt without understanding it: size, punctuation, cue words.

The cue words ask for a kind of answer ("list", "one", "write", "classify"); they are few, English
and shared by all fleets. Words that matter to one fleet are learnt by `views`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from predictors.length.tokens import Hashes, Words, hash_of

Matrix = npt.NDArray[np.float32]

_CUE_TEXT = (
    "write story list explain describe generate create code function python how what why who when"
    " which summarize classify identify give example one word sentence sentences paragraph essay"
    " poem short brief detailed steps table compare difference translate rewrite edit calculate"
    " find plot dataframe numpy pandas sort name suggest design email letter article recipe script"
    " java sql html api yes no true false assert class import return step plan continue"
)
_OPENER_TEXT = (
    "write create generate what how why explain list give find can who which is describe design"
    " identify name classify rewrite edit summarize translate calculate i in given the compose"
    " construct problem question you"
)
_CUES, _OPENERS = tuple(_CUE_TEXT.split()), tuple(_OPENER_TEXT.split())
_COUNTED = ("\n", "```", "?", "=", "(", ">>>", ",", ".", "def ", "import ", "- ", '"')
_KINDS = np.zeros(256, np.uint8)
_KINDS[48:58], _KINDS[65:91], _KINDS[128:] = 1, 2, 3
_NUMBER = re.compile(r"(?<![\w.])\d{1,4}(?![\w.])")


def _sorted_hashes(names: Sequence[str]) -> tuple[Hashes, npt.NDArray[np.int64]]:
    hashes = np.array([hash_of(name) for name in names], np.uint64)
    order = np.argsort(hashes)
    return hashes[order], order


_CUE_HASHES, _CUE_COLUMNS = _sorted_hashes(_CUES)
_OPENER_HASHES, _OPENER_COLUMNS = _sorted_hashes(_OPENERS)
_SHAPES = len(_COUNTED) + 11
WIDTH = _SHAPES + len(_CUES) + len(_OPENERS)


def surface(texts: Sequence[str], found: Words, characters: Sequence[int]) -> Matrix:
    """(n, WIDTH) surface of prompts.

    Args:
        texts: as `cut` left them.
        found: their words.
        characters: of each whole prompt, before it was cut.
    """
    out = np.zeros((len(texts), WIDTH), np.float32)
    if not len(texts):
        return out
    out[:, :_SHAPES] = _shapes(texts, found, np.asarray(characters, dtype=np.float64))
    cues = _SHAPES + len(_CUES)
    _mark(out[:, _SHAPES:cues], found, _CUE_HASHES, _CUE_COLUMNS)
    _mark(out[:, cues:], found.first(1), _OPENER_HASHES, _OPENER_COLUMNS)
    return out


def _shapes(
    texts: Sequence[str], found: Words, characters: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    counts = np.array([[text.count(part) for part in _COUNTED] for text in texts], np.float64)
    digits, upper, other, length = _letters(texts)
    endings = [text.rstrip()[-1:] for text in texts]
    numbers = [_NUMBER.search(text) for text in texts]
    first = [min(int(one.group()), 1000) if one else -1 for one in numbers]
    sizes = found.sizes.astype(np.float64)
    columns = [
        np.log1p(characters),
        np.log1p(sizes),
        characters / (sizes + 1) / 10,
        np.log1p(digits),
        5 * digits / length,
        5 * upper / length,
        2 * other / length,
        np.array([ending == "?" for ending in endings], np.float64),
        np.array([ending == ":" for ending in endings], np.float64),
        30 * counts[:, 0] / length,
        # -1 where no number stands; its logarithm must not be taken.
        np.where(np.array(first) < 0, -1.0, np.log1p(np.maximum(first, 0))),
    ]
    return np.hstack([np.log1p(counts), np.stack(columns, axis=1)])


def _letters(texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """(4, n): digits, capitals and bytes beyond ASCII of each text, and its bytes and one."""
    bodies = [text.encode("utf-8", "replace") for text in texts]
    sizes = np.array([len(body) + 1 for body in bodies])
    kinds = _KINDS[np.frombuffer(b"\n".join([*bodies, b""]), np.uint8)]
    starts = np.cumsum(sizes) - sizes
    counted = [np.add.reduceat(kinds == kind, starts, dtype=np.int64) for kind in (1, 2, 3)]
    return np.array([*counted, sizes], np.float64)


def _mark(out: Matrix, found: Words, known: Hashes, columns: npt.NDArray[np.int64]) -> None:
    place = np.minimum(np.searchsorted(known, found.hashes), len(known) - 1)
    hit = known[place] == found.hashes
    out[found.text[hit], columns[place[hit]]] = 1.0
