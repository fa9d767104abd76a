"""A report made and rendered: the whole way from what was asked to files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from urllib.parse import urlencode

from analysis.reports import making, periods, template
from analysis.reports.asking import Asking
from analysis.reports.document import Document
from analysis.reports.sections import SECTIONS
from analysis.views import VIEWS
from dashboard.report import File, render, summary
from servescope.cli.access import Access
from servescope.reporting.asked import Asked, period_of, sources_of
from store.clock import Clock

RENDERING_FROM = 0.9
"""Share of the work after which only rendering is left."""
Progress = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class Made:
    """A report as it is handed on.

    Attributes:
        document: what it says.
        files: rendered, in the order of the forms asked for; () when it was skipped.
        summary: at most five lines.
    """

    document: Document
    files: tuple[File, ...]
    summary: tuple[str, ...]


def make(
    asked: Asked,
    access: Access,
    clock: Clock,
    progress: Progress,
    *,
    templates: Path | None = None,
    server_url: str | None = None,
) -> Made:
    """Ask the views and render.

    Args:
        asked: what is wanted.
        access: the way to the numbers: a server, or a file that this process opened.
        clock: stamps the document, and says which period was the last.
        progress: told how far it is, 0 to 1, and with what.
        templates: folder of the user's own templates.
        server_url: where the dashboard answers, for the link; None puts none.

    Raises:
        InputError: unknown template, section, period, source or form.
        ServescopeError: the store or the server cannot be reached.
    """
    document = asked_document(
        asked, access, clock, progress, templates=templates, server_url=server_url
    )
    return rendered(document, asked.forms, progress)


def rendered(document: Document, forms: Sequence[str], progress: Progress) -> Made:
    """The files of a document; none of one that was skipped. Needs no store and no server.

    Raises:
        InputError: an unknown form, or one that cannot be made here.
    """
    files = []
    for place, form in enumerate(forms if document.outcome == "made" else ()):
        progress(RENDERING_FROM + (1 - RENDERING_FROM) * place / len(forms), form.upper())
        files.append(render(document, form))
    progress(1.0, "")
    return Made(document, tuple(files), summary(document))


def asked_document(
    asked: Asked,
    access: Access,
    clock: Clock,
    progress: Progress,
    *,
    templates: Path | None = None,
    server_url: str | None = None,
) -> Document:
    """What the report says; arguments and errors as of `make`."""
    chosen = template.find(asked.template, templates, list(SECTIONS))
    params = {**chosen.scope, **{key: text for key, text in asked.params.items() if text}}
    now = clock.now()
    sources = sources_of(access.sources(), params, now)
    period = period_of(asked, chosen, sources, now)
    asking = Asking(
        access.view, period, periods.before(period), params,
        [asdict(source) for source in sources], frozenset(VIEWS),
    )  # fmt: skip
    stamp = making.Making(
        now,
        metadata.version("servescope"),
        _link(server_url, {**params, **asking.range_of(period)}),
    )
    return making.make(
        chosen, asking, stamp, lambda share, what: progress(share * RENDERING_FROM, what)
    )


def _link(server_url: str | None, params: dict[str, str]) -> str | None:
    return f"{server_url}/ui/?{urlencode(params)}" if server_url else None
