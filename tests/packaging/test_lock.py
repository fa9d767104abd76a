"""The locked dependencies are those of pyproject.toml, each pinned once for a Python and hashed."""

import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

from store import toml

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "deploy" / "lock"
PROJECT = toml.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
PYTHONS = ("3.11", "3.12")
LOCKS = {
    "core.txt": (),
    "container.txt": ("keda", "kubernetes", "lake", "oidc"),
    "extras.txt": tuple(EXTRAS),
}
LEFT_OUT = {"torch"}
PIN = re.compile(
    r"^(?P<pin>[a-z0-9][^\\\n]*?)\s*\\\n(?P<hashes>(?:\s+--hash=\S+(?: \\)?\n)+)", re.M
)
RENEW = "run `make lock`"


def locked(name):
    """Every pin of a lock file."""
    text = (LOCK / name).read_text("utf-8")
    found = [Requirement(match["pin"]) for match in PIN.finditer(text)]
    assert len(found) == len(re.findall(r"^[a-z0-9]", text, re.M)), "a pin without hashes"
    return found


def there(python):
    """The environment that markers are asked about: Linux."""
    return default_environment() | {
        "python_version": python, "python_full_version": f"{python}.9",
        "sys_platform": "linux", "extra": "",
    }  # fmt: skip


def versions(pins, python):
    """Package -> version, as an installer sees the file."""
    found = {}
    for pin in pins:
        if pin.marker is None or pin.marker.evaluate(there(python)):
            assert plain(pin.name) not in found, f"{pin.name} is pinned twice"
            (version,) = pin.specifier
            found[plain(pin.name)] = version.version
    return found


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def wanted(lock):
    """What pyproject.toml asks for that belongs into a lock file."""
    lines = list(PROJECT["dependencies"])
    for extra, some in EXTRAS.items():
        if extra != "dev" and extra in LOCKS[lock]:
            lines += some
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_fits_the_project(lock, python):
    """Every dependency is pinned to a release that pyproject.toml takes."""
    pinned = versions(locked(lock), python)
    for one in wanted(lock):
        if one.name in LEFT_OUT:
            assert one.name not in pinned
            continue
        assert plain(one.name) in pinned, f"{one.name} is not in {lock}: {RENEW}"
        version = pinned[plain(one.name)]
        assert one.specifier.contains(version, prereleases=True), f"{one} is {version}: {RENEW}"


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_is_whole(lock):
    """What locked packages need, as far as they are installed here, is locked too.

    pip refuses to install the file otherwise: with hashes it takes nothing that is not in it.
    """
    pinned = versions(locked(lock), "3.11")
    missing = set()
    for name, version in pinned.items():
        try:
            package = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        if package.version == version:
            missing |= {one.name for one in needs(package) if plain(one.name) not in pinned}
    assert missing - LEFT_OUT == set()


def needs(package):
    every = (Requirement(line) for line in package.requires or ())
    return [one for one in every if one.marker is None or one.marker.evaluate(there("3.11"))]


@pytest.mark.parametrize("lock", ["core.txt", "container.txt"])
def test_all_files_pin_the_same_releases(lock):
    """Adding an extra to an installed server changes nothing that was there."""
    fewer, extras = versions(locked(lock), "3.11"), versions(locked("extras.txt"), "3.11")
    assert {name: extras.get(name) for name in fewer} == fewer


def test_the_image_has_what_its_manifests_need():
    """Discovery by Kubernetes, a door for KEDA, a store for several, signing in at a provider."""
    text = (ROOT / "deploy" / "container" / "Containerfile").read_text("utf-8")
    (lock,) = re.findall(r"^ARG LOCK=(\S+)", text, re.M)
    assert {"keda", "kubernetes", "lake", "oidc"} <= set(LOCKS[f"{lock}.txt"])
