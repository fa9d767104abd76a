"""Makes one report in a process of its own: asks the server for views, renders, leaves files.

Called as `python -m servescope.reporting.worker FOLDER`; FOLDER/task.json says what is wanted.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servescope.reporting.shelf import MANIFEST
from store.clock import WallClock
from store.errors import ServescopeError

if TYPE_CHECKING:
    from servescope.reporting.making import Made

TASK = "task.json"
PROBLEM = "problem.json"
MOST_PICTURES = 4


def main(folder: Path) -> int:
    """Do the task of a folder; gives the exit code."""
    task = json.loads((folder / TASK).read_text("utf-8"))
    _limit(task)
    try:
        manifest = _made(task, folder)
    except ServescopeError as error:
        told = {"message": str(error)}
        (folder / PROBLEM).write_text(json.dumps(told), "utf-8")
        return 1
    (folder / TASK).unlink()
    (folder / MANIFEST).write_text(json.dumps(manifest), "utf-8")
    return 0


def _limit(task: Mapping[str, Any]) -> None:
    """Bounds that hold even when nobody watches any more."""
    memory, seconds = int(task["memory_bytes"]), int(task["limit_seconds"]) + 1
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _made(task: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    # Loaded under the limits.
    from servescope.cli.access import server_client
    from servescope.reporting.asked import Asked
    from servescope.reporting.making import make

    asked = Asked(
        task["template"], period=task["period"], zone=task["zone"], params=task["scope"],
        forms=tuple(task["formats"]),
    )  # fmt: skip
    templates = Path(task["templates"]) if task["templates"] else None
    with server_client(task["url"], Path(task["store"])) as access:
        made = make(
            asked,
            access,
            WallClock(),
            _silent,
            templates=templates,
            server_url=task["link"] or None,
        )
    return written(made, folder)


def written(made: Made, folder: Path) -> dict[str, Any]:
    """Put what was made into a folder; gives what it consists of."""
    from dashboard.report import letter, pictures

    document = made.document
    files = [_write(folder, "report", file) for file in made.files]
    found: dict[str, Any] = {
        "outcome": document.outcome,
        "reason": document.reason,
        "title": document.title,
        "template": document.template,
        "period": document.covered.key,
        "words": document.covered.words,
        "link": document.link,
        "lines": list(made.summary[1:]),  # the first is the title and the period
        "sections": sum(1 for section in document.sections if section.empty is None),
        "charts": sum(len(section.charts) for section in document.sections),
        "bytes": sum(one["bytes"] for one in files),
        "files": files,
    }
    if document.outcome == "made":
        images = pictures(document, MOST_PICTURES) if find_spec("matplotlib") else ()
        files += [_write(folder, "picture", image) for image in images]
        found["text"] = letter.text(document)
        found["html"] = letter.html(document, [image.name for image in images])
    return found


def _write(folder: Path, role: str, file: Any) -> dict[str, Any]:
    (folder / file.name).write_bytes(file.data)
    return {"name": file.name, "media_type": file.media_type, "bytes": len(file.data), "role": role}


def _silent(share: float, what: str) -> None:
    """Nobody watches."""


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
