"""Makes the shipped profiles again from the measurements they were fitted to.

    python benchmarks/shipped_profiles.py --data FOLDER [--to controller/profiles]

FOLDER holds `splitwise_sim/perf_model.parquet` (Mutinifni/splitwise-sim, MIT) and
`aiconfigurator/silicon_sample.parquet` (ai-dynamo/aiconfigurator, Apache-2.0); SERVESCOPE_DATA is
used where it is not given. Without `--to` nothing is written.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from controller.calibration.start import NAMES
from controller.calibration.steady import Point, profile_of, told
from controller.cases import LLAMA_70B
from controller.profile import Profile, StepTimes
from controller.profiles import SUFFIX, slug

SPLITWISE = "Splitwise, Patel et al. 2024, splitwise-sim 8f99e7d data/perf_model.csv"
AICONFIGURATOR = "NVIDIA AIConfigurator 095f58a, silicon measurements"
UNKNOWN = StepTimes(fixed_seconds=1.0)
# GiB of a card, and what of it engines use by default.
CARD_BYTES = {"a100": 80e9, "h100": 80e9, "h200": 141e9, "b200": 180e9}
USABLE_RATIO = 0.9
LEAST_POINTS = 15
# The benchmark behind these points sends ten requests for each that is under way at a time.
BURST_RATIO = 0.1
# Bytes of the weights at two bytes a number, and of keys and values a token: layers x 2 x KV heads
# x 128 x 2 bytes; BLOOM has a key for each of its heads.
WEIGHTS = {"llama2-70b": 138e9, "bloom-176b": 352e9, "llama-3.1-70b": 141e9}
KV_BYTES = {"llama2-70b": 327_680, "bloom-176b": 4_014_080, "llama-3.1-70b": 327_680}
WEIGHT_RATIO = {"fp16": 1.0, "bf16": 1.0, "fp8": 0.5, "fp4": 0.28}


def cache_tokens(model: str, card: str, gpus: int, precision: str) -> int:
    """What is left of the cards when the weights are in, two digits."""
    left = gpus * CARD_BYTES[card] * USABLE_RATIO - WEIGHTS[model] * WEIGHT_RATIO[precision]
    return int(float(f"{max(left, 4e9) / KV_BYTES[model]:.2g}"))


def sound(points: list[Point]) -> tuple[list[Point], int]:
    """Without batches that took less than smaller ones: they did not fit into the memory.

    Gives the largest batch that is left, too.
    """
    kept = [
        point
        for point in points
        if not any(
            other.prompt_tokens == point.prompt_tokens
            and other.sequences < point.sequences
            and other.ttft_seconds > 1.1 * point.ttft_seconds
            for other in points
        )
    ]
    return kept, max(point.sequences for point in kept)


def splitwise(path: Path) -> Iterator[Profile]:
    """One for each model, card and number of cards."""
    keys = ["model", "hardware", "tensor_parallel"]
    sizes = ["prompt_size_tokens", "batch_size", "token_size_tokens"]
    rows = pl.read_parquet(path).group_by([*keys, *sizes]).agg(
        pl.col("prompt_time_ms", "token_time_ms").median()
    ).sort([*keys, *sizes])  # fmt: skip
    for (model, hardware, gpus), group in rows.group_by(keys, maintain_order=True):
        points = [
            Point(prompt, output, batch, first / 1000, later / 1000)
            for prompt, batch, output, first, later in group.select(
                [*sizes, "prompt_time_ms", "token_time_ms"]
            ).iter_rows()
        ]
        points, most = sound(points)
        card = str(hardware).split("-")[0]
        like = Profile(
            f"{model}, {gpus} x {card}", UNKNOWN, token_budget=8192, sequences=most,
            cache_tokens=cache_tokens(str(model), card, int(gpus), "fp16"), is_chunked=False,
            gpus=int(gpus), gpu_type=card, licence="MIT",
            notes=(
                "cache_tokens is computed from the cards' memory, not measured",
                f"batches of more than {most} were not measured",
                "token_budget and prompts before decoding are assumed",
            ),
        )  # fmt: skip
        yield profile_of(points, like, SPLITWISE)


def aiconfigurator(path: Path) -> Iterator[Profile]:
    """Llama-3.1-70B, where there are points enough."""
    keys = ["system", "backend", "precision", "tp_size"]
    sizes = ["isl_tokens", "osl_tokens", "silicon_concurrency"]
    rows = pl.read_parquet(path).filter(
        (pl.col("mode") == "agg") & pl.col("model_path").str.ends_with("Llama-3.1-70B")
    ).group_by([*keys, *sizes]).agg(
        pl.col("silicon_ttft_ms", "silicon_tpot_ms").median()
    ).sort([*keys, *sizes])  # fmt: skip
    for (system, backend, precision, gpus), group in rows.group_by(keys, maintain_order=True):
        if group.height < LEAST_POINTS:
            continue
        points = [
            Point(prompt, output, batch, first / 1000, later / 1000, BURST_RATIO)
            for prompt, output, batch, first, later in group.select(
                [*sizes, "silicon_ttft_ms", "silicon_tpot_ms"]
            ).iter_rows()
        ]
        card = str(system).split("_")[0]
        like = Profile(
            f"llama-3.1-70b {precision}, {backend}, {gpus} x {card}", UNKNOWN, token_budget=8192,
            sequences=256, is_chunked=True, gpus=int(gpus), gpu_type=card,
            cache_tokens=cache_tokens("llama-3.1-70b", card, int(gpus), str(precision)),
            licence="Apache-2.0",
            notes=(
                "cache_tokens is computed from the cards' memory, not measured",
                f"more than {max(point.sequences for point in points)} requests at a time were not"
                " measured",
                "token_budget is assumed; measured in a closed loop, so TTFT holds the wait for"
                " the step under way",
            ),
        )  # fmt: skip
        yield profile_of(points, like, AICONFIGURATOR)


def against_the_cases(made: Profile, path: Path) -> None:
    """How far the replica of the policy comparison is from the same measurements."""
    rows = pl.read_parquet(path).filter(
        (pl.col("model") == "llama2-70b")
        & (pl.col("hardware") == "h100-80gb")
        & (pl.col("tensor_parallel") == 4)
    ).group_by("prompt_size_tokens", "batch_size", "token_size_tokens").agg(
        pl.col("prompt_time_ms", "token_time_ms").median()
    ).sort("prompt_size_tokens", "batch_size")  # fmt: skip
    import numpy as np

    print("\nllama2-70b, 4 x h100: the case of the policy comparison | this fit, over measured")
    for prompt, batch, output, first, later in rows.iter_rows():
        point = Point(prompt, output, batch, first / 1000, later / 1000)
        told_by = []
        for profile in (LLAMA_70B, made):
            values = np.array(
                [
                    profile.request_seconds
                    if name == "request_seconds"
                    else getattr(profile.step, name)
                    for name in NAMES
                ]
            )
            told_by.append(told(values, point, profile))
        cells = " | ".join(
            f"TTFT {a / point.ttft_seconds - 1:+7.1%} TPOT {b / point.tpot_seconds - 1:+7.1%}"
            for a, b in told_by
        )
        print(f"prompt {prompt:5d} batch {batch:3d} tokens {output:5d}  {cells}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = os.environ.get("SERVESCOPE_DATA")
    parser.add_argument("--data", type=Path, default=Path(data) if data else None)
    parser.add_argument("--to", type=Path, help="folder to write to")
    options = parser.parse_args()
    if options.data is None:
        raise SystemExit("say where the measurements are: --data FOLDER")
    table = options.data / "splitwise_sim" / "perf_model.parquet"
    made = [
        *splitwise(table),
        *aiconfigurator(options.data / "aiconfigurator" / "silicon_sample.parquet"),
    ]
    for profile in made:
        error = profile.error
        assert error is not None
        step = " ".join(f"{value:.3g}" for value in profile.step.row())
        print(
            f"{profile.name:42s} E2E {error.median_ratio:6.1%} p99 {error.p99_ratio:6.1%}  "
            f"TTFT {error.ttft_median_ratio:6.1%} TPOT {error.tpot_median_ratio:6.1%}  "
            f"constant {error.rival_median_ratio:6.1%}  n {error.rows}  {step}"
        )
        if options.to is not None:
            profile.save(options.to / f"{slug(profile.name)}{SUFFIX}")
    against_the_cases(next(p for p in made if p.name == "llama2-70b, 4 x h100"), table)


if __name__ == "__main__":
    main()
