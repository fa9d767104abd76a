"""Texts as the token numbers of a BERT-type encoder, from its `vocab.txt`.

Written from the description of WordPiece: words and marks are split, lower-cased and stripped of
accents, then cut greedily into the longest pieces that the vocabulary has.

Source: Devlin et al. (2019), BERT, arXiv 1810.04805, section 3; Wu et al. (2016), arXiv 1609.08144.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from store.errors import PredictorError

UNKNOWN, START, END, PADDING = "[UNK]", "[CLS]", "[SEP]", "[PAD]"
# A word longer than this is no word: it is one unknown token.
_MOST_WORD = 100
# Of a prompt the beginning and the end are read: they hold what is asked.
HEAD_TOKENS, TAIL_TOKENS = 96, 32
_CHARACTERS_A_TOKEN = 16


class WordPiece:
    """Cuts texts into token numbers.

    Args:
        pieces: the vocabulary in its order.
        is_lower: whether the encoder was trained on lower-cased text.

    Raises:
        PredictorError: a special token is missing.
    """

    def __init__(self, pieces: Sequence[str], is_lower: bool = True) -> None:
        self.pieces, self.is_lower = tuple(pieces), is_lower
        self._numbers = {piece: number for number, piece in enumerate(self.pieces)}
        absent = [one for one in (UNKNOWN, START, END, PADDING) if one not in self._numbers]
        if absent:
            raise PredictorError(
                f"the vocabulary has no {', '.join(absent)}",
                hint="tier 2 takes encoders of the BERT type with a WordPiece vocab.txt",
            )

    @classmethod
    def from_file(cls, path: Path, is_lower: bool = True) -> WordPiece:
        """From `vocab.txt`, one piece a line.

        Raises:
            PredictorError: it cannot be read.
        """
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PredictorError("no vocabulary can be read here", where=str(path)) from error
        return cls(text.rstrip("\n").split("\n"), is_lower)

    def tokens(self, text: str) -> list[int]:
        """All pieces of a text, without the special ones."""
        return [number for word in self._words(text) for number in self._cut(word)]

    def encode(self, text: str) -> list[int]:
        """The first `HEAD_TOKENS` and last `TAIL_TOKENS` pieces, between the special tokens."""
        most = (HEAD_TOKENS + TAIL_TOKENS) * _CHARACTERS_A_TOKEN
        if len(text) > 2 * most:
            text = f"{text[:most]} {text[-most:]}"
        found = self.tokens(text)
        if len(found) > HEAD_TOKENS + TAIL_TOKENS:
            found = found[:HEAD_TOKENS] + found[-TAIL_TOKENS:]
        return [self._numbers[START], *found, self._numbers[END]]

    def batch(self, texts: Sequence[str]) -> npt.NDArray[np.int64]:
        """(n, longest) token numbers, filled up with padding."""
        rows = [self.encode(text) for text in texts]
        width = max((len(row) for row in rows), default=0)
        out = np.full((len(rows), width), self.padding, np.int64)
        for number, row in enumerate(rows):
            out[number, : len(row)] = row
        return out

    @property
    def padding(self) -> int:
        """The number of the padding token."""
        return self._numbers[PADDING]

    def _words(self, text: str) -> Iterator[str]:
        if self.is_lower:
            plain = unicodedata.normalize("NFD", text.lower())
            text = "".join(one for one in plain if unicodedata.category(one) != "Mn")
        word: list[str] = []
        for one in text:
            if one.isalnum() and not _stands_alone(one):
                word.append(one)
                continue
            if word:
                yield "".join(word)
                word = []
            if not one.isspace() and unicodedata.category(one)[0] != "C":
                yield one
        if word:
            yield "".join(word)

    def _cut(self, word: str) -> list[int]:
        unknown = [self._numbers[UNKNOWN]]
        if len(word) > _MOST_WORD:
            return unknown
        found: list[int] = []
        start = 0
        while start < len(word):
            mark = "##" if start else ""
            for end in range(len(word), start, -1):
                number = self._numbers.get(mark + word[start:end])
                if number is not None:
                    break
            else:
                return unknown
            found.append(number)
            start = end
        return found


def _stands_alone(character: str) -> bool:
    # Chinese characters are words by themselves.
    return "\u4e00" <= character <= "\u9fff" or "\u3400" <= character <= "\u4dbf"
