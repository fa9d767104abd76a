"""Every engine that servescope can read. Add a line here when you add a table."""

from __future__ import annotations

from collector.engines.adapter import Engine
from collector.engines.llama_cpp import LLAMA_CPP
from collector.engines.lmdeploy import LMDEPLOY
from collector.engines.ray_serve import RAY_SERVE
from collector.engines.sglang import SGLANG
from collector.engines.tgi import TGI
from collector.engines.triton import TRITON
from collector.engines.trtllm import TRTLLM
from collector.engines.vllm import VLLM

_TABLES: tuple[Engine, ...] = (
    VLLM,
    SGLANG,
    TGI,
    TRTLLM,
    TRITON,
    LLAMA_CPP,
    LMDEPLOY,
    RAY_SERVE,
)

ENGINES: dict[str, Engine] = {table.name: table for table in _TABLES}
