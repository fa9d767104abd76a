"""Where the gateway's engines come from, and settings that cannot work."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from controller.gateway.engine_facts import Facts
from controller.gateway.fleet import Instance, Pace
from controller.gateway.gate import Gate, Policies
from controller.gateway.health import Health
from controller.gateway.queueing.fcfs import Fcfs
from controller.gateway.routing.least_outstanding import LeastOutstanding
from controller.gateway.upstream import HealthSettings
from servescope.config import load
from servescope.gateway import assembly
from servescope.gateway.settings import GatewaySettings
from servescope.gateway.upstreams import Upstreams, named, read_file
from store.clock import VirtualClock
from store.errors import ConfigError, ControllerError


def parts(file, *fixed):
    """A gate that nobody asks, and what watches the file."""
    clock = VirtualClock(datetime(2026, 1, 1, tzinfo=UTC))
    gate = Gate(Policies(Fcfs(), LeastOutstanding()))
    health = Health(gate, clock, HealthSettings(), 1.0)
    return gate, health, Upstreams(health, named(fixed), file, clock)


def write(file, *addresses):
    """As the local fleet does."""
    told = [{"address": each, "replica": f"r{number}"} for number, each in enumerate(addresses)]
    aside = file.with_suffix(".part")
    aside.write_text(json.dumps({"pools": {"chat": told}}))
    aside.replace(file)


def test_replicas_come_and_go_with_the_fleet_s_file(tmp_path):
    """A new one is taken in, one that vanished gets nothing new but keeps what it has."""
    file = tmp_path / "endpoints.json"
    write(file, "127.0.0.1:9001")
    gate, health, upstreams = parts(file, "fixed=http://127.0.0.1:9000")
    upstreams.look()
    assert set(health.upstreams) == {"fixed", "chat/r0"}
    write(file, "127.0.0.1:9001", "127.0.0.1:9002")
    upstreams.look()
    assert health.upstreams["chat/r1"].url == "http://127.0.0.1:9002"
    gate.join(Instance("chat/r0", "http://127.0.0.1:9001"))
    write(file)
    upstreams.look()
    assert set(health.upstreams) == {"fixed"}
    assert gate.instances == {}


def test_a_file_that_cannot_be_read_changes_nothing_and_is_told(tmp_path):
    """The last good one stays."""
    file = tmp_path / "endpoints.json"
    write(file, "127.0.0.1:9001")
    _, health, upstreams = parts(file)
    upstreams.look()
    for nonsense in ("{", '{"pools": 3}', "[1]", "null"):
        file.write_text(nonsense)
        upstreams.look()
        assert "names no engines" in upstreams.problem
    file.unlink()
    upstreams.look()
    assert set(health.upstreams) == {"chat/r0"}
    write(file, "127.0.0.1:9001")
    upstreams.look()
    assert upstreams.problem == ""


def test_target_groups_name_engines_with_models_and_roles(tmp_path):
    """As Prometheus' file_sd has them."""
    file = tmp_path / "targets.json"
    groups = [
        {"targets": ["gpu-1:8000", "gpu-2:8000"], "labels": {"model": "big", "role": "prefill"}},
        {"targets": ["http://gpu-3:8000"]},
    ]
    file.write_text(json.dumps(groups))
    found = {one.name: one for one in read_file(file)}
    assert found["gpu-1:8000"].models == {"big"}
    assert found["gpu-2:8000"].role == "prefill"
    assert found["http://gpu-3:8000"].url == "http://gpu-3:8000"


def test_engines_may_be_named():
    """By address, or NAME=URL; two of one name are a mistake."""
    assert [one.name for one in named(["http://a:1", "b=http://c:2"])] == ["a:1", "b"]
    with pytest.raises(ConfigError, match="two engines are called 'b'"):
        named(["b=http://c:2", "b=http://d:2"])


def test_policies_are_made_by_name_with_parameters():
    """Names alone, or tables."""
    settings = GatewaySettings(
        line={"name": "vtc"},
        way="power-of-two",
        around=("slow-start", {"name": "sticky"}),
        rules=("always", {"name": "token-bucket", "requests_per_minute": 60}),
    )
    made = assembly.policies(settings)
    assert made.line.spec.name == "vtc"
    assert [rule.spec.name for rule in made.rules] == ["always", "token-bucket"]
    with pytest.raises(ControllerError, match="no way 'nowhere'"):
        assembly.policies(GatewaySettings(way="nowhere"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("seats = 0", "gateway.seats must be at least 1"),
        ("deadline_seconds = 0", "gateway.deadline_seconds must be above 0"),
        ("retries = -1", "gateway.retries must not be negative"),
        ("rules = [{rate = 3}]", "gateway.rules: a table needs a name"),
        ("line = {weight = 3}", "gateway.line: a table needs a name"),
        ('log_level = "loud"', "gateway.log_level must be"),
    ],
)
def test_settings_that_cannot_work_are_told_by_name(tmp_path, text, problem):
    """Before anything starts."""
    file = tmp_path / "servescope.toml"
    file.write_text(f"[gateway]\n{text}\n")
    with pytest.raises(ConfigError, match=problem):
        load(file, environment={})


def test_a_certificate_that_cannot_be_used_is_named(tmp_path):
    """With the setting to mend."""
    with pytest.raises(ConfigError, match=r"certificate cannot be used.*tls_certificate"):
        assembly.tls(GatewaySettings(tls_certificate=str(tmp_path / "none.pem")))


def test_labels_of_a_target_say_what_it_can_do(tmp_path):
    """Seats, cache and pace; a pace of which a number is missing is none."""
    file = tmp_path / "targets.json"
    pace = {"prompt_token_seconds": "0.0001", "step_seconds": "0.02", "sequence_seconds": "0"}
    file.write_text(json.dumps([
        {"targets": ["a:1"], "labels": {"seats": "64", "cache_tokens": "200000", **pace}},
        {"targets": ["b:1"], "labels": {"seats": "0", "step_seconds": "0.02"}},
    ]))  # fmt: skip
    one, other = read_file(file)
    assert (one.told, one.pace) == (Facts(64, 200_000), Pace(1e-4, 0.02, 0.0))
    assert (other.told, other.pace) == (Facts(), None)
    _, health, upstreams = parts(file)
    upstreams.look()
    assert health.upstreams["a:1"].known == Facts(64, 200_000)


@pytest.mark.parametrize("pace", [(1e-4, 0.02), (1e-4, -0.02, 0.0), (1e-4, float("nan"), 0.0)])
def test_a_pace_that_cannot_be_is_refused(pace):
    """Three numbers of seconds, or none."""
    with pytest.raises(ValueError, match=r"gateway\.pace must be three numbers"):
        GatewaySettings(pace=pace)
