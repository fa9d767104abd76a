"""Wheel and sdist hold exactly what they should, and one gives the other."""

import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from servescope.cli import doctor_extras
from store import toml

PACKAGES = ("store", "collector", "analysis", "predictors", "dashboard", "controller", "servescope")


def files(wheel):
    """Names and bytes."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def inside(built):
    return files(built.wheel)


@pytest.fixture(scope="module")
def project(tree):
    return toml.loads((tree / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.fixture(scope="module")
def told(inside):
    """The metadata, as installers read it."""
    (name,) = (name for name in inside if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(inside[name].decode())


def test_the_wheel_holds_our_packages_and_nothing_else(tree, inside):
    """Every file of the seven packages, byte by byte; no tests, benchmarks or docs."""
    wanted = {
        str(path.relative_to(tree)): path.read_bytes()
        for package in PACKAGES
        for path in (tree / package).rglob("*")
        if path.is_file()
    }
    found = {name: data for name, data in inside.items() if ".dist-info/" not in name}
    assert found.keys() == wanted.keys()
    assert found == wanted


@pytest.mark.parametrize(
    "needed",
    [
        "store/sql/0001_telemetry_and_requests.sql",
        "dashboard/assets/plotly-cartesian.min.js",
        "analysis/reports/templates/*",
        "predictors/degradation/sample/*.parquet",
        "servescope/data/AzureLLMInferenceTrace_conv.csv.gz",
        "servescope/data/AzureLLMInferenceTrace_code.csv.gz",
        "servescope/data/ATTRIBUTION.md",
        "store/py.typed",
    ],
)
def test_the_wheel_holds_what_runs(inside, needed):
    """Migrations, assets, templates, samples, the built-in trace and the credit it asks for."""
    assert [name for name in inside if Path(name).match(needed)]


def test_the_wheel_of_the_sdist_is_that_of_the_tree(built):
    """Byte by byte, the list of files with their hashes included."""
    assert files(built.of_sdist) == files(built.wheel)


def test_a_wheel_is_the_same_each_time(built):
    """The file itself: whoever builds it again can compare its hash with the published one."""
    assert built.of_sdist.read_bytes() == built.wheel.read_bytes()


def test_the_sdist_is_all_that_is_needed_to_work_on_it(built):
    """Tests, docs and the licence; what continuous integration keeps for itself stays out."""
    with tarfile.open(built.sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    tops = {name.split("/")[0] for name in names}
    assert {"pyproject.toml", "LICENSE", "README.md", "Makefile", "tests", "docs", "deploy"} <= tops
    assert ".ci" not in tops
    assert not [name for name in names if name.startswith("benchmarks/results")]
    assert not [name for name in names if name.endswith((".pyc", ".duckdb", ".whl"))]


def test_the_metadata_says_what_the_project_says(told, project):
    """Version, Python, licence, extras."""
    assert told["Version"] == project["version"]
    assert told["Requires-Python"] == project["requires-python"]
    assert told["License-Expression"] == project["license"]
    assert set(told.get_all("Provides-Extra")) == set(project["optional-dependencies"])
    assert told.get_all("License-File") == ["LICENSE"]


def test_doctor_reads_the_extras_out_of_it(told, project):
    """All but the developers' own."""
    found = doctor_extras.found(told.get_all("Requires-Dist"))
    assert {extra.name for extra in found} == project["optional-dependencies"].keys() - {"dev"}


def test_the_name_of_every_python_that_is_promised_is_there(project):
    """From the oldest that `requires-python` takes."""
    oldest = project["requires-python"].removeprefix(">=")
    versions = [
        line.rpartition(":: ")[2]
        for line in project["classifiers"]
        if line.startswith("Programming Language :: Python :: 3.")
    ]
    assert versions
    assert versions[0] == oldest
