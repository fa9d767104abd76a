"""`servescope views list|show`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dashboard.saved_views import SavedView
from dashboard.url_state import Address
from servescope.cli.data import configured
from servescope.cli.output import Output
from servescope.config import views_folder
from servescope.saved_views import SavedViews

_PREFIX = "/ui/"


def run_list(config_file: Path | None, *, as_json: bool) -> None:
    """Print every saved view."""
    out = Output(as_json=as_json)
    folder = views_folder(configured(None, config_file))
    found = [_document(view) for view in SavedViews(folder).listed()]
    out.document("views", {"folder": str(folder), "views": found})
    if not found:
        out.line(f"No view is saved in {folder}.")
        return
    columns = ("name", "title", "address", "problem")
    out.table(columns, [[one[name] for name in columns] for one in found])


def run_show(name: str, config_file: Path | None, *, as_json: bool) -> None:
    """Print one saved view and its address."""
    out = Output(as_json=as_json)
    view = SavedViews(views_folder(configured(None, config_file))).get(name)
    out.document("view", _document(view))
    out.line(view.title)
    out.line(_document(view)["address"])
    for key, value in view.params.items():
        out.line(f"  {key} = {value}")


def _document(view: SavedView) -> dict[str, Any]:
    address = None if view.problem else Address(view.path, view.params).href(_PREFIX)
    return {
        "name": view.name, "title": view.title, "page": "/".join(view.path),
        "state": dict(view.params), "address": address, "problem": view.problem,
    }  # fmt: skip
