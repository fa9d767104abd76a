"""The part of a llama.cpp router that loads and unloads models. A double.

Its answers are those of llama-server of llama-cpp-python 0.3.36; a load ends when it is told so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from controller.actuators.doubles.web import Web


class FakeLlamaRouter:
    """Two models, `tiny` and `other`; a context manager."""

    def __init__(self) -> None:
        self.models = {"tiny": "unloaded", "other": "unloaded"}
        self.running = 0
        self.status = 200
        self.key = ""
        self.lies = False
        self.web = Web(self._answer)

    def __enter__(self) -> FakeLlamaRouter:
        self.web.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.web.__exit__()

    def _answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Any]:
        if self.status != 200:
            return self.status, {"error": {"code": self.status, "message": "loading"}}
        if self.key and headers.get("Authorization") != f"Bearer {self.key}":
            return 401, {"error": {"code": 401, "message": "Invalid API Key"}}
        if (method, path) == ("GET", "/models"):
            data = [{"id": name, "status": {"value": value}} for name, value in self.models.items()]
            return 200, {"data": data, "object": "list"}
        if path == "/metrics?model=tiny" and self.models["tiny"] == "loaded":
            return 200, (
                f"llamacpp:requests_processing {self.running}\nllamacpp:requests_deferred 0\n"
            ).encode()
        if method == "POST" and path in ("/models/load", "/models/unload"):
            return self._change(path.rpartition("/")[2], json.loads(body).get("model"))
        return 404, {"error": {"code": 404, "message": "File Not Found"}}

    def _change(self, what: str, model: str) -> tuple[int, Any]:
        if model not in self.models:
            return 404, {"error": {"code": 404, "message": "File Not Found"}}
        there = self.models[model] != "unloaded"
        if there == (what == "load"):
            state = "already running" if there else "not running"
            return 400, {"error": {"code": 400, "message": f"model is {state}"}}
        if not self.lies:
            self.models[model] = "loaded" if what == "load" else "unloaded"
        return 200, {"success": True}
