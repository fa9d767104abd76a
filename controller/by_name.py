"""Things that people choose by name, with parameters: policies, lines, ways, rules, places."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Generic, TypeVar

from store.errors import ControllerError
from store.nearest import nearest_hint

Made = TypeVar("Made")
# An annotation's word -> what a value must be, and how to say so.
_KINDS: Mapping[str, tuple[type, str]] = {
    "bool": (bool, "true or false"),
    "int": (Integral, "a whole number"),
    "float": (Real, "a number"),
    "str": (str, "text"),
    "None": (type(None), "none"),
}


@dataclass(frozen=True, slots=True)
class ByName(Generic[Made]):
    """Makes what is asked for by name, or says what can be asked for.

    Attributes:
        what: one of them, in messages.
        factories: name -> what makes it; its keyword parameters are the knobs.
        unshown: parameters that code may give and people are not told of.
        closed: parameters that nobody may give.
    """

    what: str
    factories: Mapping[str, Callable[..., Made]]
    unshown: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()

    def make(self, name: str, parameters: Mapping[str, Any], *first: Any) -> Made:
        """One of them.

        Args:
            name: a key of `factories`.
            parameters: knobs by name; those that are not given are as documented.
            first: what the factory takes before its knobs.

        Raises:
            ControllerError: no such name, no such parameter, one of the wrong type, or what the
                factory raises itself.
        """
        factory = self._factory(name)
        allowed = list(inspect.signature(factory).parameters.values())[len(first) :]
        knobs = {one.name: one for one in allowed if one.name not in self.closed}
        for given, value in parameters.items():
            if given not in knobs:
                shown = ", ".join(one for one in knobs if one not in self.unshown)
                raise ControllerError(
                    f"{self.what} {name} has no parameter '{given}'",
                    hint=f"it has {shown or 'none'}",
                )
            _check_type(f"{self.what} {name}: {given}", knobs[given].annotation, value)
        return factory(*first, **parameters)

    def defaults(self, name: str) -> dict[str, Any]:
        """Every parameter that people are told of, with its default.

        Raises:
            ControllerError: no such name.
        """
        found = inspect.signature(self._factory(name)).parameters.values()
        hidden = (*self.unshown, *self.closed)
        return {
            one.name: one.default
            for one in found
            if one.name not in hidden and one.default is not one.empty
        }

    def _factory(self, name: str) -> Callable[..., Made]:
        factory = self.factories.get(name)
        if factory is None:
            hint = nearest_hint(name, self.factories, lists_all=True)
            raise ControllerError(f"there is no {self.what} '{name}'", hint=hint)
        return factory


def _check_type(where: str, annotation: Any, value: Any) -> None:
    """Plain types alone; what is richer is checked by the one who takes it."""
    words = str(annotation).split(" | ")
    if not all(word in _KINDS for word in words):
        return
    if not any(_is_one(word, value) for word in words):
        wanted = " or ".join(_KINDS[word][1] for word in words)
        raise ControllerError(f"{where} must be {wanted}, not {value!r}")


def _is_one(word: str, value: Any) -> bool:
    # True is a whole number to Python, and to nobody else.
    return isinstance(value, _KINDS[word][0]) and isinstance(value, bool) == (word == "bool")
