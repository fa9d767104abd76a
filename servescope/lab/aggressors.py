"""Every neighbour that can disturb: our own stressors, stress-ng where it is, and real programs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from servescope.lab import stressors
from servescope.lab.stressors import Step
from servescope.lab.victims import VICTIMS
from servescope.lab.work import Place, Program
from store.errors import ConfigError

_STRESS_NG = "stress-ng"
_SEED = 11


@dataclass(frozen=True, slots=True)
class Aggressor:
    """A neighbour.

    Attributes:
        name: unique.
        about: what it wants.
        steps: makes its step; None for a program of somebody else.
        command: of a program of somebody else, without its time limit; it is paused and let go on.
        missing: why it cannot run here; None when it can.
    """

    name: str
    about: str
    steps: Callable[[Path], AbstractContextManager[Step]] | None = None
    command: tuple[str, ...] = ()
    missing: Callable[[], str | None] = lambda: None


def _own() -> Iterator[Aggressor]:
    for made in (
        stressors.spin, stressors.vector, stressors.bandwidth, stressors.thrash,
        stressors.near_cache, stressors.pages, stressors.forks, stressors.switches,
        stressors.calls, stressors.syncs, stressors.reads, stressors.loopback,
    ):  # fmt: skip
        name = made.__name__
        yield Aggressor(name, (made.__doc__ or "").strip().rstrip("."), made)


_METHODS = {
    "ng_cpu": ("its many ways to use a core", "--cpu", "1"),
    "ng_cache": ("thrashing of caches", "--cache", "1"),
    "ng_stream": ("memory bandwidth", "--stream", "1"),
    "ng_vm": ("memory taken and written", "--vm", "1", "--vm-bytes", "96M"),
    "ng_switch": ("switches of processes", "--switch", "1"),
    "ng_hdd": ("writes to a file", "--hdd", "1", "--hdd-bytes", "64M"),
}


def _no_stress_ng() -> str | None:
    found = shutil.which(_STRESS_NG)
    return None if found else "no stress-ng: apt-get install stress-ng"


def _stress_ng() -> Iterator[Aggressor]:
    for name, (about, *options) in _METHODS.items():
        command = (_STRESS_NG, "--quiet", *options)
        yield Aggressor(name, f"stress-ng, {about}", command=command, missing=_no_stress_ng)


def _programs() -> Iterator[Aggressor]:
    """Victims as neighbours of others: what real neighbours are."""
    for name in ("llm_chat", "llm_prompt", "json", "database", "torch", "frames"):
        program = VICTIMS[name]
        steps = _steps_of(program)
        yield Aggressor(f"as_{name}", f"another {program.name}", steps, missing=program.missing)


def _steps_of(program: Program) -> Callable[[Path], AbstractContextManager[Step]]:
    @contextmanager
    def steps(folder: Path) -> Iterator[Step]:
        with program.setup(Place(folder, _SEED)) as work:
            pieces = cycle(work.pieces)
            yield lambda: next(pieces)()

    return steps


AGGRESSORS: dict[str, Aggressor] = {one.name: one for one in (*_own(), *_stress_ng(), *_programs())}


def aggressor(name: str) -> Aggressor:
    """The neighbour of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in AGGRESSORS:
        raise ConfigError(
            f"no aggressor is called {name!r}", hint=f"take some of {', '.join(AGGRESSORS)}"
        )
    return AGGRESSORS[name]
