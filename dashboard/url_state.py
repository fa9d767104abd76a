"""The one codec between a URL and what a page shows.

Everything a viewer can change is in the address, so that reload, the back button and another
person's browser give the same page. Only the colour scheme stays in the browser.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, unquote, urlencode

from store.queries.scope import join_values, split_values

# What belongs to one page, and is dropped on the way to another.
PAGE_PARAMS = (
    "table", "against", "quantity", "by", "sort", "page", "status", "over", "request", "demand",
    "series", "ahead", "pool", "decision", "policies", "startups", "seeds", "scale", "profile",
    "objective", "tune", "a", "b", "startup", "least", "most", "pools", "guards", "forecasts",
    "more", "stack", "input_weight", "output_weight", "cached_weight", "window", "weights",
    "batch_tokens", "shown", "slo", "keep", "speed",
)  # fmt: skip
SCOPE_PARAMS = ("source", "from", "to", "model", "tenant", "route", "instance")


@dataclass(frozen=True, slots=True)
class Address:
    """A page and its state.

    Attributes:
        path: segments below the prefix, decoded: `/ui/slo/chat-ttft` is ("slo", "chat-ttft").
        params: decoded query parameters; no empty names or values.
    """

    path: tuple[str, ...] = ()
    params: Mapping[str, str] = field(default_factory=dict)

    def values(self, name: str) -> tuple[str, ...]:
        """The values of one parameter that is a list."""
        return split_values(self.params.get(name, ""))

    def scope_params(self) -> dict[str, str]:
        """The parameters that say which sources, time and labels are meant."""
        return {name: self.params[name] for name in SCOPE_PARAMS if name in self.params}

    def changed(self, **changes: str | None) -> Address:
        """The same page with some parameters set, or dropped when None or "". `from_` is `from`."""
        params = dict(self.params)
        for name, value in changes.items():
            key = name.rstrip("_")
            if value:
                params[key] = value
            else:
                params.pop(key, None)
        return Address(self.path, params)

    def toggled(self, name: str, value: str) -> Address:
        """The same page with one value of a list parameter added, or removed if it was there."""
        kept = [v for v in self.values(name) if v != value]
        if len(kept) == len(self.values(name)):
            kept.append(value)
        return self.changed(**{name: join_values(kept)})

    def to(self, *path: str) -> Address:
        """Another page with the same state; what belongs to one page only is dropped."""
        params = {k: v for k, v in self.params.items() if k not in PAGE_PARAMS}
        return Address(path, params)

    def search(self) -> str:
        """The query string with its "?", or "" when there is nothing to say."""
        if not self.params:
            return ""
        return "?" + urlencode(self.params, quote_via=quote, safe=",:")

    def href(self, prefix: str) -> str:
        """The address as a link below `prefix`, such as "/ui/"."""
        return prefix + "/".join(quote(part, safe="") for part in self.path) + self.search()


def iso_z(at: datetime) -> str:
    """An aware time as addresses have it, to the microsecond."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def parse(pathname: str | None, search: str | None, prefix: str) -> Address:
    """Read what the browser shows. Never raises: what makes no sense is left to its page.

    A parameter that is given twice becomes one comma-separated list, as HTML forms send it.
    """
    rest = (pathname or prefix).removeprefix(prefix.rstrip("/"))
    path = tuple(unquote(part) for part in rest.split("/") if part)
    params: dict[str, str] = {}
    for name, value in parse_qsl((search or "").removeprefix("?")):
        params[name] = f"{params[name]},{value}" if name in params else value
    return Address(path, params)
