"""Rows as examples: one a prompt and model, with all the lengths that were seen of it.

When one prompt was answered several times, the shares of all its answers are one label: a single
sample says little more than chance about the next.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from predictors.base import CENSORED, OUTCOME
from predictors.distribution import Floats
from predictors.length.bins import COUNT, number_of, softened
from predictors.length.network import Examples, Matrix
from predictors.length.spec import ANSWER, INPUT, KEYS, PROMPT

# Beyond these the rarest share the row of "any", so that a model stays small.
MOST_MODELS, MOST_ROUTES = 64, 256
# Pairs of this weight count as much as infinitely many samples would, halved.
_HALF_SAMPLES = 0.3


@dataclass(frozen=True, slots=True)
class Pairs:
    """Distinct prompts and who answered them.

    Attributes:
        prompts: (p,) texts.
        input_tokens: (p,) of the prompts; NaN unknown.
        answers: some answers, to read words from; empty where the rows have none.
        frame: a row a pair: `prompt` (number), `model`, `route`, `values`, `cuts`.
    """

    prompts: list[str]
    input_tokens: Floats
    answers: list[str]
    frame: pl.DataFrame


def pairs_of(rows: pl.DataFrame, most_prompts: int) -> Pairs:
    """Group rows by prompt and route, then by model.

    Args:
        rows: as `base.learnable` gives them, oldest first.
        most_prompts: only the newest so many.
    """
    texts = pl.col(PROMPT).fill_null("")
    keys = [pl.col(key).cast(pl.String).fill_null("") for key in KEYS]
    known = rows.with_row_index("number").with_columns(texts, *keys)
    by = [PROMPT, KEYS[1]]
    size = pl.col(INPUT).cast(pl.Float64).mean().alias(INPUT)
    prompts = known.group_by(by).agg(size, pl.col("number").max())
    prompts = prompts.sort("number").tail(most_prompts).drop("number").with_row_index("prompt")
    length = pl.col(OUTCOME).cast(pl.Float64).clip(1.0)
    joined = known.drop(INPUT).join(prompts, on=by).with_columns(length)
    frame = joined.group_by("prompt", *KEYS).agg(
        pl.col(OUTCOME).filter(~pl.col(CENSORED)).sort().alias("values"),
        pl.col(OUTCOME).filter(pl.col(CENSORED)).sort().alias("cuts"),
    )
    answers = _answers(joined)
    inputs = prompts[INPUT].fill_null(np.nan).to_numpy().astype(np.float64)
    return Pairs(prompts[PROMPT].to_list(), inputs, answers, frame.sort("prompt", *KEYS))


def held_out(known: pl.DataFrame, ratio: float, most: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(to judge, to learn from): by prompt, never by row, or a prompt would judge itself.

    Args:
        known: rows with prompts.
        ratio: of the prompts, held out; none where that is fewer than ten.
        most: prompts held out.
    """
    prompts = known[PROMPT].fill_null("").unique().to_list()
    if len(prompts) * ratio < 10:
        return known.clear(), known
    share = min(ratio, most / len(prompts))
    marks = {text: zlib.crc32(text.encode("utf-8", "replace")) / 2**32 for text in prompts}
    inside = (
        pl.col(PROMPT).fill_null("").is_in([one for one, mark in marks.items() if mark < share])
    )
    return known.filter(inside), known.filter(~inside)


def _answers(joined: pl.DataFrame) -> list[str]:
    if ANSWER not in joined.columns:
        return []
    # Eight answers of a prompt, of different models, hold all of its words.
    some = joined.filter(pl.col(ANSWER).str.len_chars() > 0).sort("number")
    each = some.unique(["prompt", ANSWER], keep="first", maintain_order=True)
    few = each.filter(pl.int_range(pl.len()).over("prompt") < 8)
    return few[ANSWER].cast(pl.String).to_list()


def numbered(names: Sequence[str], most: int) -> dict[str, int]:
    """1 and up for the commonest names, in their order; "" has none."""
    found, counts = np.unique(np.asarray(names, dtype=str), return_counts=True)
    kept = sorted(zip(-counts, found, strict=True))[:most]
    return {str(name): number + 1 for number, (_, name) in enumerate(kept) if name}


def numbers_of(names: Sequence[str | None], known: Mapping[str, int]) -> npt.NDArray[np.int64]:
    """The number of each name; 0 for a new one."""
    return np.array([known.get(name or "", 0) for name in names], np.int64)


def examples_of(
    pairs: Pairs,
    inputs: Matrix,
    models: Mapping[str, int],
    routes: Mapping[str, int],
) -> Examples:
    """What a network learns from.

    Args:
        pairs: at least one.
        inputs: (p, d) features of the prompts.
        models: their numbers.
        routes: their numbers.
    """
    frame = pairs.frame
    ended, cut = _shares(frame["values"]), _shares(frame["cuts"], is_cut=True)
    count = (frame["values"].list.len() + frame["cuts"].list.len()).to_numpy().astype(np.float64)
    return Examples(
        inputs=inputs,
        prompt=frame["prompt"].to_numpy().astype(np.int64),
        model=numbers_of(frame[KEYS[0]].to_list(), models),
        route=numbers_of(frame[KEYS[1]].to_list(), routes),
        ended=(ended / count[:, None]).astype(np.float32),
        cut=(cut / count[:, None]).astype(np.float32),
        weight=(count / (count + _HALF_SAMPLES)).astype(np.float32),
    )


def _shares(lists: pl.Series, is_cut: bool = False) -> npt.NDArray[np.float64]:
    sizes = lists.list.len().to_numpy().astype(np.int64)
    values = lists.explode().drop_nulls().to_numpy().astype(np.float64)
    out = np.zeros((len(sizes), COUNT))
    owner = np.repeat(np.arange(len(sizes)), sizes)
    if is_cut:
        np.add.at(out, (owner, number_of(values)), 1.0)
    elif len(values):
        filled = np.flatnonzero(sizes)
        out[filled] = np.add.reduceat(softened(values), (np.cumsum(sizes) - sizes)[filled], axis=0)
    return out
