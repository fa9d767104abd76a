"""Files that people write: objectives, settings, tenants, and the other TOML, JSON and YAML."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from analysis.reports import template
from analysis.slo_file import parse_slo_text
from collector.agent import config as agent_config
from collector.discovery import jobs
from collector.discovery.groups import GroupsError, read_json, read_yaml, targets_of
from collector.discovery.settings import DiscoverySettings
from controller.gateway import tenant_file
from controller.profile import Profile
from fuzzing.target import Take, Target
from servescope import config, saved_views
from servescope.cli import gateway_talk
from servescope.replaying import fleet
from store.errors import ServescopeError

_WORDS = (
    b"[[slo]]\n",
    b"[slo.match]\n",
    b"= ",
    b'"',
    b"'''",
    b"true\n",
    b"1979-05-27",
    b"inf",
    b"nan",
    b"[[",
    b"]]",
    b"{ a = ",
    b"\n",
    b"9" * 5000,
    b"[" * 2000,
    b"0x",
    b"1_0",
    b"\\u0000",
    b"\\ud800",
    b"#",
)
_SLO = b"""[[slo]]
name = "chat-ttft"
kind = "ttft"
threshold_seconds = 0.5
target_ratio = 0.99
window = "30d"
minimum_bad_events = 20
count_aborted = true
[slo.match]
model = ["a", "b"]
[[slo.alert]]
severity = "page"
long = "1h"
short = "5m"
burn = 14.4
[[slo]]
name = "all"
kind = "goodput"
ttft_seconds = 1
e2e_seconds = 9.5
target_ratio = 0.9
window = "month"
time_zone = "Europe/Berlin"
"""
_TENANTS = b"""keys_required = true
most_tenants = 50
[class.online]
ttft_seconds = 1.0
priority = 3
[class.batch]
best_effort = true
[default]
weight = 0.5
[tenant.acme]
weight = 2
class = "online"
classes = ["batch"]
keys = ["sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"]
"""
_CONFIG = b"""[server]
listen = "127.0.0.1:8787"
allowed_hosts = ["a.example"]
api_rows = 1000
[store]
raw_days = 7
[collector]
targets = ["http://gpu-1:8000"]
scrape_interval_seconds = 5.0
[discovery]
sources = ["dns:a.example"]
[controller]
mode = "dry-run"
[gateway]
upstreams = ["e0=http://127.0.0.1:1"]
queueing = "fcfs"
[agent]
server = "http://s:8787"
[alerts]
accept = true
"""
_OTHERS: dict[bytes, tuple[bytes, ...]] = {
    b"F": (b'gpus = 8\n[[pool]]\nname = "a"\nprofile = "p"\nreplicas = 2\n',),
    b"T": (b'kind = "daily"\ntitle = "x"\nsections = ["traffic", "cost"]\n',),
    b"V": (b'title = "x"\npage = "fleet/now"\n[state]\nfrom = "now-1h"\n',),
    b"D": (b'[[source]]\nfrom = "dns:a.b"\nrefresh_seconds = 5\nkeep = { a = "b" }\n[[target]]\n'
           b'url = "http://a:1"\nlabels = { rack = "a" }\naccess = { ca_file = "/x" }\n',),
    b"Y": (b'- targets: ["a:1", "b:2"]\n  labels:\n    job: vllm\n',
           b"- &a {targets: [a]}\n- *a\n", b"a: !!python/object:x\n"),
    b"J": (b'[{"targets": ["a:1"], "labels": {"job": "vllm"}}]',),
    b"P": (b'{"name": "p", "step": {"a": 1.0}, "notes": ["x"], "error": null}',),
    b"A": (_CONFIG,), b"G": (b'{"policy": {"rules": ["has-replica"]}}', b"[policy]\nway = 'x'\n"),
}  # fmt: skip


def _slo_made(folder: Path, ending: ExitStack) -> Take:
    del folder, ending
    return lambda data: _told(parse_slo_text(data.decode("utf-8", "replace")))


def _told(read: tuple[Any, ...]) -> None:
    for problem in read[1]:
        str(problem)


def _reading(folder: Path, name: str, read: Callable[[Path], object]) -> Take:
    """Write each input to one file and read that; only errors of our own may come."""
    path = folder / name

    def take(data: bytes) -> None:
        path.write_bytes(data)
        try:
            read(path)
        except ServescopeError:
            return

    return take


def _config_made(folder: Path, ending: ExitStack) -> Take:
    del ending
    return _reading(folder, "servescope.toml", lambda path: config.rows(config.load(path, {}, {})))


def _tenants_made(folder: Path, ending: ExitStack) -> Take:
    del ending
    return _reading(folder, "tenants.toml", tenant_file.read_file)


def _others_made(folder: Path, ending: ExitStack) -> Take:
    del ending
    readers: dict[bytes, Callable[[Path], object]] = {
        b"F": lambda path: fleet.checked(fleet.read_file(path)["fleet"]),
        b"T": lambda path: template.read(
            path.read_text("utf-8", "replace"), "x", ("traffic", "cost", "slo")
        ),
        b"V": saved_views.read,
        b"D": lambda path: jobs.jobs(DiscoverySettings(file=str(path))),
        b"Y": lambda path: _groups(read_yaml, path),
        b"J": lambda path: _groups(read_json, path),
        b"P": Profile.load,
        b"A": lambda path: agent_config.load(path, {}, {}),
        b"G": gateway_talk._read,
    }
    takes = {key: _reading(folder, f"{key.decode()}.x", read) for key, read in readers.items()}
    order = tuple(takes.values())
    return lambda data: takes.get(data[:1], order[sum(data[:1]) % len(order)])(data[1:])


def _groups(read: Callable[[bytes], Any], path: Path) -> None:
    try:
        targets_of(read(path.read_bytes()), {})
    except GroupsError:
        return


def _seeds_of(*texts: bytes) -> Callable[[Path], Sequence[bytes]]:
    return lambda folder: texts


SLO = Target("slo", "files of objectives", _seeds_of(_SLO), _slo_made, _WORDS, is_text=True)
CONFIG = Target("config", "servescope.toml", _seeds_of(_CONFIG), _config_made, _WORDS, is_text=True)
TENANTS = Target(
    "tenants",
    "files of tenants, keys and classes",
    _seeds_of(_TENANTS),
    _tenants_made,
    _WORDS,
    is_text=True,
)
OTHERS = Target(
    "files",
    "fleets, templates, saved views, discovery, file_sd, profiles, policies",
    _seeds_of(*(key + one for key, told in _OTHERS.items() for one in told)),
    _others_made,
    (*_WORDS, b"- ", b": ", b"&a ", b"*a", b"!!", b"<<: "),
    is_text=True,
)
