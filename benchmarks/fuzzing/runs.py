"""One run of one target: inputs from the mutator, or from atheris where it is installed."""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

from fuzzing.mutate import MOST_BYTES, Mutator
from fuzzing.target import Target
from fuzzing.watch import MOST_SECONDS, Watch, arm, disarm, resident_bytes

_MOST_HEAP_BYTES = 6 << 30
_CALIBRATED_RATIO = 0.2
"""Of the inputs; caches are full by then, and what grows on is growth."""
CODE = ("store", "collector", "analysis", "controller", "servescope", "google.protobuf")


def plain(
    target: Target,
    inputs: int,
    seed: int,
    say: Callable[[Watch], None],
    most_seconds: float = MOST_SECONDS,
) -> dict[str, Any]:
    """The same inputs for the same seed; in this process."""
    before = arm()
    with tempfile.TemporaryDirectory() as place, ExitStack() as ending:
        ending.callback(disarm, before)
        folder = Path(place)
        random = Random(f"{target.name} {seed}")
        seeds = target.seeds(folder)
        mutator = Mutator(seeds, target.words)
        watch = Watch(target.made(folder, ending), most_seconds)
        first = 0
        for number in range(inputs):
            data = seeds[number] if number < len(seeds) else mutator.fresh(random)
            watch.give(data)
            if number == int(inputs * _CALIBRATED_RATIO):
                first = resident_bytes()
            if number % 1_000 == 999:
                say(watch)
        watch.minimised()
        return _document(target, watch, first, "mutator")


def guided(
    load: Callable[[], Target], inputs: int, seed: int, say: Callable[[Watch], None], out: Path
) -> None:
    """The same with atheris, which follows the branches that inputs take; ends this process.

    Half of the inputs are libFuzzer's own mutations of what it found, half are ours of that.
    """
    import atheris

    limit_memory()
    with atheris.instrument_imports(include=list(CODE)):
        target = load()
    place = tempfile.TemporaryDirectory()
    folder = Path(place.name)
    corpus = folder / "corpus"
    corpus.mkdir()
    seeds = target.seeds(folder)
    for number, data in enumerate(seeds):
        (corpus / str(number)).write_bytes(data)
    watch = Watch(target.made(folder, ExitStack()))
    mutator = Mutator(seeds, target.words)
    arm()
    first = [0]

    def take(data: bytes) -> None:
        watch.give(data)
        if watch.inputs == int(inputs * _CALIBRATED_RATIO):
            first[0] = resident_bytes()
        if watch.inputs % 1_000 == 0:
            say(watch)
        if watch.inputs >= inputs:
            watch.minimised()
            out.write_text(json.dumps(_document(target, watch, first[0], "atheris")), "utf-8")
            sys.stdout.flush()
            place.cleanup()
            os._exit(0)  # libFuzzer would go on

    def mutated(data: bytes, most: int, number: int) -> bytes:
        random = Random(number)
        if random.random() < 0.5:
            return bytes(atheris.Mutate(data, most))
        return mutator.changed(data, random)[:most]

    flags = [
        f"-seed={seed + 1}", f"-max_len={MOST_BYTES}", "-timeout=0", "-rss_limit_mb=0",
        "-handle_int=0", "-print_final_stats=0", "-verbosity=0", f"-artifact_prefix={folder}/",
    ]  # fmt: skip
    atheris.Setup(["fuzz", *flags, str(corpus)], take, custom_mutator=mutated)
    atheris.Fuzz()


def limit_memory() -> None:
    """More than that is a failure of one input, not the end of the machine."""
    resource.setrlimit(resource.RLIMIT_DATA, (_MOST_HEAP_BYTES, _MOST_HEAP_BYTES))


def _document(target: Target, watch: Watch, first_bytes: int, engine: str) -> dict[str, Any]:
    last = resident_bytes()
    growth = round(last / first_bytes - 1, 3) if first_bytes else None
    return {
        "target": target.name, "engine": engine, **watch.told(),
        "resident_first_bytes": first_bytes, "resident_last_bytes": last, "growth_ratio": growth,
    }  # fmt: skip
