"""A web server in a thread, for doubles: it answers by a function, or not at all."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answering = Callable[[str, str, Mapping[str, str], bytes], tuple[int, Any]]


class Web:
    """Answers on loopback while its context lasts.

    Args:
        answer: method, path with query, headers and body -> status and what is sent, bytes as
            text and the rest as JSON.
    """

    def __init__(self, answer: Answering) -> None:
        self._answer = answer
        self._free = threading.Event()
        self._free.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        # Looking often lets it end at once.
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )

    def __enter__(self) -> Web:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._free.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def encrypt(self, trust: ssl.SSLContext) -> None:
        """Speak TLS; before it answers anything."""
        # A handshake in the accepting thread would let one silent client stop all others.
        self._server.socket = trust.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )

    def hang(self, on: bool) -> None:
        """Say nothing from now on; or answer again, also what was asked meanwhile."""
        if on:
            self._free.clear()
        else:
            self._free.set()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                web._free.wait()
                status, told = web._answer(self.command, self.path, dict(self.headers), body)
                text = isinstance(told, bytes)
                sent = told if text else json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/plain" if text else "application/json")
                self.send_header("Content-Length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            do_GET = do_PATCH = do_PUT = do_POST = do_DELETE = _any  # noqa: N815

            def log_message(self, *_: Any) -> None:
                """Say nothing: a test reads the answers."""

        return Handler
