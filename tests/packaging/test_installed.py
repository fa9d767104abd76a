"""What somebody gets who installs the wheel: no checkout, another folder, the console script."""

import os
import re
import signal
import subprocess
from pathlib import Path

import httpx2
import pytest

ROOT = Path(__file__).parents[2]
PLACES = ("/etc/servescope", "/var/lib/servescope", "/var/cache/servescope")
POD_IP = "127.0.0.9"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def environment(home):
    """Of a user without a checkout, whose home is empty."""
    kept = {"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": str(home)}
    return kept | {name: os.environ[name] for name in ("TMPDIR",) if name in os.environ}


@pytest.fixture
def command(installed, environment, home):
    def run(*words):
        done = subprocess.run(
            [installed, *words], cwd=home, env=environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_program_is_that_of_the_wheel(installed, environment, home):
    """The checkout is out of reach: no package comes from it."""
    code = "import sys, servescope, store\nprint(servescope.__file__, store.__file__, *sys.path)"
    done = subprocess.run(
        [installed.parent / "python", "-c", code], cwd=home, env=environment,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    ours, theirs, *path = done.stdout.split()
    assert Path(ours).is_relative_to(installed.parents[1])
    assert Path(theirs).is_relative_to(installed.parents[1])
    assert str(ROOT) not in path


def test_version_and_help(command):
    """In one line, and all commands."""
    assert re.fullmatch(r"servescope \d+\.\d+\.\d+\n", command("--version"))
    assert "Usage: servescope" in command("--help")


def test_the_first_command_of_the_readme(command):
    """The built-in trace is loaded and told about."""
    shown = command("demo", "--no-serve", "--ephemeral")
    assert "28,185 requests" in shown


@pytest.fixture
def pod(installed, image, tmp_path):
    """The process of the pod: arguments, environment and configuration of image and manifest.

    Gives a way to ask it by the address of the pod.
    """
    (container,) = image.pod()["containers"]
    moved = {place: tmp_path / place.strip("/").replace("/", "-") for place in PLACES}
    for folder in moved.values():
        folder.mkdir()
    for name, text in image.objects("ConfigMap")[0]["data"].items():
        (moved["/etc/servescope"] / name).write_text(text)
    given = image.environment() | {one["name"]: one.get("value", "") for one in container["env"]}
    given |= {"SERVESCOPE_SERVER__LISTEN": "0.0.0.0:0", "PATH": os.defpath}
    for name, value in given.items():
        for place, folder in moved.items():
            value = value.replace(place, str(folder))
        given[name] = value.replace("$(POD_IP)", POD_IP)
    with subprocess.Popen(
        [installed, *container["args"]], env=given, cwd=moved["/etc/servescope"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        line = next(line for line in process.stdout if line.startswith("Open"))
        base = f"http://{POD_IP}:{line.rsplit(':', 1)[1].split('/')[0]}"
        yield lambda path, **headers: httpx2.get(base + path, headers=headers, timeout=30)
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 0


def test_the_server_of_a_pod_answers_its_probes_and_no_stranger(pod, image):
    """The wheel's own server, ready and ended; the kubelet and Prometheus ask by the address."""
    (container,) = image.pod()["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container[probe]["httpGet"]
        headers = {one["name"]: one["value"] for one in asked["httpHeaders"]}
        assert pod(asked["path"], **headers).status_code == 200, probe
    assert pod("/metrics").status_code == 200
    assert pod("/api/v1/views/admin").status_code == 401
    assert pod("/metrics", Host="evil.example").status_code == 400
