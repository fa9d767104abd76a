"""How seldom the interpreter looks through all objects for circles: every request waits meanwhile.

Beside a thousand connections that come and go, one look at everything took 130 to 200 ms, about
once a second.
"""

from __future__ import annotations

import gc

COLLECT_OBJECTS = 50_000
"""New objects after which it looks at those. What is pushed becomes hundreds of thousands of
short-lived objects a second: with Python's own 700, half of the time of decoding goes into this."""
_YOUNGER = 20
"""Looks at new objects to one at those that outlived one, and of these to one at all."""


def look_seldom() -> None:
    """From now on, of everything that is made."""
    gc.set_threshold(COLLECT_OBJECTS, _YOUNGER, _YOUNGER)


def never_look_again() -> None:
    """At what is there now: imports and settings, which stay as long as the program."""
    gc.collect()
    gc.freeze()
