"""The part of etcd's JSON gateway that reads ranges and runs transactions. A double."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from controller.actuators.doubles.web import Web


class FakeEtcd:
    """Keys with revisions; a context manager."""

    def __init__(self) -> None:
        self.values: dict[str, tuple[str, int]] = {}
        self.revision = 1
        self.status = 200
        self.denied = False
        self.lies = False
        self.web = Web(self._answer)

    def __enter__(self) -> FakeEtcd:
        self.web.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.web.__exit__()

    def put(self, **values: str) -> None:
        """Set keys, by their last part, in one revision."""
        self.revision += 1
        for name, value in values.items():
            self.values[f"v1/dynamo/planner/{name}"] = (value, self.revision)

    def get(self, name: str) -> str | None:
        """A value by the last part of its key."""
        found = self.values.get(f"v1/dynamo/planner/{name}")
        return None if found is None else found[0]

    def _answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Any]:
        if self.status != 200:
            return self.status, {"error": "etcdserver: request timed out", "code": 14}
        told = json.loads(body)
        if (method, path) == ("POST", "/v3/kv/range"):
            return 200, self._range(_text(told["key"]), _text(told["range_end"]))
        if (method, path) == ("POST", "/v3/kv/txn"):
            if self.denied:
                return 403, {"error": "etcdserver: permission denied", "code": 7}
            return 200, self._transact(told)
        return 404, {}

    def _range(self, first: str, end: str) -> Any:
        kvs = [
            {"key": _code(key), "value": _code(value), "mod_revision": str(revision)}
            for key, (value, revision) in sorted(self.values.items())
            if first <= key < end
        ]
        header = {"header": {"revision": str(self.revision)}}
        # As the gateway writes it: nothing found leaves the field out.
        return {**header, "kvs": kvs, "count": str(len(kvs))} if kvs else header

    def _transact(self, told: Any) -> Any:
        for one in told.get("compare", []):
            found = self.values.get(_text(one["key"]), ("", 0))[1]
            if found != int(one["mod_revision"]):
                return {"header": {}}
        if not self.lies:
            self.revision += 1
            for one in told["success"]:
                put = one["request_put"]
                self.values[_text(put["key"])] = (_text(put["value"]), self.revision)
        return {"header": {}, "succeeded": True}


def _text(told: str) -> str:
    return base64.b64decode(told).decode()


def _code(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
