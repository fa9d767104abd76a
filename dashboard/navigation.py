"""The pages there are, and those that are still to come."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.measure import View
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.url_state import Address

# A body gets None instead of a view when its panel has no view of its own.
Body = Callable[[View | None, Scene, Services], Sequence[Any]]


def no_options(address: Address) -> Mapping[str, str]:
    """Most views have no options."""
    return {}


def always(address: Address) -> bool:
    """Every address says enough."""
    del address
    return True


@dataclass(frozen=True, slots=True)
class Panel:
    """A part of a page that one view fills; it loads, ages and fails on its own.

    Attributes:
        spot: unique name over all pages, such as "fleet-main".
        view: key of `analysis.views.VIEWS`; None when it shows no numbers.
        body: view to components.
        options: the view's options from the address.
        asks: whether the address says enough to ask the view; else the body is drawn without.
        follows_clock: whether the refresh interval draws it again.
        is_aside: whether it stays silent without data, because another panel says why.
        says_why_empty: whether it says so all the same, for a reason of its own.
        draws_empty: whether its body says itself why there is nothing, since it holds choices that
            lead on.
        is_silent: whether it shows nothing rather than an error: nobody came for it.
        is_still: whether it is drawn anew only when it says something else, so that what somebody
            types into it stays.
        is_compared: whether it means anything beside another range, model or source; single
            requests do not.
    """

    spot: str
    view: str | None
    body: Body
    options: Callable[[Address], Mapping[str, str]] = no_options
    asks: Callable[[Address], bool] = always
    follows_clock: bool = True
    is_aside: bool = False
    says_why_empty: bool = False
    draws_empty: bool = False
    is_silent: bool = False
    is_still: bool = False
    is_compared: bool = True


@dataclass(frozen=True, slots=True)
class Page:
    """One page.

    Attributes:
        title: short name.
        question: the one question it answers.
        panels: from top to bottom.
        top: what stands above the panels, such as tabs.
        named_by_path: whether the title ends in the path's own name, such as an objective's.
    """

    title: str
    question: str
    panels: tuple[Panel, ...]
    top: Callable[[Scene], Sequence[Any]] | None = None
    named_by_path: bool = False


@dataclass(frozen=True, slots=True)
class NavItem:
    """An entry of the navigation; one without a path is still to come and says with what."""

    title: str
    path: tuple[str, ...] | None
    icon: str
    comes_with: str = ""


NAVIGATION: tuple[tuple[str, tuple[NavItem, ...]], ...] = (
    (
        "Observe",
        (
            NavItem("Fleet", (), "fleet"),
            NavItem("SLOs", ("slo",), "slo"),
            NavItem("Latency", ("latency",), "latency"),
            NavItem("Alerts", ("alerts",), "alerts"),
        ),
    ),
    (
        "Understand",
        (
            NavItem("Workload", ("workload",), "workload"),
            NavItem("Fairness", ("fairness",), "fairness"),
            NavItem("Cold starts", ("cold-starts",), "cold"),
            NavItem("Degradation", ("degradation",), "degradation"),
        ),
    ),
    (
        "Act",
        (
            NavItem("Predictors", ("predictors",), "predictors"),
            NavItem("Controller", ("controller",), "controller"),
            NavItem("What-if", ("what-if",), "whatif"),
        ),
    ),
    (
        "Keep",
        (
            NavItem("Cost", ("cost",), "cost"),
            NavItem("Reports", ("reports",), "reports"),
            NavItem("Admin", ("admin",), "admin"),
        ),
    ),
)


def go_keys() -> dict[tuple[str, ...], str]:
    """The letter that leads to each page after `g`: the first of its title that is still free."""
    found: dict[tuple[str, ...], str] = {}
    for _, items in NAVIGATION:
        for item in items:
            letters = (letter for letter in item.title.lower() if letter.isalpha())
            free = next((letter for letter in letters if letter not in found.values()), None)
            if item.path is not None and free is not None:
                found[item.path] = free
    return found
