"""How a target lets us in: trusted certificates, our own certificate, token or password.

Secrets are only ever named by the files they lie in. A file is read again when it changes, so a
rotated token or certificate needs no restart; what was read is never logged, shown or stored.
"""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from store.errors import ConfigError

T = TypeVar("T")

_MOST_SECRET_BYTES = 65_536
_Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Access:
    """What a target asks of those who scrape it. All paths are files; empty means not used.

    Args:
        ca_file: certificates that are trusted instead of the system's, PEM.
        certificate_file: our own certificate, PEM; may hold the key too.
        key_file: the key of `certificate_file`, PEM.
        server_name: name the target's certificate must carry, when it is not the host's.
        insecure_skip_verify: accept any certificate. Whoever stands in between can then read and
            change everything, the token included.
        bearer_token_file: file with a token for `Authorization: Bearer`.
        username: for basic authentication.
        password_file: file with the password for basic authentication.
    """

    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    server_name: str = ""
    insecure_skip_verify: bool = False
    bearer_token_file: str = ""
    username: str = ""
    password_file: str = ""

    def __post_init__(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            ConfigError: naming the setting.
        """
        if self.bearer_token_file and (self.username or self.password_file):
            raise ConfigError("bearer_token_file and username are both set", hint="keep one")
        if bool(self.username) != bool(self.password_file):
            raise ConfigError(
                "basic authentication needs username and password_file", hint="set both"
            )
        if self.key_file and not self.certificate_file:
            raise ConfigError("key_file without certificate_file", hint="set both")
        if ":" in self.username:
            raise ConfigError("a username with a colon", hint="RFC 7617 does not allow one")


OPEN = Access()


def access_from(told: Mapping[str, Any], where: str) -> Access:
    """`Access` from a table of a file.

    Raises:
        ConfigError: an unknown name, a secret instead of a file, or values that do not fit.
    """
    kinds = {field.name: bool if field.type == "bool" else str for field in fields(Access)}
    for name, value in told.items():
        if name in ("bearer_token", "password", "token"):
            raise ConfigError(
                f"{name} holds a secret",
                where=where,
                hint="write it to a file that only the server can read, and name that file",
            )
        if name not in kinds:
            raise ConfigError(f"no setting {name}", where=where, hint=f"there are {list(kinds)}")
        if not isinstance(value, kinds[name]):
            raise ConfigError(f"{name} must be a {kinds[name].__name__}", where=where, hint="")
    try:
        return Access(**told)
    except ConfigError as error:
        raise ConfigError(error.message, where=where, hint=error.hint) from None


class SecretError(Exception):
    """A file of an `Access` cannot be used; the message names the file, never what is in it."""


class Keyring:
    """Tokens and TLS contexts as they stand in their files now."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, Access], tuple[_Stamp, Any]] = {}

    def headers(self, access: Access) -> list[tuple[str, str]]:
        """The headers to send with a request.

        Raises:
            SecretError: a file cannot be read or holds no secret.
        """
        if access.bearer_token_file:
            files = (access.bearer_token_file,)
            return self._fresh("headers", access, files, _bearer)
        if access.username:
            return self._fresh("headers", access, (access.password_file,), _basic)
        return []

    def context(self, access: Access) -> ssl.SSLContext:
        """The TLS context to connect with; the same one for as long as the files stay.

        Raises:
            SecretError: a certificate or key cannot be used.
        """
        named = (access.ca_file, access.certificate_file, access.key_file)
        return self._fresh("tls", access, tuple(filter(None, named)), _context)

    def _fresh(
        self, kind: str, access: Access, files: tuple[str, ...], make: Callable[[Access], T]
    ) -> T:
        stamp = tuple(_stamp(file) for file in files)
        kept = self._kept.get((kind, access))
        if kept is None or kept[0] != stamp:
            kept = self._kept[kind, access] = (stamp, make(access))
        made: T = kept[1]
        return made


def _stamp(file: str) -> tuple[int, int, int]:
    try:
        told = os.stat(file)
    except OSError as error:
        raise SecretError(f"{file} cannot be read ({error.strerror})") from None
    return told.st_mtime_ns, told.st_ino, told.st_size


def _bearer(access: Access) -> list[tuple[str, str]]:
    return [("Authorization", f"Bearer {_secret(access.bearer_token_file)}")]


def _basic(access: Access) -> list[tuple[str, str]]:
    told = f"{access.username}:{_secret(access.password_file)}".encode()
    return [("Authorization", f"Basic {base64.b64encode(told).decode()}")]


def _secret(file: str) -> str:
    try:
        with open(file, "rb") as opened:
            raw = opened.read(_MOST_SECRET_BYTES + 1)
        text = raw.decode("utf-8").strip()
    except OSError as error:
        raise SecretError(f"{file} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise SecretError(f"{file} is no text") from None
    if not text or len(raw) > _MOST_SECRET_BYTES or not text.isprintable():
        raise SecretError(f"{file} must hold one secret and nothing else")
    return text


def _context(access: Access) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=access.ca_file or None)
        if access.certificate_file:
            context.load_cert_chain(access.certificate_file, access.key_file or None, _no_password)
    except (OSError, ValueError) as error:
        named = (access.ca_file, access.certificate_file, access.key_file)
        files = ", ".join(filter(None, named))
        raise SecretError(f"certificates cannot be used ({files}): {_reason(error)}") from None
    if access.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _no_password() -> str:
    # Without this a key with a password would ask for it on the terminal.
    raise ValueError("the key has a password")


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
