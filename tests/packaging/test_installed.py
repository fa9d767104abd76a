"""What somebody gets who installs the wheel: no checkout, another folder, the console script."""

import os
import re
import signal
import subprocess
from pathlib import Path

import httpx2
import pytest

ROOT = Path(__file__).parents[2]


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


def test_the_server_is_ready_and_ends(installed, environment, home):
    """`up` answers `/readyz` and its dashboard from the wheel, and SIGTERM ends it."""
    with subprocess.Popen(
        [installed, "up", "--listen", "127.0.0.1:0"], cwd=home, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as server:  # fmt: skip
        try:
            line = next(line for line in server.stdout if line.startswith("Open"))
            root = line.split()[1].removesuffix("/ui/")
            for path in ("/readyz", "/ui/", "/ui/assets/plotly-cartesian.min.js", "/metrics"):
                assert httpx2.get(root + path, timeout=30).status_code == 200, path
            described = httpx2.get(f"{root}/api/v1/openapi.json", timeout=30).json()
            assert described["info"]["title"] == "servescope"
        finally:
            server.send_signal(signal.SIGTERM)
    assert server.returncode == 0
