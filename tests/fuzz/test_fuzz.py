"""Hostile input for every reader of foreign bytes, a little of what `benchmarks/fuzz.py` gives."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

PLACE = Path(__file__).parents[2] / "benchmarks" / "fuzzing"


def package():
    """`benchmarks/fuzzing`, which is no part of what is installed."""
    if "fuzzing" not in sys.modules:
        found = spec_from_file_location(
            "fuzzing", PLACE / "__init__.py", submodule_search_locations=[str(PLACE)]
        )
        sys.modules["fuzzing"] = module_from_spec(found)
    from fuzzing import names, runs

    return names, runs


names, runs = package()
SLOW = {"config": 30, "server": 60, "exposition": 60, "traces": 80, "gateway-socket": 60}
USUAL = 200


@pytest.mark.parametrize("name", names.NAMES)
def test_nothing_but_documented_refusals(name):
    """No crash, and no difference to an oracle; the inputs are the same in every run."""
    told = runs.plain(
        names.load(name), SLOW.get(name, USUAL), 7, lambda watch: None, most_seconds=30.0
    )
    assert [one["text"][-800:] for one in told["failures"]] == []


def test_a_reader_that_breaks_is_found_and_its_input_made_small():
    """The harness itself: an exception that is no refusal, with the bytes that it takes."""
    from fuzzing.target import Target

    def broken(data):
        if b"9" in data:
            raise ZeroDivisionError("nine")

    target = Target("broken", "", lambda folder: [b"abc 123 def"], lambda folder, ending: broken)
    (failure,) = runs.plain(target, 300, 1, lambda watch: None)["failures"]
    assert (failure["kind"], failure["data"]) == ("ZeroDivisionError", "9")


def test_a_hang_is_found():
    """Whoever works on and on is stopped, even where every exception is swallowed."""
    from fuzzing.target import Target

    def endless(data):
        while True:
            try:
                data = bytes(reversed(data))
            except Exception:  # noqa: BLE001, S112 - as a careless reader would
                continue

    target = Target("endless", "", lambda folder: [b"abc"], lambda folder, ending: endless)
    told = runs.plain(target, 1, 1, lambda watch: None, most_seconds=0.02)
    assert {one["kind"] for one in told["failures"]} == {"Hang"}
