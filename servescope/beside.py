"""What runs beside the requests of a server: started with it, and ended in order.

Of several servers of one store only the one with the chair (`servescope.chair`) scrapes, decides
and tells people.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from importlib import import_module
from importlib.util import find_spec

from fastapi import FastAPI

from analysis.views import VIEWS
from controller.leases.kept import KeptLeases
from servescope.chair.chair import Chair
from servescope.collecting import TargetCollecting
from servescope.garbage import never_look_again
from servescope.gateway import child
from servescope.jobs import JobRunner
from servescope.maintenance import jobs_for, keep_drops
from servescope.runtime import Beside, Runtime
from servescope.server import Lifespan
from store.errors import ServescopeError

log = logging.getLogger(__name__)

Work = Callable[[], AbstractAsyncContextManager[None]]


def serving(runtime: Runtime) -> Lifespan:
    """What starts and stops scraping and jobs with the server."""

    @asynccontextmanager
    async def beside(app: FastAPI) -> AsyncIterator[None]:
        del app
        chair = runtime.chair
        collecting = TargetCollecting(
            runtime.database, runtime.config, runtime.clock, runtime.drops, runtime.clocks
        )
        jobs = JobRunner(
            jobs_for(runtime), runtime.database.writer, runtime.clock,
            lambda: chair is None or chair.is_ours,
        )  # fmt: skip
        planned = child.plan(runtime.config, runtime.url, runtime.database.path)
        gateway = child.GatewayChild(planned, runtime.clock) if planned else None
        runtime.beside = Beside(jobs, collecting, gateway)
        warming = asyncio.create_task(asyncio.to_thread(_warm))
        watching = asyncio.create_task(runtime.loop_lag.watch())
        try:
            await asyncio.to_thread(_load_pandas)
            jobs.start()
            work = partial(_alone, runtime, collecting)
            async with work() if chair is None else _in_line(runtime, chair, work):
                if gateway is not None:
                    gateway.start()
                yield
                if gateway is not None:
                    await gateway.aclose()
        finally:
            watching.cancel()
            if gateway is not None:
                await gateway.aclose()
            await warming
            runtime.predicting.close()
            await jobs.aclose()
            await asyncio.to_thread(runtime.people.close)
            with suppress(ServescopeError):
                await asyncio.to_thread(keep_drops, runtime)

    return beside


@asynccontextmanager
async def _alone(runtime: Runtime, collecting: TargetCollecting) -> AsyncIterator[None]:
    """What one server does for all, from now until the end."""
    try:
        await asyncio.to_thread(runtime.replaying.start)
        await asyncio.to_thread(runtime.reporting.start)
        await collecting.start()
        await runtime.controlling.start()
        await runtime.alerting.start()
        yield
    finally:
        await runtime.alerting.aclose()
        await runtime.controlling.aclose()
        await asyncio.to_thread(runtime.replaying.close)
        await asyncio.to_thread(runtime.reporting.close)
        await collecting.aclose()


@asynccontextmanager
async def _in_line(runtime: Runtime, chair: Chair, work: Work) -> AsyncIterator[None]:
    """Stand in line for the chair until the end."""
    leases = runtime.leases
    assert isinstance(leases, KeptLeases)  # noqa: S101 - made with the chair
    runtime.controlling.leases = leases
    await asyncio.to_thread(leases.start)
    waiting = asyncio.create_task(_take(runtime, chair, work))
    waiting.add_done_callback(_end_if_failed)
    try:
        if chair.is_ours:
            await _settled(runtime, waiting)
        yield
    finally:
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        await asyncio.to_thread(leases.close)


async def _take(runtime: Runtime, chair: Chair, work: Work) -> None:
    await chair.won()
    log.warning("chair_taken")
    async with work():
        runtime.has_begun.set()
        await chair.lost()
        # Everything that was begun would have to be taken back: a new process does it for certain.
        log.error("chair_lost", extra={"to": chair.holder})
    os.kill(os.getpid(), signal.SIGTERM)


def _end_if_failed(waiting: asyncio.Task[None]) -> None:
    """Who has the chair and cannot fill it makes room for another."""
    if not waiting.cancelled() and waiting.exception() is not None:
        log.error("chair_not_filled", exc_info=waiting.exception())
        os.kill(os.getpid(), signal.SIGTERM)


async def _settled(runtime: Runtime, waiting: asyncio.Task[None]) -> None:
    """The first server answers when all is begun; what fails then ends its start."""
    begun = asyncio.create_task(runtime.has_begun.wait())
    await asyncio.wait({begun, waiting}, return_when=asyncio.FIRST_COMPLETED)
    begun.cancel()
    if waiting.done():
        await waiting


def _load_pandas() -> None:
    """Load it whole, where it is installed, before anybody is answered.

    DuckDB loads it in the middle of some query, and plotly, which only looks whether it is there,
    fails a page in another thread while half of it is.
    """
    if find_spec("pandas") is not None:
        import_module("pandas")


def _warm() -> None:
    """Import what the views need, so that the first viewer does not wait for scipy."""
    for spec in VIEWS.values():
        spec.function()
    never_look_again()
