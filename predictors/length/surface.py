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
    out[:, :_SHAPES] = [
        _shape(text, size, whole)
        for text, size, whole in zip(texts, found.sizes.tolist(), characters, strict=True)
    ]
    cues = _SHAPES + len(_CUES)
    _mark(out[:, _SHAPES:cues], found, _CUE_HASHES, _CUE_COLUMNS)
    _mark(out[:, cues:], found.first(1), _OPENER_HASHES, _OPENER_COLUMNS)
    return out


def _shape(text: str, size: int, whole: int) -> list[float]:
    counts = [text.count(part) for part in _COUNTED]
    codes = np.frombuffer(text.encode("utf-8", "replace"), np.uint8)
    length = len(codes) + 1
    digits = int(((codes >= 48) & (codes <= 57)).sum())
    upper = int(((codes >= 65) & (codes <= 90)).sum())
    other = int((codes > 127).sum())
    ending = text.rstrip()[-1:]
    number = _NUMBER.search(text)
    return [
        *np.log1p(counts).tolist(),
        np.log1p(whole),
        np.log1p(size),
        whole / (size + 1) / 10,
        np.log1p(digits),
        5 * digits / length,
        5 * upper / length,
        2 * other / length,
        float(ending == "?"),
        float(ending == ":"),
        30 * counts[0] / length,
        np.log1p(min(int(number.group()), 1000)) if number else -1.0,
    ]


def _mark(out: Matrix, found: Words, known: Hashes, columns: npt.NDArray[np.int64]) -> None:
    place = np.minimum(np.searchsorted(known, found.hashes), len(known) - 1)
    hit = known[place] == found.hashes
    out[found.text[hit], columns[place[hit]]] = 1.0
