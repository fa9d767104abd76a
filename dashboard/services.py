"""What the pages are handed: views, the catalogue of sources, the clock, and whom to tell.

The server fills this in (and puts its single-flight cache behind `view`); tests fill it with
rows of their own. No page opens a database, reads the time or calls the API over HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from analysis.measure import View
from dashboard.alert_desk import AlertDesk
from dashboard.model_desk import ModelDesk
from dashboard.people_desk import Account, PeopleDesk
from dashboard.report_desk import ReportDesk
from dashboard.saved_views import SavedDesk
from dashboard.slo_desk import SloDesk
from store.access import Rights
from store.condition import Condition
from store.queries.scope import SourceInfo


class ViewFunction(Protocol):
    """Compute (or take from the cache) one view of `analysis.views.VIEWS`."""

    def __call__(self, name: str, params: Mapping[str, str], **options: str) -> View:
        """Answer with the view `name` for URL parameters.

        Args:
            name: a key of `analysis.views.VIEWS`.
            params: the URL's parameters; those that are no part of a scope (`refresh`, `tz`,
                `table`, …) must be ignored.
            options: the view's own options, such as `slo="chat-ttft"`.

        Raises:
            ServescopeError: bad parameters, a query past its time limit, a store in trouble.
        """
        ...


@dataclass(frozen=True, slots=True)
class DataAge:
    """How fresh the live data is.

    Attributes:
        newest_at: newest live sample (aware UTC); None when there never was one.
        fresh: targets that answered within the last three scrape intervals.
        total: targets there are.
        stale_after_seconds: from this age on, pages say that the data is old.
    """

    newest_at: datetime | None = None
    fresh: int = 0
    total: int = 0
    stale_after_seconds: float = 60.0


Document = Mapping[str, Any]


class CandidateDesk(Protocol):
    """Policies that are watched beside those that decide; documents of /controller/candidates.

    `expected` is the version of the candidate, or the newest of the pools, that was seen.
    """

    def listed(self) -> Document:
        """All candidates: those that are open or decide first."""
        ...

    def compared(self, candidate_id: int, hours: float | None = None) -> Document:
        """One beside the policy that decides; takes a model's time."""
        ...

    def withdraw(
        self, candidate_id: int, by: str, comment: str = "", expected: int | None = None
    ) -> Document:
        """Do not watch it any more."""
        ...

    def adopt(
        self, candidate_id: int, by: str, comment: str, expected: int | None = None,
        override: str = "",
    ) -> Document:  # fmt: skip
        """Let it decide its pools; needs a comment."""
        ...

    def restore_policy(
        self, pools: Sequence[str], by: str, comment: str, expected: int | None = None
    ) -> Sequence[Document]:
        """Let what the configuration names decide again; needs a comment."""
        ...


class ControlDesk(Protocol):
    """How the controller stands, and what it is told; every change is a person's wish.

    Documents are those of the REST API under /controller. Changes raise a `ServescopeError`: not
    allowed, no such pool, or, with a `state`, that somebody was faster. `expected` is the newest
    version that was seen of the pools; () is all pools.
    """

    @property
    def candidates(self) -> CandidateDesk:
        """Policies that are watched beside those that decide."""
        ...

    def status(self) -> Document:
        """Pools with modes, freezes and numbers; what waits for a person; the version."""
        ...

    def refused_modes(self) -> Mapping[str, Mapping[str, Document]]:
        """Pool -> mode that it may not be set to now -> why, hint, may_override."""
        ...

    def explain(self, decision_id: int) -> Document:
        """Why a decision is what it is, and what would flip it; may take seconds."""
        ...

    def rollback_of(self, decision_id: int) -> Document:
        """What a rollback would do."""
        ...

    def mode(
        self, pools: Sequence[str], mode: str, by: str, comment: str, expected: int | None = None,
        override: str = "",
    ) -> Sequence[Document]:  # fmt: skip
        """Set the mode of pools."""
        ...

    def freeze(
        self, pools: Sequence[str], seconds: float | None, by: str, comment: str = "",
        expected: int | None = None,
    ) -> Sequence[Document]:  # fmt: skip
        """Hold pools as they are, for a while or, with None, until resumed."""
        ...

    def resume(
        self, pools: Sequence[str], by: str, comment: str, expected: int | None = None
    ) -> Sequence[Document]:
        """End freezes; needs a comment."""
        ...

    def approve(self, decision_id: int, by: str, comment: str = "") -> Document:
        """Do a decision that waits."""
        ...

    def reject(self, decision_id: int, by: str, comment: str = "") -> Document:
        """Do not do a decision that waits."""
        ...

    def rollback(
        self, decision_id: int, by: str, comment: str, expected: int | None = None
    ) -> Document:
        """Return a pool to what it was before a decision."""
        ...


class ReplayDesk(Protocol):
    """Comparisons by replay: asked for, watched, ended. They run in processes of their own."""

    def choices(self) -> Mapping[str, Sequence[str]]:
        """What may be chosen: `policies`, `usual` (those taken without a choice), `profiles`.

        Also `pools`, which are configured and can be replayed, and `pools_without_profile`, which
        cannot; both may be left out.
        """
        ...

    def progress(self, replay_id: str) -> Document | None:
        """share, left_seconds, text, waiting_before; None when it does not wait or run."""
        ...

    def submit(self, about: Mapping[str, Any], by: str) -> Document:
        """Queue one; gives its replay_id and how well its profile is known to fit."""
        ...

    def cancel(self, replay_id: str, by: str) -> str:
        """End one; gives its state."""
        ...

    def propose(self, replay_id: str, about: Mapping[str, Any], by: str) -> Document:
        """Record a row as a candidate that is watched in dry-run."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a page may use.

    Attributes:
        view: see `ViewFunction`.
        catalog: all sources of the store, the live fleet included.
        now: the wall clock, aware UTC.
        data_age: freshness of the live data.
        label_values: values to choose from, by "model", "tenant", "route" and "instance", for the
            sources and the range in the URL parameters; most frequent first, at most 200 each.
        version: of servescope, shown in the help.
        api_root: where the REST API answers, without a trailing slash.
        load_example: imports the built-in example trace and says in one line what it did; None when
            this server cannot.
        control: the controller; None where nothing can be told to it.
        replays: comparisons; None where none can be asked for.
        alerts: silences, rules and receivers; None where nothing can be told to them.
        reports: scheduled reports; None where nothing can be told to them.
        saved: saved views; None where none can be kept.
        models: the registry of models; None where nothing can be told to it.
        server: what the process knows of itself: `settings` (section, key, value, origin),
            `numbers` (words, value, unit, about) and `file`; None where it tells nothing.
        objectives: the file of objectives as text; None where it cannot be had.
        look: engines on the server's own machine, as (address, engine); only when somebody asks.
        rights: what whoever asks now may do; asked anew for every look and every wish.
        who: who goes into a record: whoever has signed in, else the name that is handed in.
        condition: how the store stands; asks the database nothing.
        account: whoever looks; None where nobody signs in.
        people: users, tokens and sessions; None where nobody signs in.
        trace_url: where another tool shows a trace, with `{trace_id}` in it; "" where none does.
    """

    view: ViewFunction
    catalog: Callable[[], Sequence[SourceInfo]]
    now: Callable[[], datetime]
    data_age: Callable[[], DataAge]
    label_values: Callable[[Mapping[str, str]], Mapping[str, Sequence[str]]]
    version: str
    api_root: str = "/api/v1"
    load_example: Callable[[], str] | None = None
    control: ControlDesk | None = None
    replays: ReplayDesk | None = None
    alerts: AlertDesk | None = None
    reports: ReportDesk | None = None
    saved: SavedDesk | None = None
    models: ModelDesk | None = None
    server: Callable[[], Document] | None = None
    look: Callable[[], Sequence[tuple[str, str]]] | None = None
    objectives: SloDesk | None = None
    trace_url: str = ""
    rights: Callable[[], Rights] = Rights
    who: Callable[[str], str] = str
    condition: Callable[[], Condition] = Condition
    account: Callable[[], Account | None] = lambda: None
    people: PeopleDesk | None = None
