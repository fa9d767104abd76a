"""Doubles of what discovery asks, for tests: they speak the real protocols over real sockets."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

_LISTS = {
    "/api/v1/pods": "pod",
    "/api/v1/events": "event",
    "/apis/discovery.k8s.io/v1/endpointslices": "endpointslice",
}


class FakeKubernetesApi:
    """The part of a Kubernetes API server that lists pods, events and EndpointSlices. A double.

    It answers the same paths, pages with `limit` and `continue`, and checks the bearer token; it
    knows no watch, no selectors beyond `name=value`, and nothing is ever created.

    Args:
        token: the bearer token it wants.
    """

    def __init__(self, token: str = "") -> None:
        self.token = token
        self.objects: dict[str, list[Mapping[str, Any]]] = {kind: [] for kind in _LISTS.values()}
        self.status = 200
        self.asked: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> FakeKubernetesApi:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def kubeconfig(self, file: Path) -> Path:
        """Write a kubeconfig that leads here."""
        entry = {"name": "fake"}
        told = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "clusters": [{**entry, "cluster": {"server": self.url}}],
            "users": [{**entry, "user": {"token": self.token}}],
            "contexts": [{**entry, "context": {"cluster": "fake", "user": "fake"}}],
        }
        file.write_text(json.dumps(told), "utf-8")
        return file

    def answer(self, path: str, authorization: str) -> tuple[int, Any]:
        """Status and body of a GET."""
        self.asked.append(path)
        parts = urlsplit(path)
        names = parts.path.split("/namespaces/")
        namespace = names[1].split("/")[0] if len(names) == 2 else ""
        place = f"{names[0]}/{names[1].split('/')[1]}" if namespace else parts.path
        if self.status != 200:
            return self.status, {"kind": "Status", "code": self.status}
        if self.token and authorization != f"Bearer {self.token}":
            return 401, {"kind": "Status", "code": 401}
        if place not in _LISTS:
            return 404, {"kind": "Status", "code": 404}
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        return 200, self._page(self._matching(_LISTS[place], namespace, query), query)

    def _matching(
        self, kind: str, namespace: str, query: Mapping[str, str]
    ) -> list[Mapping[str, Any]]:
        name, _, value = query.get("labelSelector", "").partition("=")
        return [
            one
            for one in self.objects[kind]
            if namespace in ("", one["metadata"].get("namespace"))
            and (not name or (one["metadata"].get("labels") or {}).get(name) == value)
        ]

    def _page(self, found: list[Mapping[str, Any]], query: Mapping[str, str]) -> Any:
        start, limit = int(query.get("continue", 0)), int(query.get("limit", 0)) or len(found)
        end = start + limit
        more = {"continue": str(end)} if end < len(found) else {}
        return {"kind": "List", "metadata": more, "items": found[start:end]}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, told = fake.answer(self.path, self.headers.get("Authorization", ""))
                body = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing: a test reads the answers."""

        return Handler
