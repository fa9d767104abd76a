"""Settings of the process itself: where it listens, what it scrapes, how much it takes."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8787
_AT_LEAST_ONE = (
    "body_max_bytes", "upload_max_bytes", "most_connections", "ui_threads", "api_rows",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Table `[server]`: the one process that owns the store.

    Attributes:
        listen: HOST:PORT of the API and the dashboard; others than loopback hosts need
            `access.sign_in`.
        public_url: where browsers reach this server, such as https://servescope.example; links in
            alerts and reports begin with it. Empty means as it listens.
        peer_url: where the other servers of a lake reach this one; empty means as it listens. What
            only one of them does is passed on to it there.
        peer_ca_file: certificates to trust between them; empty means the usual ones.
        tls_certificate: PEM file with the certificate and its chain; empty serves plain HTTP.
        tls_key_file: PEM file with its key; empty means that it is in the same file.
        trusted_proxies: addresses of proxies whose word on who asks, and how, is taken
            (X-Forwarded-For, X-Forwarded-Proto).
        store: the store's file; empty means `store.duckdb` in the user's data folder.
        targets: URLs of engines to scrape, such as http://gpu-3:8000.
        slo_file: text file with the service level objectives; empty means `slo.toml` beside the
            configuration file or in the working folder, when there is one.
        allowed_hosts: Host header names that are answered besides the one listened on; protects a
            loopback server from DNS rebinding.
        body_max_bytes: largest request body, except uploads of traces.
        upload_max_bytes: largest upload of a trace.
        most_connections: connections open at the same time; one more is answered 503. Never more
            than half of the files that the process may have open.
        head_seconds: how long the head of a request may take; then the connection is closed.
        view_ttl_seconds: how long a computed view of live data is shared between viewers.
        ui_threads: threads for dashboard callbacks.
        api_rows: most rows one API answer returns.
        log_level: debug, info, warning or error.
    """

    listen: str = f"{DEFAULT_HOST}:{DEFAULT_PORT}"
    public_url: str = ""
    peer_url: str = ""
    peer_ca_file: str = ""
    tls_certificate: str = ""
    tls_key_file: str = ""
    trusted_proxies: tuple[str, ...] = ()
    store: str = ""
    targets: tuple[str, ...] = ()
    slo_file: str = ""
    allowed_hosts: tuple[str, ...] = ()
    body_max_bytes: int = 1 << 20
    upload_max_bytes: int = 4 << 30
    most_connections: int = 1_000
    head_seconds: float = 10.0
    view_ttl_seconds: float = 5.0
    ui_threads: int = 32
    api_rows: int = 10_000
    log_level: str = "info"

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            ValueError: naming the setting.
        """
        split_listen(self.listen)
        _check_addresses(self)
        if self.tls_key_file and not self.tls_certificate:
            raise ValueError("server.tls_key_file is set without server.tls_certificate")
        for name in _AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise ValueError(f"server.{name} must be at least 1")
        if not self.head_seconds > 0:
            raise ValueError("server.head_seconds must be above 0")
        if self.view_ttl_seconds < 0:
            raise ValueError("server.view_ttl_seconds must not be negative")
        if self.log_level not in {"debug", "info", "warning", "error"}:
            raise ValueError("server.log_level must be debug, info, warning or error")


def _check_addresses(settings: ServerSettings) -> None:
    for name in ("public_url", "peer_url"):
        url = getattr(settings, name)
        if url and not url.startswith(("https://", "http://")):
            raise ValueError(f"server.{name} must begin with https:// or http://")


@dataclass(frozen=True, slots=True)
class DashboardSettings:
    """Table `[dashboard]`: what people are shown, on pages, by the REST API and by commands alike.

    Attributes:
        tenant_names: "shown", or "pseudonyms": then tenants go by stable other names everywhere,
            also in filters and addresses, and neither SQL nor exports of rows are answered; or
            "pseudonyms-for-viewers": that is so for viewers and for all that is kept or sent, while
            operators and admins see names. The secret behind them lies beside the store.
        trace_url: where another tool shows a trace, such as
            https://jaeger.example/trace/{trace_id}; one request then leads there. Empty shows the
            id alone.
    """

    tenant_names: str = "shown"
    trace_url: str = ""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            ValueError: naming the setting.
        """
        if self.tenant_names not in {"shown", "pseudonyms", "pseudonyms-for-viewers"}:
            raise ValueError(
                "dashboard.tenant_names must be shown, pseudonyms or pseudonyms-for-viewers"
            )
        is_address = self.trace_url.startswith(("http://", "https://"))
        if self.trace_url and not (is_address and "{trace_id}" in self.trace_url):
            raise ValueError(
                "dashboard.trace_url must begin with http:// or https:// and hold {trace_id}"
            )


def split_listen(text: str) -> tuple[str, int]:
    """Split HOST:PORT; a bare port listens on loopback.

    Raises:
        ValueError: not of that form.
    """
    host, _, port = text.strip().rpartition(":")
    host = host.strip("[]") or DEFAULT_HOST
    if not port.isdigit() or not 0 <= int(port) <= 65_535:
        raise ValueError(f"server.listen is '{text}', it must be HOST:PORT such as 127.0.0.1:8787")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
