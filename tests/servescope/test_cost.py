"""`servescope cost`, its settings, and that page, API and command show one number."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from servescope.cli import access
from servescope.cli.main import main
from servescope.config import load
from store.errors import ConfigError

ROWS = Path(__file__).parents[1] / "dashboard" / "cost_rows.py"


@pytest.fixture
def fleet(runtime):
    """Two pools that ran for half a day."""
    spec = importlib.util.spec_from_file_location("servescope_cost_rows", ROWS)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    module.fill(runtime.database, runtime.clock.now())
    runtime.costs = module.RULES
    return runtime


@pytest.fixture
def run(fleet, monkeypatch, capsys):
    class Way:
        def __enter__(self):
            return access.FileAccess(fleet)

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(access, "opened", lambda config: Way())

    def call(*arguments):
        code = main([str(argument) for argument in arguments])
        return code, capsys.readouterr().out

    return call


def test_command_api_and_view_show_one_number(run, client, fleet):
    """To the last digit; what is nobody's is a row of its own."""
    view = fleet.view("cost", {})
    told = client.get("/api/v1/views/cost").json()
    assert told["measures"]["cost"]["value"] == view.measures["cost"].value
    body = json.loads(run("cost", "--json")[1])
    assert body["schema"] == "servescope.cost/1"
    assert body["data"]["measures"] == told["measures"]
    code, out = run("cost", "--by", "tenant")
    assert code == 0
    assert out.splitlines()[0] == view.sentences[0]
    assert "(idle)" in out
    assert "(starting)" in out


@pytest.mark.parametrize("by", ["pool", "model"])
def test_pools_and_models_have_their_idle_time_beside_them(run, by):
    """Each with its GPU-hours by what they were."""
    _, out = run("cost", "--by", by)
    head = next(line for line in out.splitlines() if line.startswith(by))
    assert head.split()[1:4] == ["GPU-hours", "busy", "idle"]


def test_what_it_is_not_told_by_is_refused(run, capsys):
    """With the choices."""
    assert main(["cost", "--by", "shoe-size"]) == 2
    assert "by: pool, model, tenant" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('gpu_hour = {"*" = 2.0}', "cost.currency must say what prices are in"),
        ('currency = "EUR"\ngpu_hour = {"*" = -1.0}', "must not be negative"),
        ("input_weight = 0\noutput_weight = 0", "must not both be 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path, text, words):
    """A price without a currency is no price."""
    file = tmp_path / "servescope.toml"
    file.write_text(f"[cost]\n{text}\n", "utf-8")
    with pytest.raises(ConfigError, match=words):
        load(file, {}, {"XDG_CONFIG_HOME": str(tmp_path)})


def test_pools_tell_their_cards_and_price(tmp_path):
    """The controller's settings are asked, a price of a replica is one of its cards."""
    file = tmp_path / "servescope.toml"
    file.write_text(
        """
[cost]
currency = "EUR"
[[controller.pool]]
name = "chat"
match = {model = "m"}
gpus = 4
price_per_hour = 10.0
""",
        "utf-8",
    )
    config = load(file, {}, {"XDG_CONFIG_HOME": str(tmp_path)})
    rules = config.cost.rules(config.controller)
    assert rules.gpus_of("chat", {}).value == 4
    assert rules.price_of("chat", "").value == 2.5


def test_prices_can_come_from_the_environment(tmp_path):
    """Tables are written as JSON there; what is none is refused."""
    home = {"XDG_CONFIG_HOME": str(tmp_path), "SERVESCOPE_COST__CURRENCY": "EUR"}
    told = {**home, "SERVESCOPE_COST__GPU_HOUR": '{"*h100*": 2.5}'}
    assert load(None, {}, told).cost.gpu_hour == {"*h100*": 2.5}
    with pytest.raises(ConfigError, match="SERVESCOPE_COST__GPU_HOUR"):
        load(None, {}, {**home, "SERVESCOPE_COST__GPU_HOUR": "cheap"})
