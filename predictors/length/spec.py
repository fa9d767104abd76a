"""What the length predictors read and how they are judged."""

from __future__ import annotations

from predictors.base import Feature, Spec

PROMPT = "prompt_text"
# Read by `fit` alone and only where it is there: what was answered teaches words, not lengths.
ANSWER = "answer_text"
INPUT, MOST, BLOCKS = "input_tokens", "max_tokens", "prefix_blocks"
KEYS = ("model", "route")

HISTOGRAM_SPEC = Spec(
    name="length-history",
    quantity="output_tokens",
    unit="tokens",
    features=(Feature(MOST, "number"),),
    keys=KEYS,
    upper_column=MOST,
)

TEXT_SPEC = Spec(
    name="length-text",
    quantity="output_tokens",
    unit="tokens",
    features=(
        Feature(PROMPT, "text", is_required=True),
        Feature(INPUT, "number"),
        Feature(MOST, "number"),
    ),
    keys=KEYS,
    upper_column=MOST,
    rival="length-history",
)

ENCODER_SPEC = Spec(
    name="length-encoder",
    quantity="output_tokens",
    unit="tokens",
    features=TEXT_SPEC.features,
    keys=KEYS,
    upper_column=MOST,
    rival="length-history",
)

METADATA_SPEC = Spec(
    name="length-metadata",
    quantity="output_tokens",
    unit="tokens",
    features=(
        Feature(INPUT, "number", is_required=True),
        Feature(MOST, "number"),
        Feature(BLOCKS, "list"),
    ),
    keys=KEYS,
    upper_column=MOST,
    rival="length-history",
)
