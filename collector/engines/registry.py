"""Every engine that servescope can read. Add a line here when you add a table."""

from __future__ import annotations

from collector.engines.adapter import Engine
from collector.engines.llama_cpp import LLAMA_CPP
from collector.engines.vllm import VLLM

ENGINES: dict[str, Engine] = {
    "vllm": VLLM,
    "llama.cpp": LLAMA_CPP,
}
