"""The one process: REST API, dashboard, scraping and jobs over one store."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import metadata
from typing import Any
from urllib.parse import urlsplit

from a2wsgi import WSGIMiddleware
from fastapi import APIRouter, FastAPI
from fastapi.responses import RedirectResponse, Response

from servescope.access.identify import Identify
from servescope.access.scopes import METRICS
from servescope.agent_intake import AgentIntake
from servescope.api import (
    access,
    agents,
    alerts,
    backups,
    candidates,
    controller,
    discovery,
    gateway,
    ingest,
    objectives,
    operations,
    otlp,
    people,
    predictors,
    problems,
    remote_write,
    replays,
    reports,
    rows,
    sign_in,
    starts,
    status,
    trust,
    views,
)
from servescope.api.compression import ApiCompression
from servescope.api.guards import LOOPBACK_NAMES, Guard, content_security_policy
from servescope.chair.pass_on import PassOn
from servescope.gateway.desk import GatewayDesk
from servescope.gateway.intake import GatewayRows
from servescope.metrics import CONTENT_TYPE, Measured, ServerMetrics
from servescope.one_row import OneRow
from servescope.otlp_intake import OtlpIntake
from servescope.remote_write_intake import RemoteWriteIntake
from servescope.runtime import Runtime
from servescope.settings import ServerSettings

API_ROOT = "/api/v1"
UI_ROOT = "/ui"
UPLOAD_PATHS = (f"{API_ROOT}/imports",)
# Doors that bound their bodies themselves, by `servescope.api.bodies`; each adds its paths.
BOUNDED_PATHS: tuple[str, ...] = (
    *otlp.PATHS,
    f"{API_ROOT}{remote_write.PATH}",
    f"{API_ROOT}{ingest.PATH}",
    f"{API_ROOT}{alerts.INTAKE_PATH}",
)
# Programs send here, more often than people ask; these doors bound what they take themselves.
SENDER_PATHS = (
    *BOUNDED_PATHS,
    f"{API_ROOT}/agents/",
    f"{API_ROOT}/gateways/",
    f"{API_ROOT}/predictions/",
)
# What only one server of a lake does, and what shows how it stands; else each answers by itself.
CHAIR_PATHS = (
    UI_ROOT,
    *(
        f"{API_ROOT}/{root}"
        for root in (
            "alerts", "controller", "discovery", "gateway", "objectives", "predictors", "replays",
            "reports", "targets",
        )
    ),
)  # fmt: skip
_INLINE_SCRIPT = re.compile(rb"<script(?![^>]*\bsrc=)([^>]*)>(.*?)</script>", re.DOTALL)

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(
    runtime: Runtime, *, wsgi_ui: Any = None, lifespan: Lifespan | None = None
) -> FastAPI:
    """The web application.

    Args:
        runtime: store, cache, objectives.
        wsgi_ui: the dashboard's Flask server; None serves the API alone.
        lifespan: starts and stops what runs beside the requests.
    """
    app = FastAPI(
        title="servescope",
        summary="See, explain and steer a fleet of LLM servers.",
        description=_DESCRIPTION,
        version=metadata.version("servescope"),
        # The documentation pages of FastAPI load scripts from elsewhere; the description itself
        # is all that tools need.
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{API_ROOT}/openapi.json",
        lifespan=_with_doors(lifespan or _idle),
        # FastAPI can send traces elsewhere when the environment says so; this server never does.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    app.state.runtime = runtime
    app.state.api_root = API_ROOT
    app.state.agent_intake = AgentIntake(runtime)
    app.state.one_row = OneRow(runtime.database.writer)
    app.state.gateway_desk = GatewayDesk(runtime)
    app.state.gateway_rows = GatewayRows(runtime, app.state.one_row)
    app.state.remote_write = RemoteWriteIntake(runtime.database, runtime.drops, runtime.clock)
    metrics = app.state.metrics = ServerMetrics(runtime)
    problems.install(app)
    _add_routes(app, metrics, has_ui=wsgi_ui is not None)
    if wsgi_ui is not None:
        # The two libraries describe the same ASGI messages with types that do not meet.
        ui: Any = WSGIMiddleware(wsgi_ui, workers=runtime.config.server.ui_threads)
        app.mount(UI_ROOT, ui)
    _add_doors(app, runtime, script_hashes(wsgi_ui) if wsgi_ui is not None else ())
    return app


_DESCRIPTION = """
Everything the dashboard shows, as data. Times are ISO 8601 in UTC (or trace time, when the scope's
`clock` is `relative`), durations are in seconds, ratios run from 0 to 1, and units stand in the
names of fields. Unknown is `null`, never 0. Tables come as JSON, CSV, Parquet or an Arrow stream,
by `Accept` or `?format=`. Failures are problem documents (RFC 9457).
"""


def _add_doors(app: FastAPI, runtime: Runtime, hashes: Collection[str]) -> None:
    """What a request passes on its way in; the last one added comes first."""
    app.add_middleware(ApiCompression, prefix=f"{API_ROOT}/")
    server = runtime.config.server
    if runtime.chair is not None:
        app.add_middleware(
            PassOn, chair=runtime.chair, roots=CHAIR_PATHS, key=runtime.people.peer_key,
            verify=server.peer_ca_file,
        )  # fmt: skip
    if runtime.people.asks:
        app.add_middleware(
            Identify, people=runtime.people, clock=runtime.clock, senders=SENDER_PATHS
        )
    app.add_middleware(
        Guard,
        hosts=answered_names(server),
        policy=content_security_policy(hashes),
        body_max_bytes=server.body_max_bytes,
        upload_max_bytes=server.upload_max_bytes,
        upload_paths=UPLOAD_PATHS,
        bounded_paths=BOUNDED_PATHS,
    )
    app.add_middleware(Measured, metrics=app.state.metrics, runtime=runtime)


def _add_routes(app: FastAPI, metrics: ServerMetrics, *, has_ui: bool) -> None:
    api = APIRouter(prefix=API_ROOT)
    # Routes are tried in this order: what is called hundreds of times a second comes first.
    for router in (
        remote_write.router(app.state.remote_write),
        views.router,
        rows.router,
        ingest.router(),
        operations.router,
        backups.router,
        people.router,
        discovery.router,
        agents.router,
        gateway.router,
        status.router,
        trust.router,
        objectives.router,
        starts.router,
        predictors.router,
        controller.router,
        candidates.router,
        alerts.router,
        replays.router,
        reports.router,
    ):
        access.describe(router)
        api.include_router(router)
    app.include_router(api)
    otlp_doors = otlp.router(otlp_intake(app.state.runtime, app.state.one_row))
    for router in (status.root_router, sign_in.router, otlp_doors):
        access.describe(router)
        app.include_router(router)

    asks_for_token = app.state.runtime.config.access.metrics == "token"
    allowed = access.opens(METRICS) if asks_for_token else access.EVERYBODY

    @app.get("/metrics", include_in_schema=False, dependencies=[allowed])
    def self_metrics() -> Response:
        return Response(metrics.page(), media_type=CONTENT_TYPE)

    if has_ui:

        @app.get("/", include_in_schema=False, dependencies=[access.EVERYBODY])
        @app.get(UI_ROOT, include_in_schema=False, dependencies=[access.EVERYBODY])
        async def to_ui() -> Response:
            return RedirectResponse(f"{UI_ROOT}/")

    access.describe(app)


def otlp_intake(runtime: Runtime, one_row: OneRow) -> OtlpIntake:
    """The one that takes what comes by OTLP for a process."""
    writer = runtime.database.writer
    return OtlpIntake(writer, runtime.clock, runtime.drops, runtime.config.otlp, one_row)


def answered_names(server: ServerSettings) -> set[str]:
    """Names that a Host header may have; addresses in figures need no naming (`Guard`)."""
    public = urlsplit(server.public_url).hostname
    return {*LOOPBACK_NAMES, *server.allowed_hosts, *([public] if public else [])}


def _with_doors(lifespan: Lifespan) -> Lifespan:
    """Doors open after what runs beside them and close before it."""

    @asynccontextmanager
    async def both(app: FastAPI) -> AsyncIterator[None]:
        async with lifespan(app), remote_write.serving(app.state.remote_write):
            yield

    return both


@asynccontextmanager
async def _idle(app: FastAPI) -> AsyncIterator[None]:
    del app
    yield


def script_hashes(wsgi_ui: Any) -> list[str]:
    """`'sha256-…'` of every inline script on the dashboard's page, for the security policy.

    The page is asked for as a browser would, so nothing has to be known about how it is made.
    """
    page: bytes = wsgi_ui.test_client().get("/").data
    found = []
    for attributes, body in _INLINE_SCRIPT.findall(page):
        if b"application/json" not in attributes:
            digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
            found.append(f"'sha256-{digest}'")
    return found
