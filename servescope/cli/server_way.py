"""How a command reaches a server: where it is, what it trusts there, and what it shows.

A server on this machine is found by what it left beside its store. One elsewhere is named by the
environment: SERVESCOPE_URL, and SERVESCOPE_TOKEN_FILE or SERVESCOPE_TOKEN.
"""

from __future__ import annotations

import json
import os
import ssl
from dataclasses import dataclass
from pathlib import Path

import httpx2

from servescope.cli.output import CommandError, ExitCode
from servescope.listening import key_file
from store.opening import server_file

ENV_URL = "SERVESCOPE_URL"
ENV_TOKEN = "SERVESCOPE_TOKEN"  # noqa: S105 - a name
ENV_TOKEN_FILE = "SERVESCOPE_TOKEN_FILE"  # noqa: S105 - a name
ENV_CA_FILE = "SERVESCOPE_CA_FILE"


@dataclass(frozen=True, slots=True)
class Way:
    """The way to one server.

    Attributes:
        url: where it answers, without a trailing slash.
        token: shown at its door; "" shows none.
        certificate: file with what is trusted; "" trusts what the system trusts.
        is_remote: whether the environment named it.
    """

    url: str
    token: str = ""
    certificate: str = ""
    is_remote: bool = False

    def client(self, seconds: float) -> httpx2.Client:
        """Connections that wait so long for an answer."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if not self.is_remote:
            # On this machine packing and unpacking would only cost time.
            headers["Accept-Encoding"] = "identity"
        return httpx2.Client(
            timeout=seconds, trust_env=False, headers=headers, verify=self._verify()
        )

    def _verify(self) -> ssl.SSLContext | bool:
        if not self.certificate or not self.url.startswith("https:"):
            return True
        context = ssl.create_default_context(cafile=self.certificate)
        if not self.is_remote:
            # The very certificate that the server shows, found beside its store; it is made for
            # the name that others call it by.
            context.check_hostname = False
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context


def way_to(path: Path) -> Way | None:
    """The way to the server of the store at `path`, or to the one that the environment names.

    Raises:
        CommandError: the token that the environment names cannot be read.
    """
    if os.environ.get(ENV_URL):
        url = os.environ[ENV_URL].rstrip("/")
        return Way(url, _token(), os.environ.get(ENV_CA_FILE, ""), is_remote=True)
    try:
        told = json.loads(server_file(path).read_text("utf-8"))
        return Way(str(told["url"]), _local_key(path), str(told.get("certificate") or ""))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _local_key(path: Path) -> str:
    try:
        return key_file(path).read_text("ascii").strip()
    except OSError:
        return ""  # of another user: the server says what it wants


def _token() -> str:
    file = os.environ.get(ENV_TOKEN_FILE)
    if not file:
        return os.environ.get(ENV_TOKEN, "")
    try:
        return Path(file).expanduser().read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(
            f"cannot be read ({error})", ExitCode.USAGE, where=file,
            hint=f"{ENV_TOKEN_FILE} names a file with one token", code="input",
        ) from error  # fmt: skip
