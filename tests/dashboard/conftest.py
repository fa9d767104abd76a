"""The fake services, for every test of the dashboard."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

FAKES = Path(__file__).parent / "fakes.py"


def load_fakes():
    """The module of fakes, loaded by its path: tests are no package."""
    name = "servescope_dashboard_fakes"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, FAKES)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def fakes():
    """The module with made-up rows."""
    return load_fakes()


@pytest.fixture
def fake(fakes):
    """Services whose state a test may change."""
    return fakes.FakeServices()
