"""A report as PDF: by WeasyPrint, else by Chromium, else a message that says what to install."""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from analysis.reports.document import Document
from dashboard.report.html import page
from dashboard.report.svg import PRINTED
from store.errors import InputError

CHROMIUM_SECONDS = 60.0
_CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FLAGS = (
    "--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-pdf-header-footer",
)  # fmt: skip


def rendered(document: Document) -> bytes:
    """The page as PDF.

    Raises:
        InputError: neither WeasyPrint nor Chromium is here, or Chromium failed.
    """
    text = page(document, PRINTED)
    typesetter = weasyprint()
    return by_chromium(text) if typesetter is None else by_weasyprint(typesetter, text)


def weasyprint() -> ModuleType | None:
    """WeasyPrint; None when it, or the library of Pango below it, is not installed."""
    try:
        return importlib.import_module("weasyprint")
    except (ImportError, OSError):
        return None


def by_weasyprint(typesetter: ModuleType, text: str) -> bytes:
    """Typeset here: the same text gives the same bytes, and no address is ever opened."""
    made: bytes = typesetter.HTML(string=text, url_fetcher=_refuse).write_pdf(
        pdf_identifier=hashlib.sha256(text.encode()).digest()[:16], pdf_tags=True
    )
    return made


def _refuse(url: str, *_: Any, **__: Any) -> NoReturn:
    raise ValueError(f"a report needs nothing beside itself, not even {url[:80]}")


def by_chromium(text: str) -> bytes:
    """Printed by a Chromium that is there.

    Raises:
        InputError: there is none, or it failed.
    """
    named = os.environ.get("SERVESCOPE_CHROMIUM")
    program = named or next(filter(None, map(shutil.which, _CHROMIUMS)), None)
    if program is None:
        raise InputError(
            "no PDF can be made here", hint="pip install 'servescope[pdf]', or install Chromium;"
            " HTML prints well from any browser",
        )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "report.html", Path(folder) / "report.pdf"
        source.write_text(text, "utf-8")
        command = [
            program, *_FLAGS, f"--user-data-dir={folder}/profile", f"--print-to-pdf={target}",
            source.as_uri(),
        ]  # fmt: skip
        if os.geteuid() == 0:
            command.insert(1, "--no-sandbox")  # Chromium refuses to start as root otherwise
        return _printed(command, target)


def _printed(command: list[str], target: Path) -> bytes:
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command over a file of our own
            command, capture_output=True, timeout=CHROMIUM_SECONDS, check=False
        )
    except (subprocess.TimeoutExpired, OSError) as error:
        raise InputError(f"Chromium made no PDF: {error}") from error
    if not target.exists():
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason told"]
        raise InputError(f"Chromium made no PDF: {said[-1]}")
    return target.read_bytes()
