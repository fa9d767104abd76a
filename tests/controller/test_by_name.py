"""What is made by name: refusals that say what to write instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from controller.by_name import ByName
from store.errors import ControllerError


@dataclass(frozen=True)
class Tap:
    """One of each kind of knob."""

    litres: float = 2.0
    turns: int = 3
    drips: bool = False
    colour: str = "red"
    most: float | None = None
    parts: Mapping[str, int] | None = None
    clock: object = None
    maker: str = "us"


TAPS = ByName("tap", {"tap": Tap}, unshown=("clock",), closed=("maker",))


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"litres": "2"}, "tap tap: litres must be a number, not '2'"),
        ({"litres": True}, "litres must be a number, not True"),
        ({"litres": None}, "litres must be a number, not None"),
        ({"turns": 2.5}, "turns must be a whole number, not 2.5"),
        ({"drips": 1}, "drips must be true or false, not 1"),
        ({"colour": 1}, "colour must be text, not 1"),
        ({"most": "all"}, "most must be a number or none, not 'all'"),
        ({"liters": 2}, "tap tap has no parameter 'liters'"),
        ({"maker": "you"}, "tap tap has no parameter 'maker'"),
    ],
)
def test_what_cannot_be_is_refused(parameters: dict[str, Any], said: str) -> None:
    """Names the thing, the knob, what it takes and what was given."""
    with pytest.raises(ControllerError) as caught:
        TAPS.make("tap", parameters)
    assert said in caught.value.message


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"litres": 2, "turns": 4},
        {"drips": True, "colour": "blue", "most": None},
        {"most": 1.5, "parts": {"a": 1}, "clock": object()},
    ],
)
def test_what_can_be_is_made(parameters: dict[str, Any]) -> None:
    """A whole number is a number; what people are not told of, code may still give."""
    assert TAPS.make("tap", parameters) == Tap(**parameters)


def test_a_name_that_is_not_there() -> None:
    """The nearest and all; for its defaults too."""
    for ask in (lambda: TAPS.make("tapp", {}), lambda: TAPS.defaults("tapp")):
        with pytest.raises(ControllerError, match="there is no tap 'tapp'") as caught:
            ask()
        assert caught.value.hint == "did you mean tap? there are: tap"


def test_people_are_told_of_what_they_may_give() -> None:
    """Neither of what code alone gives, nor of what nobody may."""
    shown = ["litres", "turns", "drips", "colour", "most", "parts"]
    assert list(TAPS.defaults("tap")) == shown
    with pytest.raises(ControllerError) as caught:
        TAPS.make("tap", {"x": 1})
    assert caught.value.hint == f"it has {', '.join(shown)}"


def test_what_a_factory_takes_first_is_no_parameter() -> None:
    """What a wrapper goes around is handed over, not named."""
    around = ByName("wrapper", {"pair": lambda inner, times=2: (inner, times)})
    assert around.make("pair", {"times": 3}, "way") == ("way", 3)
    with pytest.raises(ControllerError, match="no parameter 'inner'"):
        around.make("pair", {"inner": 1}, "way")
