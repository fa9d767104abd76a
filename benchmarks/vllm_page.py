"""Pages of a vLLM with 540 samples, still or moving, out of the captured one in tests/data.

The captured page has 430 samples of one engine; families of a second data-parallel engine make it
540, as on a page of vLLM with two of them. Moving pages are those of an engine under load: from
page to page every counter grows and every histogram gets observations in one of its buckets.
"""

from __future__ import annotations

import itertools
from pathlib import Path

CAPTURED = Path(__file__).parents[1] / "tests" / "data" / "pages" / "vllm_0.32.0.txt"
SAMPLES = 540
_MOVING = ("_total", "_bucket", "_count", "_sum")


def page(samples: int = SAMPLES) -> str:
    """The captured page with as much of a second engine as makes `samples`."""
    lines = CAPTURED.read_text("utf-8").splitlines()
    missing = samples - sum(not line.startswith("#") for line in lines)
    families: dict[str, list[int]] = {}
    for place, line in enumerate(lines):
        if 'engine="0"' in line:
            families.setdefault(_family(line), []).append(place)
    inserted: dict[int, list[str]] = {}
    # Large families first, then the single samples fill what is left.
    for places in sorted(families.values(), key=len, reverse=True):
        if len(places) <= missing:
            missing -= len(places)
            copies = [lines[place].replace('engine="0"', 'engine="1"') for place in places]
            inserted[places[-1]] = copies
    if missing:
        raise SystemExit(f"cannot make a page of {samples} samples from {CAPTURED.name}")
    out = []
    for place, line in enumerate(lines):
        out.append(line)
        out += inserted.get(place, [])
    return "\n".join(out) + "\n"


def moving(count: int, samples: int = SAMPLES) -> list[bytes]:
    """`count` pages as they would be scraped one after the other from an engine under load."""
    lines = page(samples).splitlines()
    return ["\n".join(_moved(lines, step)).encode() + b"\n" for step in range(count)]


def _moved(lines: list[str], step: int) -> list[str]:
    out = []
    for _, group in itertools.groupby(lines, key=_bucket_family):
        for place, line in enumerate(group):
            name = line.partition("{")[0].partition(" ")[0]
            if line.startswith("#") or not name.endswith(_MOVING):
                out.append(line)
                continue
            key, _, value = line.rpartition(" ")
            # Observations fall into the third bucket: the first two stand still.
            grown = 0 if name.endswith("_bucket") and place < 2 else step * 7
            out.append(f"{key} {float(value) + grown}")
    return out


def _bucket_family(line: str) -> str:
    return line.partition(",le=")[0] if "_bucket{" in line else line


def _family(line: str) -> str:
    name = line.partition("{")[0]
    for suffix in ("_bucket", "_count", "_sum", "_created", "_total"):
        name = name.removesuffix(suffix)
    return name
