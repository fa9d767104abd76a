"""A clean copy of the sources, what is built from it, and the wheel installed without them."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CONTAINER = ROOT / "deploy" / "container" / "Containerfile"
MANIFEST = ROOT / "deploy" / "kubernetes" / "server.yaml"


class Built(NamedTuple):
    """What a build gives."""

    sdist: Path
    wheel: Path
    of_sdist: Path


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    """What a clean clone holds: nothing that git ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("no git checkout here: what a clean clone holds is not known")
    folder = tmp_path_factory.mktemp("clone")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def built(tree, tmp_path_factory):
    """Sdist and wheel of the tree, and the wheel that the sdist gives."""
    folder = tmp_path_factory.mktemp("dist")
    build(tree, folder, "sdist", "wheel")
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    build(unpacked, folder / "again", "wheel")
    (wheel,), (of_sdist,) = folder.glob("*.whl"), (folder / "again").glob("*.whl")
    return Built(sdist, wheel, of_sdist)


def build(source, folder, *targets):
    """Runs the build backend itself: `python -m build` would fetch it from an index."""
    wanted = [word for target in targets for word in ("--target", target)]
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder), *wanted]
    subprocess.run(command, cwd=source, env=outside(), check=True, capture_output=True)


def outside():
    """The environment of somebody who has no checkout."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@pytest.fixture(scope="session")
def installed(built, tmp_path_factory):
    """The console script of a fresh environment that has the wheel and our dependencies alone.

    The dependencies are those of this interpreter, by a line in a .pth file. Such a line is not
    followed further, so that the editable install beside them stays out of reach.
    """
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    (site,) = (folder / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps",
               "--no-index", "--no-compile", "--ignore-installed", built.wheel]  # fmt: skip
    subprocess.run(command, env=outside(), check=True, capture_output=True)
    return folder / "bin" / "servescope"


class Image:
    """The container file and the pod that it runs in, as they are written."""

    def steps(self):
        """Instruction and rest, in order; lines that go on are one."""
        text = re.sub(r"^\s*#.*\n", "", CONTAINER.read_text("utf-8"), flags=re.M)
        lines = text.replace("\\\n", " ").splitlines()
        return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]

    def of(self, kind):
        return [rest for instruction, rest in self.steps() if instruction == kind]

    def environment(self):
        """What the image sets."""
        pairs = [pair for line in self.of("ENV")[1:] for pair in shlex.split(line)]
        return dict(pair.split("=", 1) for pair in pairs)

    def objects(self, kind):
        every = yaml.safe_load_all(MANIFEST.read_text("utf-8"))
        return [one for one in every if one["kind"] == kind]

    def pod(self):
        (one,) = self.objects("StatefulSet")
        return one["spec"]["template"]["spec"]


@pytest.fixture(scope="session")
def image():
    return Image()
