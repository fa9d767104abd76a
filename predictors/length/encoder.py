"""Tier 2: an encoder the operator names, fine-tuned on the fleet's own prompts. Off by default.

No weights come with the product. `SERVESCOPE_LENGTH_ENCODER=FOLDER servescope train
length-encoder --rows FILE` reads the encoder of that folder, tunes it with one head a model, and
keeps the result as a model of ours.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor, nn

from predictors import artifact
from predictors.base import CENSORED, OUTCOME, FitReport, Prediction, learnable
from predictors.length.bert import Bert, BertConfig, read_encoder
from predictors.length.bins import COUNT, Lengths
from predictors.length.histogram import LengthHistogram
from predictors.length.network import Examples, Recipe, priors
from predictors.length.pairs import (
    MOST_MODELS,
    Pairs,
    examples_of,
    held_out,
    numbered,
    numbers_of,
    pairs_of,
)
from predictors.length.spec import ENCODER_SPEC, KEYS, PROMPT
from predictors.length.training import Batches, loss_of, tensor
from predictors.length.wordpiece import WordPiece
from predictors.scoring import score
from predictors.serving import keys_of, limits_of
from store.errors import PredictorError

ENCODER_VARIABLE = "SERVESCOPE_LENGTH_ENCODER"
_ANSWERED_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """How the encoder is tuned.

    Attributes:
        folder: of the encoder.
        passes: over all prompts.
        batch: prompts a step.
        encoder_rate: highest learning rate of the encoder.
        head_rate: highest learning rate of what is put on top of it.
        most_prompts: only the newest so many are learnt from.
        seed: of everything random.
    """

    folder: Path
    passes: int = 3
    batch: int = 32
    encoder_rate: float = 8e-5
    head_rate: float = 2e-3
    most_prompts: int = 20_000
    seed: int = 0


class _Tuned(nn.Module):
    def __init__(self, bert: Bert, models: int) -> None:
        super().__init__()
        width = bert.config.hidden_size
        self.bert, self.models = bert, models
        self.norm = nn.LayerNorm(width)
        self.shared = nn.Linear(width, COUNT)
        self.own = nn.Linear(width, models * COUNT)
        self.drop = nn.Dropout(0.1)
        for layer in (self.shared, self.own):
            nn.init.normal_(layer.weight, 0, 0.003)
            nn.init.zeros_(layer.bias)

    def forward(self, tokens: Tensor, padding: int) -> Tensor:
        """tokens: (b, t) -> (b, models, COUNT)."""
        hidden = self.drop(self.norm(self.bert(tokens, padding)))  # (b, width)
        own = self.own(hidden).view(-1, self.models, COUNT)
        return torch.as_tensor(self.shared(hidden)[:, None, :] + own)


@dataclass(frozen=True, slots=True)
class _Learnt:
    network: _Tuned
    pieces: WordPiece
    models: Mapping[str, int]
    prior: npt.NDArray[np.float32]


class EncoderLength:
    """Lengths from a tuned encoder. Not thread-safe: one owner.

    Args:
        settings: which encoder and how it is tuned; None can only answer what was loaded.
    """

    spec = ENCODER_SPEC

    def __init__(self, settings: EncoderSettings | None = None) -> None:
        self._settings = settings
        self._learnt: _Learnt | None = None
        self._model_id = f"{ENCODER_SPEC.name}-unfitted"

    @property
    def model_id(self) -> str:
        """Changes with every fit."""
        return self._model_id

    def fit(self, rows: pl.DataFrame) -> FitReport:
        """Tune the named encoder; judged on prompts left out.

        Raises:
            PredictorError: no encoder was named, or no row has an outcome.
        """
        if self._settings is None:
            raise PredictorError(
                "tier 2 is off: no encoder was named",
                hint=f"set {ENCODER_VARIABLE} to a folder with config.json, vocab.txt"
                " and model.safetensors",
            )
        start = time.process_time()
        known = learnable(ENCODER_SPEC, ENCODER_SPEC.frame(rows))
        held, kept = held_out(known, 0.05, 1000)
        pairs = pairs_of(kept, self._settings.most_prompts)
        self._learnt = _tuned(pairs, self._settings)
        body = repr((sorted(pairs.prompts), self._settings)) + str(known[OUTCOME].sum())
        digest = hashlib.sha256(body.encode("utf-8", "replace")).hexdigest()
        self._model_id = f"{ENCODER_SPEC.name}-{digest[:12]}"
        judged = held.filter(~pl.col(CENSORED))
        ours = rival = None
        if judged.height:
            history = LengthHistogram(ENCODER_SPEC)
            history.fit(kept)
            real = judged[OUTCOME].to_numpy()
            ours = score(self.lengths(judged).quantiles(), real)
            rival = score(history.lengths(judged).quantiles(), real)
        return FitReport(kept.height, held.height, time.process_time() - start, ours, rival)

    def predict(self, rows: pl.DataFrame) -> Prediction:
        """Quantiles of each row.

        Raises:
            PredictorError: it was never fitted, or there are no prompts.
        """
        return Prediction.raw(self.lengths(rows).quantiles(), self._model_id)

    def lengths(self, rows: pl.DataFrame) -> Lengths:
        """The whole distribution of each row.

        Raises:
            PredictorError: it was never fitted, or there are no prompts.
        """
        learnt = self._learnt
        if learnt is None:
            raise PredictorError(
                f"{ENCODER_SPEC.name} was never fitted",
                hint=f"{ENCODER_VARIABLE}=FOLDER servescope train length-encoder --rows FILE",
            )
        rows = ENCODER_SPEC.frame(rows)
        texts = rows[PROMPT].fill_null("").to_list()
        models = numbers_of([key[0] for key in keys_of(ENCODER_SPEC, rows)], learnt.models)
        shares = np.zeros((rows.height, COUNT))
        unique = {text: number for number, text in enumerate(dict.fromkeys(texts))}
        owner = np.array([unique[text] for text in texts], np.int64)
        for low, logits in _answers(learnt, list(unique)):
            inside = np.flatnonzero((owner >= low) & (owner < low + len(logits)))
            chosen = logits[owner[inside] - low, models[inside]] + learnt.prior[models[inside]]
            weights = np.exp(chosen - chosen.max(axis=1, keepdims=True))
            shares[inside] = weights / weights.sum(axis=1, keepdims=True)
        return Lengths(shares, limits_of(ENCODER_SPEC, rows)[1])

    def observe(self, rows: pl.DataFrame) -> None:
        """Nothing: an encoder learns when it is trained."""

    def save(self, folder: Path) -> None:
        """Write the tuned encoder with its vocabulary.

        Raises:
            PredictorError: it was never fitted.
        """
        if self._learnt is None:
            raise PredictorError(f"{ENCODER_SPEC.name} was never fitted: nothing to save")
        state = self._learnt.network.state_dict()
        arrays: dict[str, Any] = {name: value.numpy() for name, value in state.items()}
        text = "\n".join(self._learnt.pieces.pieces).encode("utf-8")
        arrays |= {"prior": self._learnt.prior, "vocabulary": np.frombuffer(text, np.uint8)}
        settings = {
            "config": self._learnt.network.bert.config.plain(),
            "is_lower": self._learnt.pieces.is_lower,
            "models": dict(self._learnt.models),
        }
        artifact.write(folder, ENCODER_SPEC, self._model_id, arrays, settings)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            PredictorError: another predictor, another feature list, or changed bytes.
        """
        model_id, arrays, settings = artifact.read(folder, ENCODER_SPEC)
        text = arrays.pop("vocabulary").tobytes().decode("utf-8")
        prior = arrays.pop("prior")
        network = _Tuned(Bert(BertConfig.from_json(settings["config"])), len(prior))
        network.load_state_dict({name: tensor(value) for name, value in arrays.items()})
        network.eval()
        pieces = WordPiece(text.split("\n"), settings["is_lower"])
        made = cls()
        made._learnt = _Learnt(network, pieces, settings["models"], prior)
        made._model_id = model_id
        return made


def named_encoder() -> EncoderLength:
    """The tier of the encoder that the environment names; without a name it can only be loaded."""
    folder = os.environ.get(ENCODER_VARIABLE)
    return EncoderLength(EncoderSettings(Path(folder)) if folder else None)


def load(folder: Path) -> EncoderLength:
    """A saved one, for the catalogue."""
    return EncoderLength.load(folder)


def _answers(learnt: _Learnt, texts: list[str]) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    learnt.network.eval()
    for low in range(0, len(texts), _ANSWERED_AT_ONCE):
        tokens = learnt.pieces.batch(texts[low : low + _ANSWERED_AT_ONCE])
        with torch.inference_mode():
            made = learnt.network(tensor(tokens), learnt.pieces.padding)
        yield low, made.numpy()


def _tuned(pairs: Pairs, settings: EncoderSettings) -> _Learnt:
    torch.manual_seed(settings.seed)
    bert, pieces = read_encoder(settings.folder)
    models = numbered(pairs.frame[KEYS[0]].to_list(), MOST_MODELS)
    nothing = np.zeros((len(pairs.prompts), 0), np.float32)
    examples = examples_of(pairs, nothing, models, {})
    prior = priors(examples, len(models) + 1)
    network = _Tuned(bert, len(prior))
    _tune(network, pieces, pairs.prompts, examples, prior, settings)
    network.eval()
    return _Learnt(network, pieces, models, prior)


def _tune(
    network: _Tuned,
    pieces: WordPiece,
    prompts: list[str],
    examples: Examples,
    prior: npt.NDArray[np.float32],
    settings: EncoderSettings,
) -> None:
    recipe = Recipe(score_weight=1.0)
    encoder = list(network.bert.parameters())
    top = [one for name, one in network.named_parameters() if not name.startswith("bert.")]
    groups = [{"params": encoder}, {"params": top}]
    optimiser = torch.optim.AdamW(groups, lr=settings.head_rate, weight_decay=0.01)
    steps = max(settings.passes * len(prompts) // settings.batch, 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [settings.encoder_rate, settings.head_rate], total_steps=steps + 1, pct_start=0.1
    )
    batches = Batches(examples, settings.batch, np.random.default_rng(settings.seed))
    start = tensor(prior)
    network.train()
    for _ in range(steps):
        pair, owner = batches.next()
        first = np.searchsorted(owner, np.arange(owner[-1] + 1))
        texts = [prompts[number] for number in examples.prompt[pair[first]]]
        out = network(tensor(pieces.batch(texts)), pieces.padding)
        model, weight = tensor(examples.model[pair]), tensor(examples.weight[pair])
        seen = tensor(examples.ended[pair]), tensor(examples.cut[pair])
        logits = out[tensor(owner), model] + start[model]
        loss = (loss_of(logits, *seen, recipe) * weight).sum() / weight.sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
