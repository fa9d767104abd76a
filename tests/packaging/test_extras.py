"""Extras: each is asked for by name where it is missing, and `servescope doctor` names it."""

import re
from pathlib import Path

import pytest

from servescope.cli import doctor_extras
from servescope.config import load
from store import toml

ROOT = Path(__file__).parents[2]
PACKAGES = ("store", "collector", "analysis", "predictors", "dashboard", "controller", "servescope")
HINT = re.compile(r"servescope\[([a-z-]+)\]")
EXTRAS = toml.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
    "optional-dependencies"
]


def hints():
    """Extra -> files whose messages ask for it."""
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for name in HINT.findall(path.read_text("utf-8")):
                found.setdefault(name, set()).add(path.name)
    return found


def test_every_message_asks_for_an_extra_that_there_is():
    """A hint that installs nothing would send people in circles."""
    assert hints().keys() <= EXTRAS.keys()


def test_every_extra_is_asked_for_where_it_is_missing():
    """None has to be known beforehand."""
    assert EXTRAS.keys() - {"dev"} <= hints().keys()


def test_every_extra_is_told_about():
    """What it is for stands in the page about installing; a benchmark tries what it promises."""
    page = (ROOT / "docs" / "operating" / "install.md").read_text("utf-8")
    tried = (ROOT / "benchmarks" / "cold_install.py").read_text("utf-8")
    for extra in EXTRAS.keys() - {"dev"}:
        assert f"`{extra}`" in page
        assert f'"{extra}": "' in tried


def test_tests_have_every_extra():
    """`dev` holds what the extras hold, in the same versions."""
    dev = set(EXTRAS["dev"])
    missing = {name: set(lines) - dev for name, lines in EXTRAS.items() if set(lines) - dev}
    assert missing == {}


def test_an_extra_that_is_half_there_names_what_is_missing():
    """A package of it that is not installed, not the extra as such."""
    lines = ["grpcio>=1.70; extra == 'keda'", "no-such-package>=1; extra == 'keda'",
             "pytest>=9; extra == 'dev'", "numpy>=2.0"]  # fmt: skip
    assert doctor_extras.found(lines) == (doctor_extras.Extra("keda", ("no-such-package",)),)


@pytest.mark.parametrize(
    ("settings", "extra"),
    [
        ({"discovery.sources": ["kubernetes:pod/llm"]}, "kubernetes"),
        ({"store.lake": "postgresql://db/fleet", "store.lake_data": "/data"}, "lake"),
        ({"controller.pool": ({"name": "chat", "match": {"model": "m"},
                               "actuator": {"kind": "keda_external"}},)}, "keda"),
    ],
)  # fmt: skip
def test_what_the_settings_need_is_an_error_where_it_is_missing(
    settings, extra, monkeypatch, tmp_path
):
    """With the command that installs it; what is not asked for is a note."""
    config = load(None, settings, {"XDG_CONFIG_HOME": str(tmp_path)})
    missing = tuple(
        doctor_extras.Extra(name, ("thing",)) for name in ("keda", "kubernetes", "lake", "pdf")
    )
    monkeypatch.setattr(doctor_extras, "found", lambda: missing)
    levels = {line.level: line for line in doctor_extras.lines(config)}
    assert extra not in levels["note"].text
    assert "pdf" in levels["note"].text
    assert levels["fail"].fix == f"pip install 'servescope[{extra}]'"
