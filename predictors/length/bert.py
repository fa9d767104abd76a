"""An encoder of the BERT type in torch, read from a folder the operator names.

The folder holds `config.json`, `vocab.txt` and `model.safetensors` with the usual names. Nothing
is fetched, and no pickle is read.

Source: Devlin et al. (2019), BERT, arXiv 1810.04805; Vaswani et al. (2017), arXiv 1706.03762.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from predictors.length.wordpiece import WordPiece
from store.errors import PredictorError


@dataclass(frozen=True, slots=True)
class BertConfig:
    """The sizes of an encoder, named as in its `config.json`."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> BertConfig:
        """From the content of `config.json`.

        Raises:
            PredictorError: a size is missing, or it is another kind of model.
        """
        names = {field.name for field in fields(cls)}
        try:
            config = cls(**{name: value for name, value in told.items() if name in names})
        except TypeError as error:
            raise PredictorError(
                "the encoder's config.json lacks sizes of a BERT-type model",
                hint="name a folder with a BERT-type encoder, like a sentence transformer",
            ) from error
        if config.hidden_size % config.num_attention_heads:
            raise PredictorError("the encoder's heads do not part its width evenly")
        return config

    def plain(self) -> dict[str, Any]:
        """As JSON knows it."""
        return asdict(self)


class _Layer(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads = config.num_attention_heads
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.output = nn.Linear(width, width), nn.Linear(width, width)
        self.first = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.wide = nn.Linear(width, config.intermediate_size)
        self.narrow = nn.Linear(config.intermediate_size, width)
        self.second = nn.LayerNorm(width, eps=config.layer_norm_eps)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """x: (b, t, width); seen: (b, 1, 1, t), False where there is padding."""
        batch, length, width = x.shape
        query, key, value = (
            part(x).view(batch, length, self.heads, -1).transpose(1, 2)  # (b, heads, t, w / heads)
            for part in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        x = self.first(x + self.output(mixed.transpose(1, 2).reshape(batch, length, width)))
        return torch.as_tensor(self.second(x + self.narrow(functional.gelu(self.wide(x)))))


class Bert(nn.Module):
    """Token numbers to one vector a text: the mean over its tokens."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.config = config
        self.words = nn.Embedding(config.vocab_size, width)
        self.positions = nn.Embedding(config.max_position_embeddings, width)
        self.types = nn.Embedding(config.type_vocab_size, width)
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))

    def forward(self, tokens: Tensor, padding: int) -> Tensor:
        """tokens: (b, t) -> (b, width)."""
        tokens = tokens[:, : self.config.max_position_embeddings]
        seen = tokens != padding  # (b, t)
        places = torch.arange(tokens.shape[1])
        x = self.words(tokens) + self.positions(places) + self.types.weight[0]
        x = self.norm(x)  # (b, t, width)
        for layer in self.layers:
            x = layer(x, seen[:, None, None, :])
        weight = seen[:, :, None].float()
        return torch.as_tensor((x * weight).sum(1) / weight.sum(1).clamp_min(1))


_TOP = {
    "embeddings.word_embeddings.weight": "words.weight",
    "embeddings.position_embeddings.weight": "positions.weight",
    "embeddings.token_type_embeddings.weight": "types.weight",
    "embeddings.LayerNorm.weight": "norm.weight",
    "embeddings.LayerNorm.bias": "norm.bias",
}
_INSIDE = {
    "attention.self.query": "query",
    "attention.self.key": "key",
    "attention.self.value": "value",
    "attention.output.dense": "output",
    "attention.output.LayerNorm": "first",
    "intermediate.dense": "wide",
    "output.dense": "narrow",
    "output.LayerNorm": "second",
}


def read_encoder(folder: Path) -> tuple[Bert, WordPiece]:
    """The encoder and the vocabulary in `folder`.

    Raises:
        PredictorError: a file is missing, or it is no encoder of the BERT type.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / "config.json"
    try:
        told = json.loads(path.read_text("utf-8"))
        weights = load_file(folder / "model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise PredictorError(
            f"no encoder can be read here: {error}",
            where=str(folder),
            hint="the folder needs config.json, vocab.txt and model.safetensors",
        ) from error
    config = BertConfig.from_json(told)
    pieces = WordPiece.from_file(folder / "vocab.txt", bool(told.get("do_lower_case", True)))
    bert = Bert(config)
    bert.load_state_dict(_renamed(weights, config, folder))
    return bert, pieces


def _renamed(weights: dict[str, Tensor], config: BertConfig, folder: Path) -> dict[str, Tensor]:
    plain = {name.removeprefix("bert."): value.float() for name, value in weights.items()}
    wanted = dict(_TOP)
    for number in range(config.num_hidden_layers):
        for theirs, ours in _INSIDE.items():
            for part in ("weight", "bias"):
                name = f"encoder.layer.{number}.{theirs}.{part}"
                wanted[name] = f"layers.{number}.{ours}.{part}"
    absent = sorted(set(wanted) - set(plain))
    if absent:
        raise PredictorError(
            f"the encoder lacks {len(absent)} tensors of a BERT-type model, like {absent[0]}",
            where=str(folder),
        )
    return {ours: plain[theirs] for theirs, ours in wanted.items()}
