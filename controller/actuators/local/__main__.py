"""End every process of a local fleet: `python -m controller.actuators.local FOLDER`.

Replicas go on when the controller ends; this is for when they are not to. Requests that run are
lost.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from controller.actuators.local_fleet import LocalFleet, LocalSettings
from controller.actuators.platform import NoAnswer
from store.clock import WallClock

_LIMIT_SECONDS = 60.0


async def end(folder: Path) -> str:
    """End the fleet of a folder; gives what was wrong, or ""."""
    if not (folder / "state.json").exists():
        return f"{folder} is no folder of a local fleet: there is no state.json"
    fleet = LocalFleet(LocalSettings(folder), WallClock())
    try:
        gone = await fleet.end(_LIMIT_SECONDS)
    except NoAnswer as answer:
        return answer.text
    finally:
        await fleet.aclose()
    return "" if gone else f"some have not left in {_LIMIT_SECONDS:g} s"


def main() -> int:
    """The command."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m controller.actuators.local FOLDER\n")
        return 2
    wrong = asyncio.run(end(Path(sys.argv[1]).expanduser()))
    if wrong:
        sys.stderr.write(f"{wrong}\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
