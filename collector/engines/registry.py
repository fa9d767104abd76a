"""Every engine that servescope can read. Add a line here when you add a table."""

from __future__ import annotations

from collector.engines.adapter import Engine
from collector.engines.amd import AMD
from collector.engines.cadvisor import CADVISOR
from collector.engines.dcgm import DCGM
from collector.engines.dynamo import DYNAMO_FRONTEND, DYNAMO_WORKER
from collector.engines.envoy_ai import ENVOY_AI
from collector.engines.kube_state import KUBE_STATE
from collector.engines.litellm import LITELLM
from collector.engines.llama_cpp import LLAMA_CPP
from collector.engines.llm_d import LLM_D
from collector.engines.lmdeploy import LMDEPLOY
from collector.engines.node_exporter import NODE_EXPORTER
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
    DYNAMO_FRONTEND,
    DYNAMO_WORKER,
    LLM_D,
    LITELLM,
    ENVOY_AI,
    DCGM,
    AMD,
    NODE_EXPORTER,
    CADVISOR,
    KUBE_STATE,
)

ENGINES: dict[str, Engine] = {table.name: table for table in _TABLES}
