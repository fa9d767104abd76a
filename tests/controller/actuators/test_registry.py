"""Actuators are made from settings, and what is wrong with those is said at once."""

import pytest

from controller.actuators import registry
from controller.actuators.base import Actuator
from store.clock import WallClock
from store.errors import ControllerError


def test_one_is_made_from_settings():
    """Kind, settings and pools give an actuator."""
    made = registry.create("memory", {"pools": {"a": {"replicas": 2}}}, WallClock())
    assert isinstance(made, Actuator)


def test_an_unknown_kind_names_those_there_are():
    """A typing mistake is answered with the list."""
    with pytest.raises(ControllerError, match=r"no actuator 'kubernets'.*memory"):
        registry.create("kubernets", {}, WallClock())


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "no pools"),
        ({"pools": {"a": {"replica": 1}}}, r"pool 'a': replica: unknown; did you mean replicas\?"),
        ({"pools": {"a": {"replicas": "many"}}}, "replicas: .*integer"),
        ({"pools": {"a": {}}, "limit_seconds": 0}, "limit_seconds must be above 0"),
        ({"pools": {"a": {}}, "colour": "red"}, "colour: unknown"),
    ],
)
def test_wrong_settings_are_told(given, told):
    """Each mistake is named with where it stands."""
    with pytest.raises(ControllerError, match=told):
        registry.create("memory", given, WallClock())


def test_every_setting_is_described():
    """Whoever adds a setting says what it is."""
    for kind in registry.describe():
        assert kind.about
        for setting in (*kind.settings, *kind.pool):
            assert setting.about, f"{kind.kind}.{setting.name}"
