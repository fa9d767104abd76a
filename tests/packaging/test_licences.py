"""Every dependency that a user gets has a licence that we chose to take."""

import re
from importlib import metadata
from pathlib import Path

import pytest

from store import toml

ROOT = Path(__file__).parents[2]
RULES = toml.loads((ROOT / "deploy" / "licences.toml").read_text("utf-8"))
ALLOWED = set(RULES["allow"])
PINS = re.findall(r"^([a-z0-9._-]+)==", (ROOT / "deploy/lock/extras.txt").read_text("utf-8"), re.M)
PACKAGES = sorted({*PINS, "torch"})
PART = re.compile(r"\(|\)|\bAND\b|\bOR\b|(?:(?!\bAND\b|\bOR\b)[^()])+")


def licence(name):
    """What a package says of itself, in SPDX where it can be told."""
    told = metadata.metadata(name)
    if told["License-Expression"]:
        return told["License-Expression"]
    classes = [one.split(" :: ")[-1] for one in told.get_all("Classifier", []) if "License" in one]
    named = [RULES["names"].get(one, one) for one in classes if one != "OSI Approved"]
    first = (told["License"] or "").strip().split("\n")[0]
    return " OR ".join(named) or RULES["names"].get(first, first)


def allowed(text):
    """Whether an SPDX expression can be met: every part of AND, one part of OR."""
    parts = [part.strip() for part in PART.findall(text) if part.strip()]
    met, left = either(parts)
    return met and not left


def either(parts):
    met, parts = both(parts)
    while parts[:1] == ["OR"]:
        other, parts = both(parts[1:])
        met = met or other
    return met, parts


def both(parts):
    met, parts = one_of(parts)
    while parts[:1] == ["AND"]:
        other, parts = one_of(parts[1:])
        met = met and other
    return met, parts


def one_of(parts):
    if parts[:1] == ["("]:
        met, parts = either(parts[1:])
        return met, parts[1:]
    return parts[:1] != [] and parts[0] in ALLOWED, parts[1:]


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("MIT", True), ("GPL-3.0-only", False), ("", False), ("MIT AND GPL-3.0-only", False),
        ("MIT OR GPL-3.0-only", True), ("(GPL-3.0-only OR MIT) AND ISC", True),
        ("Apache-2.0 WITH LLVM-exception AND MIT", True), ("ISC AND (A OR B)", False),
    ],
)  # fmt: skip
def test_expressions_are_understood(text, met):
    """AND binds closer than OR."""
    assert allowed(text) is met


@pytest.mark.parametrize("name", PACKAGES)
def test_the_licence_is_one_of_ours(name):
    """On the list, or an exception with a reason; an unknown one fails."""
    try:
        told = licence(name)
    except metadata.PackageNotFoundError:
        pytest.skip("for another system or Python: not installed here")
    if name in RULES["exceptions"]:
        assert RULES["exceptions"][name]["why"]
        assert told == RULES["exceptions"][name]["licence"]
        return
    assert allowed(told), f"{name} is under '{told}': see deploy/licences.toml"


def test_no_exception_is_left_over():
    """Each still belongs to a dependency, and is still needed."""
    for name in RULES["exceptions"]:
        assert name in PACKAGES
        assert not allowed(licence(name)), name
