"""The wheel holds exactly our packages and everything they need at run time."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"store", "collector", "analysis", "predictors", "dashboard", "controller", "servescope"}


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """The file names inside a freshly built wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_holds_our_packages_and_nothing_else(names):
    """No tests, benchmarks or docs are installed into the user's environment."""
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES


@pytest.mark.parametrize(
    "needed",
    [
        "store/sql/0001_telemetry_and_requests.sql",
        "dashboard/assets/plotly-cartesian.min.js",
        "servescope/data/AzureLLMInferenceTrace_conv.csv.gz",
        "servescope/data/AzureLLMInferenceTrace_code.csv.gz",
        "store/py.typed",
    ],
)
def test_the_wheel_holds_what_runs(names, needed):
    """Migrations, assets and the built-in trace come along."""
    assert needed in names


def test_the_trace_comes_with_its_attribution(names):
    """CC-BY asks for credit; the licence of the project is there as well."""
    assert any(name.startswith("servescope/data/ATTRIBUTION") for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
