"""Engines of this machine are found by their metrics pages, and only when somebody looks."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from servescope.looking import look

PAGES = {
    "vllm": b"# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running 3\n",
    "stranger": b"# TYPE up gauge\nup 1\n",
}


@pytest.fixture
def serving():
    """Starts servers that answer every path with one page; gives their ports."""
    servers = []

    def start(page, status=200):
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *_):
                pass

        server = HTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server.server_address[1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_an_engine_is_found_by_its_page_and_a_stranger_is_not(serving):
    """What answers with an error, with no engine's names, or not at all, is left out."""
    engine, stranger = serving(PAGES["vllm"]), serving(PAGES["stranger"])
    closed = serving(PAGES["vllm"], status=404)
    assert look((stranger, closed, engine)) == [(f"http://127.0.0.1:{engine}", "vllm")]


def test_nothing_to_ask_is_nothing_found():
    """An empty list of ports is no mistake."""
    assert look(()) == []
