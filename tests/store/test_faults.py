"""What happens when the machine lets the store down."""

import json
import subprocess
import sys

import pytest

from store.clock import WallClock
from store.database import Database
from store.settings import StoreSettings

# The child may write files of at most 6 MB, as on a disk that fills up. It writes until it is
# refused, then tells what it had acknowledged and what it says from then on.
CHILD = """
import json, resource, signal
from datetime import datetime, timedelta
from pathlib import Path
import polars as pl
from store.clock import WallClock
from store.database import Database
from store.errors import StoreError
from store.settings import StoreSettings
database = Database.open(Path({path!r}), StoreSettings(), WallClock())
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (6_000_000, 6_000_000))
acknowledged, told = 0, []
for number in range(2000):
    frame = pl.DataFrame({{
        "request_id": [f"{{number}}-{{i}}" for i in range(2000)],
        "arrived_at": [
            datetime(2026, 1, 1) + timedelta(microseconds=number * i) for i in range(2000)
        ],
        "status": ["ok"] * 2000,
        "e2e_seconds": [(number * 7919 + i * i) % 10007 / 7 for i in range(2000)],
    }})
    try:
        acknowledged += database.writer.append("request", frame).result()
    except StoreError as error:
        told.append(str(error))
        if len(told) == 3:
            break
print(json.dumps({{"acknowledged": acknowledged, "told": told,
                  "stopped_by": database.writer.stats().stopped_by}}), flush=True)
database.close()
"""


@pytest.mark.slow
def test_a_full_disk_loses_nothing_that_was_acknowledged(tmp_path):
    """Writing stops with one clear line; after a restart every acknowledged row is there."""
    path = tmp_path / "a.duckdb"
    child = subprocess.run(
        [sys.executable, "-c", CHILD.format(path=str(path))],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    found = json.loads(child.stdout)
    assert found["acknowledged"] > 0
    assert len(found["told"]) == 3
    assert all("\n" not in line for line in found["told"])
    assert all("without a restart" in line or "opened again" in line for line in found["told"])
    with Database.open(path, StoreSettings(), WallClock()) as database:
        assert database.reader.scalar("SELECT count(*) FROM request") == found["acknowledged"]
