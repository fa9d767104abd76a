"""The part of a Kubernetes API server that scales objects. A double.

It enforces what the real one enforces: resourceVersion, merge patches and their content type,
bearer tokens, RBAC by verb and resource, validation; and answers with the same Status bodies. It
runs no pods: `settle` says when they are there.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from controller.actuators.doubles.web import Web

_MERGE = "application/merge-patch+json"
_REASONS = {
    400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 405:
    "MethodNotAllowed", 409: "Conflict", 415: "UnsupportedMediaType", 422: "Invalid",
    429: "TooManyRequests", 500: "InternalError",
}  # fmt: skip


class _Status(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(slots=True)
class Scaled:
    """One object with a scale.

    Attributes:
        path: of the object.
        replicas: wanted.
        there: pods.
        ready: of them.
        uid: never used again.
        revision: resourceVersion.
    """

    path: str
    replicas: int
    there: int
    ready: int
    uid: str
    revision: int


class FakeScaleApi:
    """An API server with objects that can be scaled; a context manager.

    Args:
        token: the bearer token it wants; "" for none.
    """

    def __init__(self, token: str = "") -> None:
        self.token = token
        self.allowed = {("get", "deployments"), ("get", "deployments/scale"),
                        ("patch", "deployments/scale")}  # fmt: skip
        self.denied = ""
        self.status = 200
        self.lies = False
        self.seen: list[tuple[str, str, str]] = []
        self._objects: dict[str, Scaled] = {}
        self._revision = 100
        self._lock = threading.Lock()
        self.web = Web(self.answer)

    def __enter__(self) -> FakeScaleApi:
        self.web.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.web.__exit__()

    @property
    def url(self) -> str:
        """Where it answers."""
        return self.web.url

    def add(self, path: str, replicas: int) -> Scaled:
        """An object, such as /apis/apps/v1/namespaces/llm/deployments/chat."""
        with self._lock:
            self._revision += 1
            uid = f"uid-{self._revision}"
            made = Scaled(path, replicas, replicas, replicas, uid, self._revision)
            self._objects[path] = made
            return made

    def change(self, path: str, replicas: int) -> None:
        """Somebody else wants another number."""
        with self._lock:
            self._set(self._objects[path], replicas)

    def settle(self, path: str) -> None:
        """The pods are there and ready; a status update changes the resourceVersion."""
        with self._lock:
            one = self._objects[path]
            one.there = one.ready = one.replicas
            self._revision += 1
            one.revision = self._revision

    def answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, Any]]:
        """Status and body of one question."""
        self.seen.append((method, path, headers.get("Content-Type", "")))
        try:
            with self._lock:
                return 200, self._answer(method, urlsplit(path).path, headers, body)
        except _Status as status:
            return status.code, {
                "kind": "Status",
                "apiVersion": "v1",
                "metadata": {},
                "status": "Failure",
                "message": status.message,
                "reason": _REASONS.get(status.code, "Unknown"),
                "code": status.code,
            }

    def _answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> dict[str, Any]:
        if self.status != 200:
            raise _Status(self.status, "the server is currently unable to handle the request")
        if self.token and headers.get("Authorization") != f"Bearer {self.token}":
            raise _Status(401, "Unauthorized")
        root, scale = (
            (path.removesuffix("/scale"), True) if path.endswith("/scale") else (path, False)
        )
        plural = root.rpartition("/")[0].rpartition("/")[2]
        self._authorise(method, plural + ("/scale" if scale else ""))
        one = self._objects.get(root)
        if one is None:
            raise _Status(404, f'{plural} "{root.rpartition("/")[2]}" not found')
        if method == "GET":
            return _scale_of(one) if scale else _object_of(one)
        if method != "PATCH" or not scale:
            raise _Status(405, "the server does not allow this method on the requested resource")
        return self._patch(one, headers, body)

    def _authorise(self, method: str, resource: str) -> None:
        verb = method.lower()
        if (verb, resource) not in self.allowed:
            raise _Status(
                403,
                f'{resource} is forbidden: User "servescope" cannot {verb} resource "{resource}"',
            )

    def _patch(self, one: Scaled, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        kind = headers.get("Content-Type", "").partition(";")[0]
        if kind != _MERGE:
            raise _Status(415, f"the body of the request was in an unknown format - {kind}")
        try:
            patch = json.loads(body)
        except ValueError:
            raise _Status(400, "error decoding patch") from None
        if not isinstance(patch, dict):
            raise _Status(400, "error decoding patch")
        wanted: dict[str, Any] = merged(_scale_of(one), patch)
        replicas = _valid(one, wanted)
        if self.denied:
            raise _Status(403, f"admission webhook denied the request: {self.denied}")
        if self.lies:
            return wanted
        self._set(one, replicas)
        return _scale_of(one)

    def _set(self, one: Scaled, replicas: int) -> None:
        if replicas != one.replicas:  # a write that changes nothing keeps the resourceVersion
            self._revision += 1
            one.replicas, one.revision = replicas, self._revision


def _valid(one: Scaled, wanted: Mapping[str, Any]) -> int:
    """The replicas of a patched scale, if it may be written."""
    meta = wanted.get("metadata") or {}
    if str(meta.get("resourceVersion") or one.revision) != str(one.revision):
        raise _Status(
            409,
            "Operation cannot be fulfilled: the object has been modified; please apply your "
            "changes to the latest version and try again",
        )
    if meta.get("uid", one.uid) != one.uid:
        raise _Status(409, "Precondition failed: UID in precondition")
    replicas = (wanted.get("spec") or {}).get("replicas", 0)
    if isinstance(replicas, bool) or not isinstance(replicas, int):
        raise _Status(400, "spec.replicas must be of type integer")
    if replicas < 0:
        raise _Status(422, "spec.replicas: Invalid value: must be greater than or equal to 0")
    return replicas


def merged(target: Any, patch: Any) -> Any:
    """A merge patch applied. Source: RFC 7386, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def _scale_of(one: Scaled) -> dict[str, Any]:
    name = one.path.rpartition("/")[2]
    # As Go writes it: zero is left out.
    spec = {"replicas": one.replicas} if one.replicas else {}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {"name": name, "namespace": one.path.split("/")[-3], "uid": one.uid,
                     "resourceVersion": str(one.revision)},
        "spec": spec,
        "status": {"replicas": one.there, "selector": f"app={name}"},
    }  # fmt: skip


def _object_of(one: Scaled) -> dict[str, Any]:
    status = {"replicas": one.there, "readyReplicas": one.ready}
    return {
        "kind": "Deployment",
        "apiVersion": "apps/v1",
        "metadata": {"name": one.path.rpartition("/")[2], "uid": one.uid,
                     "resourceVersion": str(one.revision)},
        "spec": {"replicas": one.replicas},
        "status": {name: value for name, value in status.items() if value},
    }  # fmt: skip
