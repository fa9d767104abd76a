"""Where a Kubernetes API server is and how it is asked: given, a kubeconfig, or the pod's own.

Client certificates and tokens are read; credential plugins (`exec`, `auth-provider`) are programs,
and are not run: use a service account's token.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from controller.actuators.http import Http, member
from controller.actuators.platform import NoAnswer
from store.errors import ControllerError

POD_FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_CONFIG_BYTES = 1 << 20
_WHERE = "kubeconfig"


@dataclass(frozen=True, slots=True)
class Access:
    """A cluster as we may talk to it.

    Attributes:
        url: of the API server.
        namespace: unless a pool says another.
        token: fixed; "" for none.
        token_file: read anew for every question; None for none.
        verify: how the server is believed.
    """

    url: str
    namespace: str
    token: str = ""
    token_file: Path | None = None
    verify: ssl.SSLContext | bool = True

    def http(self, seconds: float) -> Http:
        """A client of it."""
        return Http(self.url, seconds, self._headers, self.verify)

    def _headers(self) -> Mapping[str, str]:
        token = self.token
        if self.token_file is not None:
            try:
                token = self.token_file.read_text("utf-8").strip()
            except OSError as error:
                raise NoAnswer(f"{self.token_file}: {error.strerror}") from None
        return {"Authorization": f"Bearer {token}"} if token else {}


def given(server: str, token_file: str, ca_file: str) -> Access:
    """A server that the settings name.

    Raises:
        ControllerError: the CA cannot be read.
    """
    verify: ssl.SSLContext | bool = _trust(ca_file, None) if ca_file else True
    return Access(server, "default", token_file=_path(token_file), verify=verify)


def of_pod(environment: Mapping[str, str], folder: Path = POD_FOLDER) -> Access | None:
    """The cluster whose pod we are; None when we are none."""
    host = environment.get("KUBERNETES_SERVICE_HOST", "")
    if not host or not (folder / "token").exists():
        return None
    port = environment.get("KUBERNETES_SERVICE_PORT", "443")
    place = f"[{host}]" if ":" in host else host
    try:
        namespace = (folder / "namespace").read_text("utf-8").strip()
    except OSError:
        namespace = "default"
    verify = _trust(str(folder / "ca.crt"), None)
    return Access(f"https://{place}:{port}", namespace, token_file=folder / "token", verify=verify)


def of_kubeconfig(file: Path, context: str = "") -> Access:
    """The cluster of a kubeconfig.

    Args:
        file: YAML or JSON.
        context: entry of it; "" for its current one.

    Raises:
        ControllerError: it cannot be read, or says something that is not understood.
    """
    told = _load(file)
    name = context or str(member(told, "current-context") or "")
    chosen = member(_entry(told, "contexts", name), "context")
    cluster = member(_entry(told, "clusters", str(member(chosen, "cluster") or "")), "cluster")
    user = member(_entry(told, "users", str(member(chosen, "user") or "")), "user") or {}
    for program in ("exec", "auth-provider"):
        if program in user:
            raise ControllerError(
                f"credentials by `{program}` are not supported",
                where=str(file),
                hint="use a service account: token_file",
            )
    url = str(member(cluster, "server") or "")
    if not url.startswith(("http://", "https://")):
        raise ControllerError(f"the cluster of '{name}' has no server", where=str(file))
    folder = file.parent
    return Access(
        url,
        str(member(chosen, "namespace") or "default"),
        token=str(user.get("token") or ""),
        token_file=_path(str(user.get("tokenFile") or ""), folder),
        verify=_verify(cluster, user, folder),
    )


def find(kubeconfig: str, context: str) -> Access:
    """The kubeconfig that is named, the pod we are, or the usual kubeconfig.

    Raises:
        ControllerError: there is none of them.
    """
    if not kubeconfig:
        found = of_pod(os.environ)
        if found is not None:
            return found
    usual = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0] or "~/.kube/config"
    return of_kubeconfig(Path(kubeconfig or usual).expanduser(), context)


def _load(file: Path) -> Any:
    try:
        with file.open("rb") as opened:
            return yaml.safe_load(opened.read(_CONFIG_BYTES))
    except OSError as error:
        raise ControllerError(
            f"cannot be read: {error.strerror}", where=str(file), hint="set kubeconfig or server"
        ) from error
    except yaml.YAMLError as error:
        raise ControllerError("is no YAML", where=str(file)) from error


def _entry(told: Any, kind: str, name: str) -> Any:
    for one in member(told, kind) or ():
        if member(one, "name") == name:
            return one
    raise ControllerError(f"no '{name}' among its {kind}", where=_WHERE, hint="set context")


def _verify(cluster: Any, user: Mapping[str, Any], folder: Path) -> ssl.SSLContext | bool:
    trust = _trust(
        str(_path(str(member(cluster, "certificate-authority") or ""), folder) or ""),
        _decoded(member(cluster, "certificate-authority-data")),
    )
    if member(cluster, "insecure-skip-tls-verify"):
        trust.check_hostname = False
        trust.verify_mode = ssl.CERT_NONE
    _identify(trust, user, folder)
    return trust


def _trust(file: str, data: bytes | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(
            cafile=file or None, cadata=None if data is None else data.decode("ascii")
        )
    except (OSError, ValueError) as error:
        raise ControllerError(f"the CA cannot be used: {error}", where=file or _WHERE) from error


def _identify(trust: ssl.SSLContext, user: Mapping[str, Any], folder: Path) -> None:
    """Load the client's certificate, from files or from data."""
    parts = []
    for name in ("client-certificate", "client-key"):
        data = _decoded(user.get(f"{name}-data"))
        file = _path(str(user.get(name) or ""), folder)
        parts.append(data if data is not None or file is None else _bytes(file))
    certificate, key = parts
    if certificate is None or key is None:
        return
    # The ssl module takes files only; this one is ours alone and gone at once.
    with tempfile.NamedTemporaryFile(suffix=".pem") as both:
        both.write(certificate + b"\n" + key)
        both.flush()
        try:
            trust.load_cert_chain(both.name)
        except (OSError, ValueError) as error:
            raise ControllerError(
                f"the client certificate cannot be used: {error}", where=_WHERE
            ) from error


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ControllerError(f"cannot be read: {error.strerror}", where=str(file)) from error


def _decoded(told: Any) -> bytes | None:
    if told is None:
        return None
    try:
        return base64.b64decode(str(told), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ControllerError("data that is no base64", where=_WHERE) from error


def _path(told: str, folder: Path | None = None) -> Path | None:
    if not told:
        return None
    path = Path(told).expanduser()
    return path if folder is None else folder / path
