"""A random Llama of a few megabytes, written as GGUF: real code paths, meaningless words.

Weights are N(0, 0.02) by a fixed seed, so two runs give the same bytes. The vocabulary is every
byte, the pairs of small letters, and an end of text.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import numpy as np

from store.errors import ConfigError

SEED = 7
_NORMAL, _CONTROL = 1, 3  # token types of GGUF
_DEVIATION = 0.02


@dataclass(frozen=True, slots=True)
class Shape:
    """Size of the model; speed follows it.

    Attributes:
        layers: transformer blocks.
        heads: attention heads, of 64 numbers each.
        kv_heads: heads of keys and values.
        feed_forward: width of the feed-forward part.
        context_tokens: longest context.
    """

    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    feed_forward: int = 704
    context_tokens: int = 4096

    @property
    def width(self) -> int:
        """Length of an embedding."""
        return 64 * self.heads


TINY = Shape()
"""Hundreds of tokens a second on one core."""
MID = Shape(layers=8, heads=8, kv_heads=4, feed_forward=1408)
"""About ten times slower: saturates at a few requests a second, so that queues can be seen."""


def write(path: Path, shape: Shape = TINY) -> Path:
    """Write the model unless it is there.

    Raises:
        ConfigError: the package `gguf` is not installed.
    """
    if path.exists():
        return path
    gguf = _gguf()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    writer = gguf.GGUFWriter(str(part), "llama")
    _describe(writer, shape)
    tokens = _vocabulary(writer)
    for name, weights in _weights(shape, len(tokens)):
        writer.add_tensor(name, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return part.replace(path)


def _gguf() -> Any:
    try:
        import gguf
    except ImportError as error:
        raise ConfigError(
            "the package `gguf` is needed to make the model",
            hint="pip install 'servescope[live]'",
        ) from error
    return gguf


def _describe(writer: Any, shape: Shape) -> None:
    writer.add_name("servescope-tiny")
    writer.add_context_length(shape.context_tokens)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(64)


def _vocabulary(writer: Any) -> list[str]:
    """Byte-level pair encoding as GPT-2 has it; gives the tokens."""
    pairs = [a + b for a, b in product(ascii_lowercase, repeat=2)]
    tokens = [*_byte_symbols(), *pairs, "<|end|>"]
    kinds = [_NORMAL] * (len(tokens) - 1) + [_CONTROL]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([f"{pair[0]} {pair[1]}" for pair in pairs])
    for add in (writer.add_bos_token_id, writer.add_eos_token_id):
        add(len(tokens) - 1)
    writer.add_add_bos_token(False)
    return tokens


def _byte_symbols() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = {byte: 256 + n for n, byte in enumerate(b for b in range(256) if b not in plain)}
    return [chr(moved.get(byte, byte)) for byte in range(256)]


def _weights(shape: Shape, vocabulary: int) -> list[tuple[str, np.ndarray[Any, Any]]]:
    random = np.random.default_rng(SEED)

    def matrix(rows: int, columns: int) -> np.ndarray[Any, Any]:
        return random.normal(0.0, _DEVIATION, (rows, columns)).astype(np.float16)

    width, narrow = shape.width, 64 * shape.kv_heads
    ones = np.ones(width, dtype=np.float32)
    found = [
        ("token_embd.weight", matrix(vocabulary, width)),
        ("output_norm.weight", ones),
        ("output.weight", matrix(vocabulary, width)),
    ]
    for layer in range(shape.layers):
        for name, rows, columns in (
            ("attn_q", width, width),
            ("attn_k", narrow, width),
            ("attn_v", narrow, width),
            ("attn_output", width, width),
            ("ffn_gate", shape.feed_forward, width),
            ("ffn_up", shape.feed_forward, width),
            ("ffn_down", width, shape.feed_forward),
        ):
            found.append((f"blk.{layer}.{name}.weight", matrix(rows, columns)))
        found += [(f"blk.{layer}.{name}.weight", ones) for name in ("attn_norm", "ffn_norm")]
    return found
