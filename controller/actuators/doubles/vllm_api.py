"""The part of vLLM that sleeps and wakes. A double of one instance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controller.actuators.doubles.web import Web


class FakeVllm:
    """An instance; a context manager. Sleeping aborts what runs, as the real one does.

    Args:
        awake: at the beginning.
    """

    def __init__(self, awake: bool) -> None:
        self.awake = awake
        self.running = 0
        self.aborted = 0
        self.dev_mode = True
        self.status = 200
        self.lies = False
        self.web = Web(self._answer)

    def __enter__(self) -> FakeVllm:
        self.web.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.web.__exit__()

    def _answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Any]:
        if self.status != 200:
            return self.status, {}
        if path == "/metrics":
            return 200, (
                f'vllm:num_requests_running{{engine="0"}} {self.running}\n'
                'vllm:num_requests_waiting{engine="0"} 0\n'
            ).encode()
        if (method, path) == ("GET", "/is_sleeping"):
            return 200, {"is_sleeping": not self.awake}
        if not self.dev_mode:
            return 404, {"detail": "Not Found"}
        if (method, path) == ("POST", "/sleep?level=1"):
            self.aborted += self.running
            self.running = 0
            self.awake = self.awake and self.lies
        elif (method, path) == ("POST", "/wake_up"):
            self.awake = self.awake or not self.lies
        else:
            return 404, {"detail": "Not Found"}
        return 200, {}
