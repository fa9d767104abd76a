"""The page of the policies tells what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.policies.registry import catalogue, defaults

PAGE = (Path(__file__).parents[3] / "docs/policies.md").read_text(encoding="utf-8")
ROWS = {line.split("`")[1]: line for line in PAGE.splitlines() if line.startswith("| `")}


@pytest.mark.parametrize("spec", catalogue(), ids=lambda spec: spec.name)
def test_every_policy_has_its_row_and_its_section(spec):
    """With its period and its knob."""
    assert f"{spec.period_seconds:g} s" in ROWS[spec.name]
    assert f"`{spec.knob}`" in ROWS[spec.name]
    headings = [line for line in PAGE.splitlines() if line.startswith("### ")]
    assert any(f"`{spec.name}`" in line for line in headings)


@pytest.mark.parametrize("spec", catalogue(), ids=lambda spec: spec.name)
def test_every_documented_parameter_is_named(spec):
    """Where it can be set."""
    known = defaults(spec.name)
    for name in spec.parameters:
        if name in known and name not in ("scaling", "load_seconds"):
            assert f"`{name}`" in PAGE, name


def test_the_results_have_their_place():
    """Which a benchmark fills."""
    assert PAGE.index("<!-- results:begin -->") < PAGE.index("<!-- results:end -->")
