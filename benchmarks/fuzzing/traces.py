"""Trace files of every format: recognised, planned, and some of them loaded into a store."""

from __future__ import annotations

import gzip
import io
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import orjson
import polars as pl
import pyarrow as pa

from collector.starts.logs import read_log
from collector.traces import plan
from fuzzing.target import Take, Target
from store import bulk
from store.clock import WallClock
from store.database import Database
from store.errors import InputError, StoreDamaged, StoreError
from store.settings import StoreSettings

_LOADED_EACH = 20
_AT = datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)
_NAMES = ("chunk-7-trace.csv", "trace.csv", "trace.jsonl", "FCFS", "export.parquet", "result.json")
_AZURE = b"""TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03.9799600,4808,10
2023-11-16 18:17:04.0319600,3180,8
"""
_BURST = b"""Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,GPT-4,1087,0,1087,API log
"""
_MOONCAKE = b"""{"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1, 2]}
{"timestamp": 3500, "input_length": 512, "output_length": 5, "hash_ids": [0, 7]}
"""
_SERVEGEN = b"0,0.5,1.2,Gamma,0.7,2.0\n600,0.25,0.9,Weibull,0.5,1.0\n1200,0,0,,,\n"
_MAPPED = b"when;in;out\n1700000000.5;12;7\n1700000001;3;x\n"
_VLLM = orjson.dumps(
    {
        "date": "20260131-120000",
        "backend": "vllm",
        "model_id": "m",
        "tokenizer_id": "m",
        "num_prompts": 2,
        "input_lens": [3, 4],
        "output_lens": [5, 6],
        "ttfts": [0.1, 0.2],
        "itls": [[0.01], [0.02]],
        "start_times": [0.0, 1.0],
        "errors": ["", ""],
    }
)
_LOG = b"""INFO 01-31 12:00:01 [api_server.py:1] vLLM API server version 0.32.0
INFO 01-31 12:00:02 [core.py:1] Initializing a V1 LLM engine
INFO 01-31 12:00:09 [gpu_model_runner.py:1] Model loading took 1.2 GiB and 3.4 seconds
INFO:     Application startup complete.
"""


def _seeds(folder: Path) -> Sequence[bytes]:
    del folder
    parquet = io.BytesIO()
    pl.DataFrame(
        {"source": ["a"], "arrived_at": [_AT], "status": ["ok"], "request_key": [7]}
    ).write_parquet(parquet)
    zstd = pa.compress(_AZURE, codec="zstd", asbytes=True)
    told = {0: _SERVEGEN, 1: _AZURE, 2: _MOONCAKE, 4: parquet.getvalue(), 5: _VLLM}
    more = [b"1" + one for one in (_BURST, b"# a comment\n" + _BURST, zstd, gzip.compress(_AZURE))]
    return [*(b"%d" % at + one for at, one in told.items()), *more, b"m" + _MAPPED, b"L" + _LOG]


def _made(folder: Path, ending: ExitStack) -> Take:
    database = ending.enter_context(
        Database.open(None, StoreSettings(), WallClock(), allow_files=True)
    )
    count = 0

    def take(data: bytes) -> None:
        nonlocal count
        count += 1
        if data[:1] == b"L":
            _log(data[1:])
            return
        path = folder / _NAMES[(data[0] if data else 0) % len(_NAMES)]
        path.write_bytes(data[1:])
        mapping = {"arrived_at": "when:s", "input_tokens": "in"} if data[:1] == b"m" else None
        try:
            loads = plan.plan([path], mapping=mapping, rejects_file=folder / "rejects.csv")
            if count % _LOADED_EACH == 0:
                for load in loads:
                    bulk.load(database.writer, load)
        except InputError:
            return
        except StoreError as error:
            # The load is given up whole; only a store that is damaged would be worse.
            if isinstance(error, StoreDamaged):
                raise

    return take


def _log(data: bytes) -> None:
    lines = data.decode("utf-8", "replace").splitlines()
    try:
        read_log(lines, "gpu-1", datetime(2026, 1, 31, 13, tzinfo=UTC))
    except InputError:
        return


TRACES = Target(
    "traces",
    "trace files of every format, engine logs; each twentieth one is loaded",
    _seeds,
    _made,
    words=(
        b"TIMESTAMP,ContextTokens,GeneratedTokens\n",
        b"2023-11-16 18:17:03.9799600",
        b",",
        b"\n",
        b'"hash_ids": [',
        b"PAR1",
        b"\x1f\x8b",
        b"\x28\xb5\x2f\xfd",
        b'"',
        b"\r\n",
        b"-0",
        b"1e18",
    ),
)
