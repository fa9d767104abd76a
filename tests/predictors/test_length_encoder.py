"""Tier 2: an encoder the operator names, here one of random weights made on the spot."""

from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest

from predictors import catalog
from predictors.base import OUTCOME
from predictors.check import check_prediction
from predictors.length.spec import ENCODER_SPEC, PROMPT
from store.errors import PredictorError

torch = pytest.importorskip("torch")
from predictors.length.bert import read_encoder  # noqa: E402
from predictors.length.encoder import EncoderLength, EncoderSettings, named_encoder  # noqa: E402
from predictors.length.wordpiece import WordPiece  # noqa: E402

PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "write",
    "a",
    "story",
    "one",
    "word",
    "##s",
    "?",
    "un",
]
SIZES = {
    "vocab_size": len(PIECES),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 160,
    "type_vocab_size": 2,
}


@pytest.fixture
def folder(tmp_path):
    """A folder with a tiny encoder, named as usual."""
    from safetensors.torch import save_file

    torch.manual_seed(0)
    width, wide = SIZES["hidden_size"], SIZES["intermediate_size"]
    shapes = {
        "embeddings.word_embeddings.weight": (len(PIECES), width),
        "embeddings.position_embeddings.weight": (SIZES["max_position_embeddings"], width),
        "embeddings.token_type_embeddings.weight": (2, width),
    }
    ones = {"embeddings.LayerNorm": width}
    for layer in range(2):
        place = f"encoder.layer.{layer}"
        for part in ("attention.self.query", "attention.self.key", "attention.self.value"):
            shapes[f"{place}.{part}.weight"] = (width, width)
        shapes[f"{place}.attention.output.dense.weight"] = (width, width)
        shapes[f"{place}.intermediate.dense.weight"] = (wide, width)
        shapes[f"{place}.output.dense.weight"] = (width, wide)
        ones |= {f"{place}.attention.output.LayerNorm": width, f"{place}.output.LayerNorm": width}
    weights = {name: torch.randn(shape) * 0.1 for name, shape in shapes.items()}
    for name, shape in shapes.items():
        if name.startswith("encoder"):
            weights[name.replace("weight", "bias")] = torch.zeros(shape[0])
    for name, size in ones.items():
        weights |= {f"{name}.weight": torch.ones(size), f"{name}.bias": torch.zeros(size)}
    named = {f"bert.{name}": value for name, value in weights.items()}
    save_file(named, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(SIZES))
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    return tmp_path


def rows(n=60):
    """Stories are long, single words short."""
    ask = ["write a story?", "one word?"]
    return pl.DataFrame(
        {
            PROMPT: [f"{ask[i % 2]} {'a ' * (i // 2)}" for i in range(n)],
            "model": "m",
            "route": "r",
            OUTCOME: [500.0 + i if i % 2 == 0 else 3.0 for i in range(n)],
        }
    )


def test_words_are_cut_into_the_longest_pieces():
    """Known words stay whole, others become their longest known pieces or unknown."""
    pieces = WordPiece(PIECES)
    assert pieces.tokens("Write words?") == [4, 8, 9, 10]
    assert pieces.tokens("zebra") == [1]
    assert pieces.encode("one") == [2, 7, 3]


def test_long_prompts_keep_their_beginning_and_end():
    """Of 200 000 words the first and the last are read."""
    encoded = WordPiece(PIECES).encode("write " + "a " * 200_000 + "story")
    assert len(encoded) == 130
    assert encoded[1] == 4
    assert encoded[-2] == 6


def test_padding_changes_no_answer(folder):
    """A text means the same alone and beside a longer one."""
    bert, pieces = read_encoder(folder)
    bert.eval()
    with torch.inference_mode():
        alone = bert(torch.as_tensor(pieces.batch(["one word"])), pieces.padding)
        both = bert(torch.as_tensor(pieces.batch(["one word", "a " * 40])), pieces.padding)
    assert torch.allclose(alone[0], both[0], atol=1e-5)


def test_the_layer_is_the_published_arithmetic(folder):
    """One head of attention, written out by hand, gives what the layer gives."""
    bert, _ = read_encoder(folder)
    layer = bert.layers[0].eval()
    x = torch.randn(1, 3, 16)
    seen = torch.ones(1, 1, 1, 3, dtype=torch.bool)
    parts = []
    for head in range(2):
        cut = slice(8 * head, 8 * head + 8)
        query, key, value = (part(x)[..., cut] for part in (layer.query, layer.key, layer.value))
        weight = torch.softmax(query @ key.transpose(1, 2) / math.sqrt(8), dim=-1)
        parts.append(weight @ value)
    inner = layer.first(x + layer.output(torch.cat(parts, dim=-1)))
    wide = torch.nn.functional.gelu(layer.wide(inner))
    by_hand = layer.second(inner + layer.narrow(wide))
    assert torch.allclose(layer(x, seen), by_hand, atol=1e-5)


def test_a_named_encoder_is_tuned_and_comes_back_from_disk(folder, tmp_path):
    """After tuning a story is expected to be longer than a word, also after loading."""
    settings = EncoderSettings(folder, passes=30, batch=8, encoder_rate=1e-3, head_rate=1e-2)
    model = EncoderLength(settings)
    model.fit(rows())
    made = model.predict(rows())
    check_prediction(ENCODER_SPEC, made, rows())
    middle = made.quantiles.at(0.5)
    assert np.median(middle[::2]) > 5 * np.median(middle[1::2])
    model.save(tmp_path / "kept")
    back = EncoderLength.load(tmp_path / "kept")
    assert np.allclose(back.predict(rows()).quantiles.values, made.quantiles.values, rtol=1e-4)


def test_without_a_name_tier_two_is_off(monkeypatch):
    """Nobody who names no encoder gets one; the refusal says how to name it."""
    monkeypatch.delenv("SERVESCOPE_LENGTH_ENCODER", raising=False)
    with pytest.raises(PredictorError, match="no encoder was named") as refused:
        named_encoder().fit(rows())
    assert "SERVESCOPE_LENGTH_ENCODER" in refused.value.hint


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", "{}"),
        ("config.json", "no json"),
        ("vocab.txt", "only\nwords"),
        ("model.safetensors", "x"),
    ],
)
def test_a_broken_folder_is_refused_in_one_line(folder, file, content):
    """A folder that holds no encoder of the BERT type is refused, never half read."""
    (folder / file).write_text(content)
    with pytest.raises(PredictorError) as refused:
        read_encoder(folder)
    assert "\n" not in refused.value.message


def test_every_length_predictor_is_in_the_catalogue():
    """Text, metadata and encoder are found by name, each with its rival."""
    for name in ("length-text", "length-metadata", "length-encoder"):
        entry = catalog.entry(name)
        assert entry.made().spec.name == name
        assert entry.made_rival().spec.quantity == "output_tokens"
