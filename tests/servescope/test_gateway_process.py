"""What the process of a gateway carries: no store, no frames, no web framework."""

from __future__ import annotations

import subprocess
import sys

_ASK = """
import sys
import servescope.cli.gateway
import servescope.config
import servescope.gateway.assembly
print(*sorted({"duckdb", "polars", "fastapi", "numpy", "dash", "torch"} & sys.modules.keys()))
"""


def test_a_gateway_loads_neither_store_nor_frames() -> None:
    """They would more than half again the memory of each gateway."""
    told = subprocess.run([sys.executable, "-c", _ASK], capture_output=True, text=True, check=True)
    assert told.stdout.split() == []
