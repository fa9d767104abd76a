"""Start another program on some cores, and end with whoever started us.

Run as a file by its path, so that it imports next to nothing: `launch.py CORES PROGRAM ARGUMENTS…`,
cores separated by commas.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2); it survives exec


def main(arguments: list[str]) -> None:
    """Become the program."""
    cores, program, *rest = arguments
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)  # it was gone before we asked
    os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    os.execvp(program, [program, *rest])  # noqa: S606 - that is its work


if __name__ == "__main__":
    main(sys.argv[1:])
