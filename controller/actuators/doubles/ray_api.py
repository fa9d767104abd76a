"""The part of Ray's dashboard that tells of deployments and scales them. A double.

Its answers have the form of those of Ray 2.60; replicas start and stop when it is told so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from controller.actuators.doubles.web import Web


class FakeRayServe:
    """One application `llm` with one deployment `Echo`; a context manager."""

    def __init__(self, replicas: int = 1) -> None:
        self.target = replicas
        self.running = replicas
        self.external = True
        self.status = 200
        self.lies = False
        self.token = ""
        self.web = Web(self._answer)

    def __enter__(self) -> FakeRayServe:
        self.web.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.web.__exit__()

    def _answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Any]:
        if self.status != 200:
            return self.status, {"error": "Serve controller is not available"}
        if self.token and headers.get("Authorization") != f"Bearer {self.token}":
            return 401, "Unauthorized: Missing authentication token"
        if method == "GET" and urlsplit(path).path == "/api/serve/applications/":
            return 200, self._state()
        if (method, path) == ("POST", "/api/v1/applications/llm/deployments/Echo/scale"):
            return self._scale(body)
        return 404, {"error": "Application or Deployment not found"}

    def _scale(self, body: bytes) -> tuple[int, Any]:
        wanted = json.loads(body).get("target_num_replicas")
        if not isinstance(wanted, int) or wanted < 0:
            return 400, {"error": "Invalid request body: target_num_replicas"}
        if not self.external:
            return 412, {"error": "external_scaler_enabled is not set for application 'llm'"}
        if not self.lies:
            self.target = wanted
        return 200, {"message": "Scaling request received. Deployment will get scaled"}

    def _state(self) -> Any:
        states = ["RUNNING"] * min(self.running, self.target)
        states += ["STARTING"] * (self.target - self.running)
        states += ["STOPPING"] * (self.running - self.target)
        replicas = [
            {"replica_id": f"r{number}", "state": state, "pid": 100 + number}
            for number, state in enumerate(states)
        ]
        deployment = {
            "name": "Echo",
            "status": "HEALTHY",
            "deployment_config": {"name": "Echo", "num_replicas": self.target},
            "target_num_replicas": self.target,
            "replicas": replicas,
        }
        application = {
            "name": "llm",
            "status": "RUNNING",
            "external_scaler_enabled": self.external,
            "deployments": {"Echo": deployment},
        }
        return {"controller_info": {}, "applications": {"llm": application}}
