"""Which optional parts are installed here: one line of `servescope doctor` for each extra."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata

from servescope.cli.doctor_line import Line
from servescope.config import Config

FOR_DEVELOPERS = "dev"
_REQUIREMENT = re.compile(r"""^([A-Za-z0-9][A-Za-z0-9._-]*).*;.*\bextra == ['"]([^'"]+)['"]""")


@dataclass(frozen=True, slots=True)
class Extra:
    """A name in brackets behind `pip install servescope`.

    Attributes:
        name: of the extra.
        missing: packages of it that are not installed here.
    """

    name: str
    missing: tuple[str, ...]


def lines(config: Config) -> Iterator[Line]:
    """What is installed, what is not, and what the configuration asks for in vain."""
    extras = found()
    needed = needs(config)
    whole = [extra.name for extra in extras if not extra.missing]
    absent = [extra.name for extra in extras if extra.missing and extra.name not in needed]
    if whole:
        yield Line("ok", "extras", f"installed: {', '.join(whole)}")
    if absent:
        fix = f"when you want one: {_install(absent[0])}"
        yield Line("note", "extras", f"not installed: {', '.join(absent)}", fix)
    for extra in extras:
        if extra.missing and extra.name in needed:
            text = f"{needed[extra.name]} needs {', '.join(extra.missing)}"
            yield Line("fail", "extras", text, _install(extra.name))


def found(required: Iterable[str] | None = None) -> tuple[Extra, ...]:
    """The extras of the installed servescope, by name.

    Args:
        required: lines as `importlib.metadata.requires` gives them; None asks it.
    """
    if required is None:
        required = metadata.requires("servescope") or ()
    packages: dict[str, list[str]] = {}
    for line in required:
        read = _REQUIREMENT.match(line)
        if read is not None and read[2] != FOR_DEVELOPERS:
            packages.setdefault(read[2], []).append(read[1])
    return tuple(
        Extra(name, tuple(one for one in sorted(wanted) if not _installed(one)))
        for name, wanted in sorted(packages.items())
    )


def needs(config: Config) -> Mapping[str, str]:
    """Extra -> the setting that cannot work without it."""
    asked: dict[str, str] = {}
    if any(source.startswith("kubernetes:") for source in config.discovery.sources):
        asked["kubernetes"] = "discovery.sources"
    if config.store.lake:
        asked["lake"] = "store.lake"
    for pool in config.controller.pool:
        if pool.get("actuator", {}).get("kind") == "keda_external":
            asked["keda"] = f"pool {pool.get('name')}"
    return asked


def _install(extra: str) -> str:
    return f"pip install 'servescope[{extra}]'"


def _installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
