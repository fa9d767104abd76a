"""The units: systemd takes them, they are confined, and what they name exists."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from servescope import reference
from servescope.config import SECTIONS
from servescope.gateway.settings import GatewaySettings
from servescope.process import STOP_SECONDS

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "deploy" / "systemd").iterdir(), key=lambda path: path.stem)
PROGRAM = "/opt/servescope/bin/servescope"
MOST_EXPOSED = 2.0
"""Of 10; systemd calls up to 2 well protected, and a unit without any of this has 9.6."""
ASSIGNED = re.compile(r"SERVESCOPE_([A-Z]+)__([A-Z_]+)=")


def name(path):
    return path.stem


@pytest.fixture
def analyze():
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd-analyze here: the units were NOT looked at by systemd")
    return program


class Unit(configparser.RawConfigParser):
    """Settings of a unit; of one that stands there twice the last."""

    def __init__(self, path):
        super().__init__(strict=False, interpolation=None)
        self.optionxform = str
        self.read_string(path.read_text("utf-8"))


@pytest.mark.parametrize("path", UNITS, ids=name)
def test_systemd_takes_the_unit(path, analyze, tmp_path):
    """Without a word; the program is one that is there."""
    unit = tmp_path / path.name
    unit.write_text(path.read_text("utf-8").replace(PROGRAM, "/bin/true"))
    done = subprocess.run(
        [analyze, "verify", "--man=no", "--recursive-errors=no", unit],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("path", UNITS, ids=name)
def test_a_unit_is_confined(path, analyze):
    """By systemd's own measure of exposure."""
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager",
         f"--threshold={MOST_EXPOSED * 10:.0f}", path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-400:]


def test_there_is_a_unit_for_each_process():
    """Server, agent and gateway."""
    assert [path.stem for path in UNITS] == ["servescope", "servescope-agent", "servescope-gateway"]


@pytest.mark.parametrize("path", UNITS, ids=name)
def test_its_command_can_be_typed(path):
    """Command and options exist."""
    program, command, *rest = Unit(path)["Service"]["ExecStart"].split()
    (found,) = (one for name, one in reference.commands() if name.split()[-1] == command)
    options = {option for parameter in found.params for option in parameter.opts}
    assert program == PROGRAM
    assert options
    assert {word for word in rest if word.startswith("--")} <= options


@pytest.mark.parametrize("path", UNITS, ids=name)
def test_its_settings_exist(path):
    """Also those in comments, which people uncomment."""
    for section, key in ASSIGNED.findall(path.read_text("utf-8")):
        assert key.lower() in SECTIONS[section.lower()].__dataclass_fields__, f"{section}__{key}"


@pytest.mark.parametrize("path", UNITS, ids=name)
def test_secrets_come_from_files_alone(path):
    """As credentials: neither in the unit nor in the environment, which others can read."""
    for variable in re.findall(r"\b([A-Z_]+)=", path.read_text("utf-8")):
        secret = {"TOKEN", "SECRET", "PASSWORD", "KEY"} & set(variable.split("_"))
        assert not secret or variable.endswith("_FILE"), variable


@pytest.mark.parametrize("path", UNITS, ids=name)
def test_it_may_end_in_order(path):
    """Streams of a gateway drain, and what the server has to end beside it gets its time."""
    limit = float(Unit(path)["Service"]["TimeoutStopSec"])
    drains = path.stem != "servescope-agent"
    assert limit > (GatewaySettings().drain_seconds + STOP_SECONDS if drains else STOP_SECONDS)
