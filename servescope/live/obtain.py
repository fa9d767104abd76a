"""Finding llama-server, or building it from the source package of llama-cpp-python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from store.errors import ConfigError

VERSION = "0.3.36"
"""Release of llama-cpp-python whose vendored llama.cpp is built."""
BINARY = "SERVESCOPE_LLAMA_SERVER"
"""Environment variable: path of a llama-server to use."""
_FLAGS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",
    "-DLLAMA_OPENSSL=OFF",
)
_TOOLS = ("cmake", "c++")


def cache_folder() -> Path:
    """Where engines and models are kept: `$XDG_CACHE_HOME/servescope`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "servescope"


def find() -> Path | None:
    """The named one, the one on the path, or the one that was built; None when there is none.

    Raises:
        ConfigError: the variable names something that cannot be run.
    """
    named = os.environ.get(BINARY)
    if named:
        if not os.access(named, os.X_OK):
            raise ConfigError(f"{BINARY} cannot be run", where=named, hint="name a llama-server")
        return Path(named)
    on_path = shutil.which("llama-server")
    if on_path:
        return Path(on_path)
    built = _built()
    return built if built.exists() else None


def build(say: Callable[[str], None]) -> Path:
    """Build it in the cache folder: some minutes, once.

    Args:
        say: told what is being done, one line a step.

    Raises:
        ConfigError: a tool is missing, or a step failed.
    """
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise ConfigError(
            f"{', '.join(missing)} is needed to build llama-server",
            hint=f"apt-get install cmake g++, or set {BINARY} to a llama-server you have",
        )
    sources = cache_folder() / "src"
    sources.mkdir(parents=True, exist_ok=True)
    say(f"fetching llama-cpp-python {VERSION} (77 MB) from the package index")
    _run([*_pip(), "download", "--no-deps", "--no-binary", "llama-cpp-python", "-d", str(sources),
          f"llama-cpp-python=={VERSION}"])  # fmt: skip
    name = f"llama_cpp_python-{VERSION}"
    with tarfile.open(sources / f"{name}.tar.gz") as archive:
        archive.extractall(sources, filter="data")
    say(f"building llama-server: about {9 // (os.cpu_count() or 1) + 1} minutes, once")
    tree, target = sources / name / "vendor" / "llama.cpp", _built().parents[1]
    _run(["cmake", "-S", str(tree), "-B", str(target), *_FLAGS])
    _run(["cmake", "--build", str(target), "--target", "llama-server", f"-j{os.cpu_count() or 1}"])
    return _built()


def _built() -> Path:
    return cache_folder() / f"llama-{VERSION}" / "bin" / "llama-server"


def _pip() -> list[str]:
    here = [sys.executable, "-m", "pip"]
    if find_spec("pip") is not None:
        return here
    for name in ("pip3", "pip"):
        found = shutil.which(name)
        if found:
            return [found]
    raise ConfigError(
        "pip is needed to fetch the sources of llama-server",
        hint=f"install pip, or set {BINARY} to a llama-server you have",
    )


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(  # noqa: S603 - commands of this file
        command, capture_output=True, text=True, check=False
    )
    if done.returncode:
        told = (done.stderr or done.stdout).strip().splitlines()
        raise ConfigError(
            f"`{' '.join(command[:3])} …` failed: {told[-1] if told else 'no message'}",
            hint=f"run it by hand to see all of it, or set {BINARY} to a llama-server you have",
        )


if __name__ == "__main__":
    print(find() or build(print))  # noqa: T201 - a command
