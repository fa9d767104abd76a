"""The pages of this process, and what they are handed."""

from __future__ import annotations

from functools import partial

from dashboard.services import Services
from servescope import introspection
from servescope.access import pages
from servescope.access.caller import recorded
from servescope.alerting.desk import AlertDesk
from servescope.changes import noted
from servescope.config import views_folder
from servescope.controlling.desk import Desk
from servescope.importing import load_example
from servescope.looking import look
from servescope.predicting.desk import ModelDesk
from servescope.replaying.desk import ReplayDesk
from servescope.reporting.desk import ReportDesk
from servescope.runtime import Runtime
from servescope.saved_views import SavedViews
from servescope.server import API_ROOT, UI_ROOT
from servescope.slo_text import SloDesk


def dashboard_server(runtime: Runtime) -> object:
    """The dashboard's Flask application over this process's numbers."""
    from dashboard.app import create_dash
    from dashboard.routes import views_by_page

    runtime.answers.pages = views_by_page()
    return create_dash(page_services(runtime), prefix=f"{UI_ROOT}/").server


def page_services(runtime: Runtime) -> Services:
    """What the pages of this process are handed."""
    return Services(
        view=lambda name, params, **options: runtime.view(name, params, options),
        catalog=runtime.catalog,
        now=runtime.clock.now,
        data_age=runtime.data_age,
        label_values=runtime.label_values,
        version=runtime.version,
        api_root=API_ROOT,
        load_example=lambda: _load_example(runtime),
        control=Desk(runtime.controlling, runtime.clock),
        replays=ReplayDesk(runtime),
        alerts=AlertDesk(runtime.alerting),
        reports=ReportDesk(runtime),
        models=ModelDesk(runtime.predicting, runtime.database),
        server=lambda: introspection.document(runtime),
        look=look,
        saved=SavedViews(
            views_folder(runtime.config), runtime.veils.scope, partial(_noted, runtime)
        ),
        objectives=SloDesk(runtime),
        trace_url=runtime.config.dashboard.trace_url,
        rights=lambda: runtime.rights,
        who=recorded,
        condition=runtime.database.standing.now,
        account=lambda: pages.account(runtime.people),
        people=pages.desk(runtime.people, runtime.database.reader, runtime.clock),
    )


def _load_example(runtime: Runtime) -> str:
    said = load_example(runtime.database, runtime.imported)
    _noted(runtime, "import", "example")
    return said


def _noted(runtime: Runtime, action: str, subject: str) -> None:
    door = "dashboard"
    noted(runtime.database, runtime.clock, action, subject, by=door, origin=door)
