"""What is written about discovery, in settings and in a file -> sources, rules, access.

A source is one text: `file:PATTERN`, an http or https URL, `dns:NAME` (SRV), `dns:a:NAME:PORT`,
`kubernetes:pod[/NAMESPACE]` or `kubernetes:endpointslice[/NAMESPACE]`. The file gives each of them
rules and secrets, and single targets too:

    [[source]]
    from = "kubernetes:pod/llm"
    label_selector = "app=vllm"
    keep = { __meta_kubernetes_pod_ready = "true" }
    labels = { team = "__meta_kubernetes_pod_label_team" }

    [[target]]
    url = "https://gpu-3:8000"
    labels = { rack = "a7" }
    access = { ca_file = "/etc/servescope/ca.pem", bearer_token_file = "/run/secrets/vllm" }
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collector.discovery.kubernetes import KubernetesDiscovery, KubernetesPlace, Role
from collector.discovery.listed import FileDiscovery, StaticDiscovery
from collector.discovery.model import DiscoveredTarget, Discovery
from collector.discovery.names import DnsDiscovery, Record
from collector.discovery.relabel import Relabel
from collector.discovery.settings import DiscoverySettings
from collector.discovery.web import HttpDiscovery
from collector.http_access import OPEN, Access, access_from
from store import toml
from store.errors import ConfigError

_FORMS = (
    "there are file:PATH, https://HOST/PATH, dns:NAME, dns:a:NAME:PORT, dns:aaaa:NAME:PORT,"
    " kubernetes:pod[/NAMESPACE], kubernetes:endpointslice[/NAMESPACE]"
)
_RULES = ("keep", "drop", "labels", "scheme", "metrics_path")
_KUBERNETES = ("label_selector", "every", "kubeconfig", "context")
_OTHERS = ("from", "refresh_seconds", "access", "discovery_access")
_SEEN_ON_KUBERNETES = {
    "namespace": "__meta_kubernetes_namespace",
    "pod": "__meta_kubernetes_pod_name",
    "node": "__meta_kubernetes_pod_node_name",
    "service": "__meta_kubernetes_service_name",
    "engine_type": "__meta_kubernetes_pod_label_llm_d_ai_engine_type",
}


@dataclass(frozen=True, slots=True)
class Job:
    """One source of targets and what happens to what it finds.

    Args:
        name: the source as it was written; kept as label `discovered_by`.
        discovery: asks it.
        relabel: chooses, renames.
        access: what the targets ask for.
    """

    name: str
    discovery: Discovery
    relabel: Relabel = field(default_factory=Relabel)
    access: Access = OPEN


def jobs(settings: DiscoverySettings) -> list[Job]:
    """All sources of the settings and of their file.

    Raises:
        ConfigError: one of them cannot be understood.
    """
    found = [_job({"from": text}, "discovery.sources", settings) for text in settings.sources]
    if settings.file:
        found += _from_file(Path(settings.file).expanduser(), settings)
    names = [job.name for job in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"the source {twice} stands there twice", hint="keep one of them")
    return found


def _from_file(path: Path, settings: DiscoverySettings) -> list[Job]:
    try:
        told = toml.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot be read ({error.strerror})", where=str(path), hint="see discovery.file"
        ) from None
    except (toml.TomlError, UnicodeDecodeError) as error:
        raise ConfigError(f"not valid TOML: {error}", where=str(path), hint="mend it") from None
    _only(told, ("source", "target"), str(path))
    found = [
        _job(table, f"{path}: source {number}", settings)
        for number, table in enumerate(_tables(told, "source", path), 1)
    ]
    return found + [
        _target(table, f"{path}: target {number}")
        for number, table in enumerate(_tables(told, "target", path), 1)
    ]


def _tables(told: Mapping[str, Any], name: str, path: Path) -> list[dict[str, Any]]:
    tables = told.get(name, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"write [[{name}]]", where=str(path), hint="two brackets on each side")
    return tables


def _target(table: Mapping[str, Any], where: str) -> Job:
    _only(table, ("url", "labels", "access"), where)
    url = table.get("url")
    if not isinstance(url, str) or not url:
        raise ConfigError("a target needs a `url`", where=where, hint='url = "http://gpu-3:8000"')
    _refuse_login(url, where, "access = { username = …, password_file = … }")
    labels = _texts(table.get("labels", {}), "labels", where)
    access = access_from(_table(table.get("access", {}), "access", where), where)
    discovery = StaticDiscovery((DiscoveredTarget(url, labels),))
    return Job(f"target:{url}", discovery, Relabel(), access)


def _job(table: Mapping[str, Any], where: str, settings: DiscoverySettings) -> Job:
    source = table.get("from")
    if not isinstance(source, str) or not source.strip():
        raise ConfigError("a source needs `from`", where=where, hint=_FORMS)
    cluster = source.startswith("kubernetes:")
    _only(table, (*_OTHERS, *_RULES, *(_KUBERNETES if cluster else ())), where)
    refresh = table.get("refresh_seconds", settings.refresh_seconds)
    if isinstance(refresh, bool) or not isinstance(refresh, int | float) or refresh < 1:
        raise ConfigError("refresh_seconds must be at least 1", where=where, hint="")
    access = access_from(_table(table.get("access", {}), "access", where), where)
    asking = access_from(_table(table.get("discovery_access", {}), "access", where), where)
    discovery = _discovery(source.strip(), float(refresh), table, asking, where)
    return Job(source.strip(), discovery, _relabel(table, where, cluster=cluster), access)


def _discovery(
    source: str, refresh: float, table: Mapping[str, Any], access: Access, where: str
) -> Discovery:
    kind, _, rest = source.partition(":")
    if kind in ("http", "https") and rest.startswith("//"):
        _refuse_login(rest, where, "discovery_access = { username = …, password_file = … }")
        return HttpDiscovery(source, refresh, access)
    if kind == "file" and rest:
        return FileDiscovery(rest, min(refresh, 5.0))
    if kind == "dns" and rest:
        return _dns(rest, refresh, where)
    role, _, namespace = rest.partition("/")
    if kind == "kubernetes" and role in ("pod", "endpointslice"):
        chosen: Role = "pod" if role == "pod" else "endpointslice"
        more = {name: table[name] for name in _KUBERNETES if name in table}
        if not all(isinstance(more.get(name, ""), str) for name in _KUBERNETES if name != "every"):
            raise ConfigError("a text is needed", where=where, hint=f"for {_KUBERNETES}")
        return KubernetesDiscovery(KubernetesPlace(chosen, namespace, **more), refresh)
    raise ConfigError(f"cannot discover from `{source[:80]}`", where=where, hint=_FORMS)


def _refuse_login(address: str, where: str, hint: str) -> None:
    """Addresses are shown, logged and stored."""
    if "@" in address.partition("//")[2].partition("/")[0]:
        raise ConfigError("credentials do not belong into an address", where=where, hint=hint)


def _dns(rest: str, refresh: float, where: str) -> DnsDiscovery:
    first, _, behind = rest.partition(":")
    if first.lower() not in ("a", "aaaa", "srv"):
        return DnsDiscovery(rest, "SRV", None, refresh)
    name, _, port = behind.partition(":")
    records: dict[str, Record] = {"a": "A", "aaaa": "AAAA", "srv": "SRV"}
    record = records[first.lower()]
    needs_port = record != "SRV"
    if not name or needs_port != port.isdecimal():
        hint = "dns:srv:NAME, or dns:a:NAME:PORT"
        raise ConfigError(f"cannot discover from `dns:{rest[:80]}`", where=where, hint=hint)
    return DnsDiscovery(name, record, int(port) if needs_port else None, refresh)


def _relabel(table: Mapping[str, Any], where: str, *, cluster: bool) -> Relabel:
    labels = _texts(table.get("labels", {}), "labels", where)
    scheme, path = table.get("scheme", "http"), table.get("metrics_path", "")
    if scheme not in ("http", "https"):
        raise ConfigError("scheme must be http or https", where=where, hint="")
    if not isinstance(path, str):
        raise ConfigError("metrics_path must be a text", where=where, hint="such as /metrics")
    return Relabel(
        keep=_patterns(table.get("keep", {}), "keep", where),
        drop=_patterns(table.get("drop", {}), "drop", where),
        labels={**_SEEN_ON_KUBERNETES, **labels} if cluster else labels,
        scheme=scheme,
        metrics_path=path,
    )


def _patterns(told: Any, name: str, where: str) -> dict[str, re.Pattern[str]]:
    found = {}
    for label, pattern in _texts(told, name, where).items():
        try:
            found[label] = re.compile(pattern)
        except re.error as error:
            raise ConfigError(
                f"{name}.{label} is no pattern: {error}", where=where, hint="it is a regular one"
            ) from None
    return found


def _texts(told: Any, name: str, where: str) -> dict[str, str]:
    table = _table(told, name, where)
    if not all(isinstance(value, str) for value in table.values()):
        raise ConfigError(f"{name} must hold texts", where=where, hint=f'{name} = {{ a = "b" }}')
    return table


def _table(told: Any, name: str, where: str) -> dict[str, Any]:
    if not isinstance(told, dict):
        raise ConfigError(f"{name} must be a table", where=where, hint=f'{name} = {{ a = "b" }}')
    return told


def _only(told: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    unknown = next((name for name in told if name not in known), None)
    if unknown is not None:
        raise ConfigError(
            f"no entry `{unknown}`", where=where, hint=f"there are {', '.join(known)}"
        )
