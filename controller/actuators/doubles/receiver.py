"""A receiver of decisions as somebody might write it. A double."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from typing import Any

from controller.actuators.doubles.web import Web
from controller.actuators.webhook import SIGNATURE, TIME, signature


class FakeReceiver:
    """One pool `chat`; a context manager. It checks signatures and versions.

    Args:
        secret: shared.
    """

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self.wanted = 1
        self.version = 1
        self.decision_id = ""
        self.refuses = False
        self.lies = False
        self.forgets = False
        self.status = 200
        self.web = Web(self._answer)

    def __enter__(self) -> FakeReceiver:
        self.web.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.web.__exit__()

    def change(self, replicas: int) -> None:
        """What somebody at the platform does."""
        self.wanted = replicas
        self.version += 1

    def _answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Any]:
        if self.status != 200:
            return self.status, {}
        named = {name.title(): value for name, value in headers.items()}
        right = signature(self.secret, named.get(TIME.title(), ""), method, path, body)
        if not hmac.compare_digest(right, named.get(SIGNATURE.title(), "")):
            return 401, {"error": "the signature is wrong"}
        if method == "GET":
            return 200, {
                "pool": "chat",
                "wanted": self.wanted,
                "ready": self.wanted,
                "version": str(self.version),
                "decision_id": self.decision_id,
            }
        return self._scale(json.loads(body))

    def _scale(self, told: Mapping[str, Any]) -> tuple[int, Any]:
        if self.refuses:
            return 403, {"error": "not in office hours"}
        if told["version"] and told["version"] != str(self.version):
            return 409, {"error": "somebody else changed it"}
        if not self.lies:
            self.change(told["replicas"])
            self.decision_id = told["decision_id"]
        return 200, {"decision_id": "" if self.forgets else told["decision_id"]}
