"""From what a source tells about a target to what we scrape: choose, rename, write the address."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from collector.detect import normalise_url
from collector.discovery.model import DiscoveredTarget
from store.errors import CollectError

_LOGIN = re.compile(r"[^/@\s]*@")
_PARAMETER = "__param_"


@dataclass(frozen=True, slots=True)
class Found:
    """A target as it is scraped and kept: its address and the labels that people see."""

    url: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Relabel:
    """Which targets of a source are scraped, and under which labels.

    Args:
        keep: label -> pattern that its whole value must match; all of them.
        drop: label -> pattern; a target that matches one of them is left out.
        labels: our label -> label of the source; for `__meta_*`, which are left out otherwise.
        scheme: http or https, where the source does not tell.
        metrics_path: where the page lies, where the source does not tell; empty = /metrics.
    """

    keep: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    drop: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    scheme: str = "http"
    metrics_path: str = ""

    def apply(self, target: DiscoveredTarget) -> Found | None:
        """What to scrape; None when the rules leave the target out.

        Raises:
            CollectError: the source's address is none.
        """
        told = {"__address__": target.address, **target.labels}
        if not all(rule.fullmatch(told.get(name, "")) for name, rule in self.keep.items()):
            return None
        if any(rule.fullmatch(told.get(name, "")) for name, rule in self.drop.items()):
            return None
        seen = {name: value for name, value in told.items() if not name.startswith("__") and value}
        for ours, theirs in self.labels.items():
            if told.get(theirs):
                seen[ours] = told[theirs]
        return Found(self._url(told), seen)

    def _url(self, told: Mapping[str, str]) -> str:
        address = told["__address__"].strip()
        if "://" in address or "/" in address:
            return normalise_url(address)  # more than Prometheus takes, but what people write
        scheme = told.get("__scheme__") or self.scheme
        path = (told.get("__metrics_path__") or self.metrics_path).strip()
        query = "&".join(
            f"{quote(name.removeprefix(_PARAMETER))}={quote(value)}"
            for name, value in sorted(told.items())
            if name.startswith(_PARAMETER)
        )
        path = f"/{path.lstrip('/')}" if path else "/metrics"
        return normalise_url(f"{scheme}://{address}{path}{f'?{query}' if query else ''}")


def found_of(
    relabel: Relabel, targets: tuple[DiscoveredTarget, ...]
) -> tuple[dict[str, Found], list[str]]:
    """What to scrape by address, and one line for each target that cannot be."""
    found: dict[str, Found] = {}
    problems: list[str] = []
    for target in targets:
        try:
            one = relabel.apply(target)
        except CollectError as error:
            problems.append(f"{_LOGIN.sub('***@', target.address)[:100]}: {error.message}")
            continue
        if one is not None:
            found.setdefault(one.url, one)
    return found, problems
