"""What a hostile page, a foreign name or a huge body gets."""

import pytest
from starlette.testclient import TestClient

from servescope.api.guards import content_security_policy
from servescope.server import create_app, script_hashes

SQL = {"sql": "SELECT 1"}


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://[::1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_foreign_page_may_not_write(client, headers):
    """Cross-site writes are refused before anything reads them."""
    answer = client.post("/api/v1/sql", json=SQL, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "cross_site")


@pytest.mark.parametrize(
    "headers", [{}, {"origin": "http://127.0.0.1:8787", "sec-fetch-site": "same-origin"}]
)
def test_our_own_page_and_the_command_line_may(client, headers):
    """Same origin, or no browser at all."""
    assert client.post("/api/v1/sql", json=SQL, headers=headers).status_code == 200


def test_no_page_elsewhere_may_read(client):
    """There is no CORS header at all."""
    answer = client.get("/api/v1/sources", headers={"origin": "http://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "["])
def test_a_foreign_host_name_is_refused(client, host):
    """DNS rebinding reaches nothing."""
    answer = client.get("/api/v1/sources", headers={"host": host})
    assert (answer.status_code, answer.json()["code"]) == (400, "host")


@pytest.mark.parametrize("host", ["localhost:8787", "127.0.0.1", "[::1]:8787"])
def test_loopback_names_are_answered(client, host):
    """However people write it."""
    assert client.get("/healthz", headers={"host": host}).status_code == 200


def test_a_large_body_is_refused_with_and_without_a_length(client, filled):
    """A body that does not say how long it is is cut off at the same limit."""
    size = filled.config.server.body_max_bytes + 1
    said = client.post("/api/v1/sql", content=b"x" * size)
    assert (said.status_code, said.json()["code"]) == (413, "too_large")
    silent = client.post("/api/v1/sql", content=iter([b"x" * size]))
    assert silent.status_code == 413


@pytest.mark.parametrize("path", ["/healthz", "/nope", "/api/v1/sources"])
def test_every_answer_carries_the_security_headers(client, path):
    """Also failures."""
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert "default-src 'self'" in headers["content-security-policy"]


def test_our_own_answers_can_be_told_from_those_of_a_proxy(client):
    """Refusals too; but who was led here by a wrong name is told nothing final."""
    ours = client.post("/api/v1/agents/a/batches", content=b"x")
    assert (ours.status_code, "servescope-server" in ours.headers) == (415, True)
    misled = client.get("/api/v1/sources", headers={"host": "other.example"})
    assert (misled.status_code, "servescope-server" in misled.headers) == (400, False)


def test_the_policy_allows_our_inline_scripts_by_their_hash(filled):
    """Inline scripts run by hash, never by a blanket permission."""
    from flask import Flask

    page = Flask("page")
    page.route("/")(
        lambda: (
            '<script>go()</script><script src="a.js"></script>'
            '<script type="application/json">{}</script>'
        )
    )
    (found,) = script_hashes(page)
    assert found.startswith("'sha256-")
    assert "unsafe-inline" not in content_security_policy([found]).split("style-src")[0]
    with TestClient(create_app(filled, wsgi_ui=page), base_url="http://127.0.0.1") as client:
        answer = client.get("/ui/")
        assert found in answer.headers["content-security-policy"]
        assert client.get("/", follow_redirects=False).headers["location"] == "/ui/"
        assert client.get("/ui/nope").status_code == 404
