"""How long until servescope runs, from nothing: install the wheel with cold caches, then start.

Each installer gets a fresh environment and no cache; what it downloads comes from the index that
pip is configured for. Then each extra, on top of the wheel, and one thing that it promises.

    python benchmarks/cold_install.py [--installer pip|uv] [--extra NAME ...] [--ready 5]
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx2

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
PROMISES = {
    "keda": "import grpc.aio",
    "lake": "import duckdb_extension_ducklake, duckdb_extension_httpfs,"
    " duckdb_extension_postgres_scanner",
    "kubernetes": "from kubernetes import client; client.CoreV1Api",
    "pdf": "from dashboard.report.pdf import weasyprint; assert weasyprint()",
    "report": "import matplotlib.pyplot",
    "live": "import gguf",
    "oidc": "import authlib",
    "predict": "import torch, sklearn, crepes, river, statsforecast",
    "tui": "import servescope.terminal.app",
    "tune": "import optuna",
}


def main() -> None:
    """Print one line a step."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--installer", action="append", choices=("pip", "uv"))
    asked.add_argument("--extra", action="append", choices=sorted(PROMISES), default=[])
    asked.add_argument("--ready", type=int, default=5, help="starts of the server")
    options = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheel = built(Path(folder))
        for installer in options.installer or ("pip", "uv"):
            if shutil.which(installer) is None and installer == "uv":
                print("uv      not here: pip install uv")
                continue
            place = Path(folder) / installer
            install(installer, place, wheel, "")
            ready(place, options.ready)
            for extra in options.extra:
                install(installer, place, wheel, extra)
                run([place / "bin" / "python", "-c", PROMISES[extra]])
                print(f"        extra {extra} does what it promises: {PROMISES[extra]}")


def built(folder: Path) -> Path:
    """The wheel of this tree."""
    run([sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder])
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(installer: str, place: Path, wheel: Path, extra: str) -> None:
    """Into an environment that is made when it is not there, and say what it took."""
    begun, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    what = f"{wheel}[{extra}]" if extra else str(wheel)
    python = place / "bin" / "python"
    if installer == "uv":
        if not place.exists():
            run(["uv", "venv", "--quiet", "--python", sys.executable, place])
        run(["uv", "pip", "install", "--quiet", "--no-cache", "--compile-bytecode",
             "--python", python, what])  # fmt: skip
    else:
        if not place.exists():
            run([sys.executable, "-m", "venv", place])
        run([python, "-m", "pip", "install", "--quiet", "--no-cache-dir", what])
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    print(
        f"{installer:7} {extra or 'core':10} {time.perf_counter() - begun:6.1f} s, "
        f"{processor:6.1f} s of processor, {size / 1e6:.0f} MB on disk",
        flush=True,
    )


def ready(place: Path, starts: int) -> None:
    """From the start of the process to the first good answer of /readyz, fresh store each time."""
    found = [one_start(place) for _ in range(starts)]
    told = ", ".join(f"{wall:.2f} ({processor:.2f})" for wall, processor in sorted(found))
    print(f"        ready after seconds (of processor): {told}", flush=True)


def one_start(place: Path) -> tuple[float, float]:
    """Seconds on the wall and of processor."""
    with tempfile.TemporaryDirectory() as home:
        begun = time.perf_counter()
        server = subprocess.Popen(
            [place / "bin" / "servescope", "up", "--listen", "127.0.0.1:0"],
            cwd=home, env=ENVIRONMENT | {"HOME": home}, stdout=subprocess.PIPE, text=True,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert server.stdout is not None
        try:
            line = next(line for line in server.stdout if line.startswith("Open"))
            assert httpx2.get(line.split()[1].replace("/ui/", "/readyz")).status_code == 200
            wall = time.perf_counter() - begun
            ticks = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
            return wall, sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()


def run(command: list[object]) -> None:
    """One step; its words are shown when it fails."""
    done = subprocess.run(
        [str(word) for word in command], cwd=tempfile.gettempdir() if command[0] != sys.executable
        else ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{command}: {done.stderr[-2000:]}")


if __name__ == "__main__":
    main()
