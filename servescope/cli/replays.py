"""What `servescope replay` does: here, or in the server that holds the store."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import typer

from servescope.cli import access
from servescope.cli.data import configured
from servescope.cli.output import CommandError, ExitCode, Output, jsonable
from servescope.config import Config, slo_path, store_path
from servescope.json_text import to_json
from store.errors import InputError, StoreError

if TYPE_CHECKING:
    from controller.comparison.campaign import Standing
    from servescope.replaying.asked import Asked
    from servescope.replaying.results import Result
    from servescope.replaying.traces import Found

_POLL_SECONDS = 1.0
_OPEN = ("queued", "running")


def run_replay(
    trace: str,
    told: Mapping[str, Any],
    params: Mapping[str, str],
    workers: int,
    to: Path | None,
    store: Path | None,
    config_file: Path | None,
    *,
    as_json: bool,
    plain: bool,
) -> None:
    """Compare policies on a trace and print what came of it."""
    from controller.comparison import building
    from servescope.replaying.asked import Asked
    from servescope.replaying.fleet import read_file

    out = Output(as_json=as_json, plain=plain)
    config = configured(store, config_file)
    if told.get("policies") == "all":
        told = {**told, "policies": building.names()}
    fleet_file = told.get("fleet")
    if fleet_file is not None:
        told = {**told, **read_file(Path(fleet_file))} | {
            # What is said on the command line counts more than the file.
            name: told[name]
            for name in ("gpus", "most_per_hour")
            if name in told
        }
    if fleet_file is not None and told.get("pools"):
        raise InputError("a fleet and pools were given", hint="give --fleet or --pools")
    asked = Asked.of(told)
    if to is not None and not to.absolute().parent.is_dir():
        raise InputError("there is no such folder", where=str(to.absolute().parent))
    url = access.server_of(store_path(config))
    if url is not None and not Path(trace).exists():
        server = access.the_server(config)
        if trace in {source["name"] for source in server.sources()}:
            _in_server(out, server, trace, asked, params, to)
            return
    result = _here(out, config, trace, asked, params, workers, is_served=url is not None)
    document = result.document()
    _written(to, document)
    out.document("replay", document)
    _print(out, result.summary, document)
    if result.state == "cancelled":
        out.note("stopped; what was done by then is shown and kept")
        raise typer.Exit(int(ExitCode.INTERRUPTED))


def _here(
    out: Output,
    config: Config,
    trace: str,
    asked: Asked,
    params: Mapping[str, str],
    workers: int,
    *,
    is_served: bool,
) -> Result:
    from servescope.replaying import results
    from store.clock import WallClock

    clock = WallClock()
    asked = _with_pools(out, config, asked)
    name, found = _found(out, config, trace, params, is_served=is_served)
    what = results.planned(name, found, asked, clock.now(), "cli", may_import=True)
    out.note(f"{name}: {len(what.workload):,} requests in {what.workload.seconds / 60:.0f} min")
    bar = _Bar(out)
    result = results.run(what, workers, bar)
    bar.done()
    for note in result.notes:
        out.warn(note)
    if is_served:
        out.note("not kept: a server holds the store. Import the trace to have it kept; --out")
        return result
    # Kept at the end, so that nobody waits for the store meanwhile.
    try:
        with ExitStack() as stack:
            database = access.open_file(config, store_path(config), stack).database
            from store import replays

            replays.add(database.writer, what.row, "running").result()
            results.keep(database.writer, result, clock.now())
    except StoreError as error:
        out.warn(f"not kept: {error}")
    return result


def _with_pools(out: Output, config: Config, asked: Asked) -> Asked:
    """With the pools of the configuration, where those were asked for."""
    if not asked.pools:
        return asked
    from analysis.slo_file import load_slo_file
    from servescope.replaying.fleet import live

    path = slo_path(config)
    found = live(asked.pools, config.controller, load_slo_file(path) if path else ())
    for note in found.notes:
        out.note(note)
    return asked.of_pools(found)


def _found(
    out: Output, config: Config, trace: str, params: Mapping[str, str], *, is_served: bool
) -> tuple[str, Found]:
    from servescope.replaying import traces

    path, known = store_path(config), []
    if Path(trace).exists():
        return traces.of_file(Path(trace), params)
    if not is_served and path.exists():
        with ExitStack() as stack:
            runtime = access.open_file(config, path, stack)
            known = [source.name for source in runtime.catalog() if source.request_count]
            if trace in known:
                scope = runtime.scope({**params, "source": trace}, shared=False)
                return trace, traces.of_scope(runtime.database.reader, scope, trace)
    packaged = traces.example(trace)
    if packaged is not None:
        out.note(f"{trace}: the packaged example")
        return traces.of_file(packaged, params)
    there = ", ".join(dict.fromkeys([*known, *traces.EXAMPLES]))
    raise InputError(
        f"there is no trace '{trace}': no such file, and no such source", hint=f"there are: {there}"
    )


def _in_server(
    out: Output,
    server: access.ServerAccess,
    trace: str,
    asked: Asked,
    params: Mapping[str, str],
    to: Path | None,
) -> None:
    """Have the server do it, and look on."""
    from servescope.replaying.asked import profile_named
    from servescope.replaying.fleet import inlined

    document = asked.document()
    # The server reads no files of others.
    document["fleet"] = inlined(asked.fleet, lambda name: profile_named(name, may_read=True))
    body = {"source": trace, **params, **jsonable(document)}
    replay_id = server.send("POST", "/replays", json=body)["replay_id"]
    out.note(f"the server runs it: {server.url}/api/v1/replays/{replay_id}")
    wait = Event()
    path, bar = f"/replays/{quote(replay_id, safe='')}", _Bar(out)
    try:
        while (found := server.get(path, {}))["state"] in _OPEN:
            bar.at(found["progress"]["share"], found["progress"]["left_seconds"], found["state"])
            wait.wait(_POLL_SECONDS)
    except KeyboardInterrupt:
        with suppress(CommandError):
            server.send("DELETE", path)
        out.note("stopped; what was done by then is kept")
        while (found := server.get(path, {}))["state"] in _OPEN:
            wait.wait(_POLL_SECONDS)
    bar.done()
    _written(to, found)
    out.document("replay", found)
    if found["state"] not in ("done", "cancelled"):
        raise CommandError(f"{found['state']}: {found['text']}", ExitCode.FAILED)
    from analysis import replay_frames

    frame = replay_frames.outcomes(found["outcomes"])
    by_cost = _ranks_by_cost(found)
    _print(out, replay_frames.summary(frame, found["goal_ratio"], by_cost=by_cost), found)


def _ranks_by_cost(document: Mapping[str, Any]) -> bool:
    return bool((document.get("fleet") or {}).get("ranks_by_cost"))


def _written(to: Path | None, document: Mapping[str, Any]) -> None:
    if to is not None:
        to.write_bytes(to_json(jsonable(document)))


def _print(out: Output, summary: Any, document: Mapping[str, Any]) -> None:
    if out.as_json:
        return
    from servescope.replaying import report

    validity, is_seen = document["validity"], sys.stdout.isatty()
    out.line(
        report.lines(
            summary,
            validity["text"],
            document["sentences"],
            is_validated=validity["is_validated"],
            plain=not is_seen or out.plain or "NO_COLOR" in os.environ,
            width=shutil.get_terminal_size().columns if is_seen else report.WIDTH,
            by_cost=_ranks_by_cost(document),
        )
    )
    out.line(f"replay {document['replay_id']}, {document['seconds']:.0f} s")


class _Bar:
    """How far it is, on stderr.

    Args:
        out: the command's streams.
    """

    def __init__(self, out: Output) -> None:
        from servescope.cli.output import Progress

        self._progress = Progress(out, "replaying")

    def __call__(self, standing: Standing) -> None:
        """News."""
        self.at(standing.share, standing.left_seconds, standing.text)

    def at(self, share: float, left_seconds: float | None, text: str) -> None:
        """So far."""
        left = "" if left_seconds is None else f"  {_words(left_seconds)} left"
        self._progress(share, f"{left}  {text}")

    def done(self) -> None:
        """Take it away."""
        self._progress.done()


def _words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
