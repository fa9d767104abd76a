"""TOML of others: whatever is wrong with it is one error, and every reader knows that one."""

from pathlib import Path

import pytest

from analysis.reports import template
from analysis.slo_file import parse_slo_text
from collector.agent import config as agent_config
from collector.discovery import jobs
from collector.discovery.settings import DiscoverySettings
from controller.gateway import tenant_file
from controller.profile import Profile
from servescope import config, saved_views
from servescope.cli import gateway_talk
from servescope.replaying import fleet
from store import toml
from store.errors import ServescopeError

WRONG = {
    "no TOML": "a = ",
    "nested": "a = " + "[" * 5_000,
    "thousands of digits": "a = " + "9" * 5_000,
    "thousands of hexadecimal digits": "a = {b = [0x" + "f" * 5_000 + "]}",
    "a date that is none": "a = 2026-13-01",
}
READERS = {
    "configuration": lambda path: config.load(path, {}, {}),
    "agent": lambda path: agent_config.load(path, {}, {}),
    "discovery": lambda path: jobs.jobs(DiscoverySettings(file=str(path))),
    "tenants": tenant_file.read_file,
    "fleet": fleet.read_file,
    "saved view": saved_views.read,
    "policy": gateway_talk._read,
    "template": lambda path: template.read(path.read_text("utf-8"), "x", ("traffic",)),
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_every_way_to_be_wrong_is_one_error(text):
    """`tomllib` itself ends in three different ones, or in a number that cannot be printed."""
    with pytest.raises(toml.TomlError):
        toml.loads(text)


def test_numbers_of_64_bits_are_taken():
    """What TOML has to hold is held."""
    assert toml.loads(f"a = {2**63 - 1}\nb = {-(2**63)}") == {"a": 2**63 - 1, "b": -(2**63)}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_every_file_is_refused_in_a_line(tmp_path, text, read):
    """Nobody meets a traceback for a file that is badly written."""
    path = tmp_path / "x.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ServescopeError):
        read(path)


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_objectives_say_what_is_wrong(text):
    """A text that is not TOML is a problem with a place, never an exception."""
    slos, problems = parse_slo_text(text)
    assert not slos
    assert "not valid TOML" in str(problems[0])


def test_a_policy_nested_beyond_reason_is_refused(tmp_path):
    """JSON has depths of its own."""
    path = tmp_path / "policy.json"
    path.write_text('{"a":' * 100_000, "utf-8")
    with pytest.raises(ServescopeError, match="neither JSON nor TOML"):
        gateway_talk._read(path)


def test_nothing_else_reads_toml():
    """A reader of its own would end in one of the errors that nobody expects."""
    root = Path(__file__).parents[2]
    packages = ("store", "collector", "analysis", "predictors", "controller", "servescope")
    found = [
        str(path.relative_to(root))
        for package in packages
        for path in (root / package).rglob("*.py")
        if "tomllib" in path.read_text("utf-8")
    ]
    assert found == ["store/toml.py"]


def test_a_profile_nested_beyond_reason_is_refused(tmp_path):
    """Profiles are JSON, and refused in the same way."""
    path = tmp_path / "profile.json"
    path.write_text("[" * 100_000, "utf-8")
    with pytest.raises(ServescopeError, match="is no profile"):
        Profile.load(path)
