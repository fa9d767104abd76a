"""What gateways decide by, as a document: the settings' own words, checked by the registries."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from controller.gateway.admission import registry as admission
from controller.gateway.admission.base import Place
from controller.gateway.admission.lasting import numbered
from controller.gateway.gate import GateLimits, Policies
from controller.gateway.queueing import registry as queueing
from controller.gateway.queueing.base import Line
from controller.gateway.routing import registry as routing
from controller.gateway.routing.base import Way
from servescope.gateway.settings import Choice, GatewaySettings
from store.errors import InputError, ServescopeError
from store.nearest import nearest_hint

FIELDS = ("line", "way", "around", "rules", "places", "most_waiting", "most_waiting_of_tenant")
_LISTS = ("around", "rules", "places")
_T = TypeVar("_T")


def policies(
    settings: GatewaySettings,
    tenant_rules: Mapping[str, Mapping[str, Any]] | None = None,
    before: tuple[GatewaySettings, Policies] | None = None,
) -> Policies:
    """What decides, by name.

    Args:
        settings: as they are, or with a policy from elsewhere.
        tenant_rules: rule -> parameters, asked after those of the settings: limits of tenants.
        before: what is in force, with its settings: a line, a way or places that stay the same are
            gone on with, so that a new limit does not make them forget what they learnt.

    Raises:
        ControllerError: no such policy, or a parameter it does not have.
    """
    of_tenants = tenant_rules or {}
    rules = [made(one, admission.make_rule) for one in settings.rules]
    names = [*numbered(rule.spec.name for rule in rules), *(f"tenants/{one}" for one in of_tenants)]
    rules += [admission.make_rule(name, **told) for name, told in of_tenants.items()]
    told, old = before or (None, None)
    if old is None or told is None:
        return Policies(_line(settings), _way(settings), rules, _places(settings), names)
    return Policies(
        old.line if told.line == settings.line else _line(settings),
        old.way if (told.way, told.around) == (settings.way, settings.around) else _way(settings),
        rules,
        old.places if told.places == settings.places else _places(settings),
        names,
    )


def _line(settings: GatewaySettings) -> Line:
    return made(settings.line, queueing.make)


def _way(settings: GatewaySettings) -> Way:
    way, parameters = _split(settings.way)
    return routing.wrapped(routing.make(way, **parameters), dict(map(_split, settings.around)))


def _places(settings: GatewaySettings) -> tuple[Place, ...]:
    return tuple(made(one, admission.make_place) for one in settings.places)


def limits(settings: GatewaySettings) -> GateLimits:
    """Hard ends of the queue."""
    return GateLimits(settings.most_waiting, settings.most_waiting_of_tenant)


def with_policy(settings: GatewaySettings, document: Mapping[str, Any]) -> GatewaySettings:
    """The settings with a policy in place of their own; what it leaves out stays.

    Raises:
        InputError: it is none.
    """
    _check_fields(document)
    told: dict[str, Any] = dict(document)
    for name in _LISTS:
        if name in told:
            told[name] = tuple(_choices(name, told[name]))
    for name in ("line", "way"):
        if name in told:
            (told[name],) = _choices(name, [told[name]])
    try:
        return dataclasses.replace(settings, **told)
    except (ValueError, TypeError) as error:
        raise InputError(str(error).replace("gateway.", ""), hint="see docs/gateway.md") from error


def check(document: Any) -> dict[str, Any]:
    """A policy that can be put in force: every name and parameter is made once.

    Raises:
        InputError: it cannot; says what and why.
    """
    if not isinstance(document, dict):
        raise InputError("a policy is an object", hint=f"with some of: {', '.join(FIELDS)}")
    try:
        policies(with_policy(GatewaySettings(), document))
    except InputError:
        raise
    except ServescopeError as error:
        raise InputError(error.message, hint=error.hint) from error
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(f"a parameter is of the wrong type: {error}"[:300]) from error
    return document


def made(choice: Choice, make: Callable[..., _T]) -> _T:
    """A policy by name, or by a table with `name` and parameters."""
    name, parameters = _split(choice)
    return make(name, **parameters)


def _check_fields(document: Mapping[str, Any]) -> None:
    for name in document:
        if name not in FIELDS:
            hint = nearest_hint(name, FIELDS)
            raise InputError(f"a policy has no '{str(name)[:100]}'", hint=hint)
    for name in ("most_waiting", "most_waiting_of_tenant"):
        value = document.get(name, 1)
        if isinstance(value, bool) or not isinstance(value, int):
            raise InputError(f"{name} must be a whole number")


def _choices(field: str, told: Any) -> list[Choice]:
    if not isinstance(told, list):
        raise InputError(f"{field} must be a list")
    for one in told:
        named = one.get("name") if isinstance(one, dict) else one
        if not isinstance(named, str) or not named:
            raise InputError(f"{field}: each is a name, or an object with name and parameters")
    return told


def _split(choice: Choice) -> tuple[str, dict[str, Any]]:
    if isinstance(choice, str):
        return choice, {}
    return choice["name"], {key: choice[key] for key in choice if key != "name"}
