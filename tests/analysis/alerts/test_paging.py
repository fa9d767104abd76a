"""A full outage pages within five minutes, and noise that just meets the objective never does."""

import importlib.util
import sys
from pathlib import Path

import pytest

PLACE = Path(__file__).parents[3] / "benchmarks" / "paging.py"


@pytest.fixture(scope="module")
def paging():
    spec = importlib.util.spec_from_file_location("servescope_paging", PLACE)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("rate", "target", "share"), [
    (10.0, 0.999, 1.0), (10.0, 0.95, 1.0), (0.1, 0.99, 1.0), (4.0, 0.99, 0.25),
])  # fmt: skip
def test_an_outage_pages_within_five_minutes(paging, rate, target, share):
    """Whatever the target, at night, and of one of several models."""
    found = [paging.outage(rate, target, seed, share) for seed in range(2)]
    assert all(run["servescope"] < 300 for run in found)


def test_burn_alone_would_be_too_late(paging):
    """That is why there is a rule for outages: one hour's burn takes 43 minutes at 95 %."""
    assert paging.outage(10.0, 0.95, 1)["workbook, plain"] > 1800


def test_noise_that_just_meets_the_objective_pages_nobody(paging):
    """With clusters of errors and empty nights, where a single window pages."""
    found = paging.false_pages(0.999, 10, 0)
    assert found["servescope"] == 0
    assert found["burn 1 h > 14.4"] > 0


def test_a_slow_burn_is_a_ticket(paging):
    """And no page."""
    run = paging.slow_burn(4.0, 0.99, 1)
    assert run["page"] is None
    assert run["ticket"] < 24
