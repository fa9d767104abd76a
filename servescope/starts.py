"""Watching starts: what the store and Kubernetes tell becomes rows of `instance_start`.

Rows are known by instance, phase and beginning, so looking again changes nothing.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import polars as pl

from analysis.cold_start_phases import DEPTHS, MARKS
from analysis.instances import instance_name
from collector.discovery.jobs import jobs as discovery_jobs
from collector.discovery.kubernetes import KubernetesDiscovery, KubernetesPlace
from collector.kube_events import KubernetesStarts
from collector.starts.observation import StartObservation, frame
from collector.starts.pods import SIGNALS, PodTimes, observe_pod
from collector.starts.scrapes import Watched, observe_scrapes
from servescope.runtime import Runtime
from store.append import EVENT_FRAME
from store.errors import InputError, ServescopeError
from store.queries import start_evidence
from store.queries.scope import LIVE_SOURCE_ID
from store.reader import Reader
from store.units import seconds_text

log = logging.getLogger("servescope.starts")

MOST_CHARACTERS = 500
_FIELDS = "instance, phase, started_at, ended_at, evidence; and model, node, cache_state"
LOOK_BACK = timedelta(minutes=20)
"""How far back samples are looked at, again and again."""
LONGEST_START = timedelta(hours=2)
"""Processes and pods that began earlier are not looked at any more."""


def keep_starts(runtime: Runtime) -> Mapping[str, Any] | None:
    """Store what is newly known about starts; the number of rows, or None when there is none."""
    reader = runtime.database.reader
    now = runtime.clock.now().replace(tzinfo=None)
    processes = observed_processes(reader, now)
    found = [*processes, *observed_pods(reader, now), *_asked(runtime, _names(reader))]
    found += _our_own(runtime)
    added = add_observations(runtime, found)
    events = pl.concat([start_events(processes), fault_events(reader, now - LONGEST_START)])
    told = runtime.database.writer.append("event", events).result() if events.height else 0
    return {"rows": added, "events": told} if added or told else None


def _our_own(runtime: Runtime) -> Sequence[StartObservation]:
    """Starts of processes that the controller started."""
    if not runtime.controlling.actuators:
        return ()
    from controller.actuators import extras

    return extras.take_starts(runtime.controlling.actuators.values())


def start_events(found: Sequence[StartObservation]) -> pl.DataFrame:
    """Rows of `event` for processes that were seen to start."""
    rows = [
        {
            "event_id": f"start:{item.instance}:{item.started_at.isoformat()}",
            "source_id": LIVE_SOURCE_ID,
            "started_at": item.started_at.replace(tzinfo=None),
            "ended_at": item.ended_at.replace(tzinfo=None),
            "kind": "start",
            "subject": item.instance,
            "text": f"{item.instance} started; first answer after "
            f"{seconds_text((item.ended_at - item.started_at).total_seconds())}",
            "details": None,
        }
        for item in found
        if item.phase == "container"
    ]
    return pl.DataFrame(rows, schema=dict(EVENT_FRAME))


def fault_events(reader: Reader, since: datetime) -> pl.DataFrame:
    """Rows of `event` for faults of cards: XID, ECC, row remaps, throttling.

    Args:
        reader: the store.
        since: naive UTC.
    """
    rows = [
        {
            "event_id": f"gpu_fault:{row['node']}:{row['gpu']}:{row['kind']}:{row['started_at']}",
            "source_id": LIVE_SOURCE_ID,
            "started_at": row["started_at"],
            "ended_at": row["ended_at"],
            "kind": row["kind"],
            "subject": row["node"],
            "text": f"{row['kind'].replace('_', ' ')} of card {row['gpu'] or '?'} on {row['node']}",
            "details": row["details"],
        }
        for row in start_evidence.faults(reader, since).iter_rows(named=True)
    ]
    return pl.DataFrame(rows, schema=dict(EVENT_FRAME))


def add_observations(runtime: Runtime, found: Sequence[StartObservation]) -> int:
    """Store observations; gives how many were new."""
    if not found:
        return 0
    added: int = runtime.database.writer.append("instance_start", frame(found)).result()
    return added


def observation_of(row: Mapping[str, Any], where: str) -> StartObservation:
    """An observation from outside.

    Args:
        row: fields of a `StartObservation`; times aware.
        where: what to call it when it is refused.

    Raises:
        InputError: a field is missing, unknown or makes no sense.
    """
    unknown = sorted(set(row) - {field.name for field in dataclasses.fields(StartObservation)})
    if unknown:
        raise InputError(f"there is no field '{unknown[0][:40]}'", where=where, hint=_FIELDS)
    for name in ("instance", "phase", "evidence"):
        if not isinstance(row.get(name), str) or not row[name] or len(row[name]) > MOST_CHARACTERS:
            raise InputError(f"'{name}' must be a short text", where=where, hint=_FIELDS)
    for name in ("model", "node", "cache_state"):
        if not isinstance(row.get(name), str | None) or len(row.get(name) or "") > MOST_CHARACTERS:
            raise InputError(f"'{name}' must be a short text or null", where=where, hint=_FIELDS)
    if row["phase"] not in (*DEPTHS, *MARKS):
        known = ", ".join((*DEPTHS, *MARKS))
        raise InputError(
            f"there is no phase '{row['phase'][:40]}'", where=where, hint=f"one of: {known}"
        )
    if row["ended_at"] < row["started_at"]:
        raise InputError("it ends before it begins", where=where, hint="check the two times")
    return StartObservation(**row)


def observed_processes(reader: Reader, now: datetime) -> list[StartObservation]:
    """Starts that the scrapes of a target show.

    Args:
        reader: the store.
        now: naive UTC.
    """
    since, oldest = now - LOOK_BACK, now - LONGEST_START
    lengths: dict[int, dict[str, float]] = {}
    for row in start_evidence.engine_phases(reader, since).iter_rows(named=True):
        lengths.setdefault(row["target_id"], {})[row["phase"] or "engine"] = row["seconds"]
    found: list[StartObservation] = []
    for row in start_evidence.processes(reader, since, oldest).iter_rows(named=True):
        found += observe_scrapes(
            Watched(
                instance_name(row["url"]),
                _aware(row["process_started_at"]),
                _aware(row["first_answer_at"]),
                _aware(row["added_at"]),
                row["refused_before"],
                _aware(row["first_token_at"]) if row["first_token_at"] else None,
                row["model"],
                row["node"],
                lengths.get(row["target_id"], {}),
            )
        )
    return found


def observed_pods(reader: Reader, now: datetime) -> list[StartObservation]:
    """Starts that samples of kube-state-metrics show.

    Args:
        reader: the store.
        now: naive UTC.
    """
    moments = start_evidence.pod_moments(reader, list(SIGNALS), now - LOOK_BACK)
    if moments.is_empty():
        return []
    names, nodes = _names(reader), _nodes(start_evidence.pod_places(reader))
    found: list[StartObservation] = []
    for (namespace, pod), part in moments.group_by("namespace", "pod", maintain_order=True):
        times: dict[str, Any] = {
            SIGNALS[signal]: datetime.fromtimestamp(value, UTC)
            for signal, value in part.select("signal", "value").iter_rows()
        }
        created = times.get("created_at")
        if created is None or created.replace(tzinfo=None) < now - LONGEST_START:
            continue
        key = (str(namespace or ""), str(pod))
        instance, model = names.get(key, (str(pod), None))
        placed = PodTimes(key[0], key[1], node=nodes.get(key), **times)
        found += observe_pod(placed, instance, model)
    return found


def _asked(
    runtime: Runtime, names: Mapping[tuple[str, str], tuple[str, str | None]]
) -> list[StartObservation]:
    """Starts that the clusters of discovery tell; one that does not answer is left out."""
    found: list[StartObservation] = []
    for place in _places(runtime):

        def name_of(namespace: str, pod: str, address: str) -> str:
            return names.get((namespace, pod), names.get(("", address), (pod, None)))[0]

        asking = KubernetesStarts(place, name_of)
        try:
            found += asking.read()
        except Exception as error:  # noqa: BLE001 - the client raises what urllib3 and ssl do
            log.warning("kubernetes_starts_failed", extra={"error": str(error)[:200]})
        finally:
            asking.close()
    return found


def _places(runtime: Runtime) -> Sequence[KubernetesPlace]:
    """The clusters that targets are discovered from: the same may be asked about starts."""
    try:
        known = discovery_jobs(runtime.config.discovery)
    except ServescopeError:  # reported where discovery is set up
        return ()
    return [job.discovery.place for job in known if isinstance(job.discovery, KubernetesDiscovery)]


def _names(reader: Reader) -> dict[tuple[str, str], tuple[str, str | None]]:
    """(namespace, pod) and ("", host) -> instance and model of the target behind it."""
    found: dict[tuple[str, str], tuple[str, str | None]] = {}
    for row in start_evidence.target_pods(reader).iter_rows(named=True):
        known = (instance_name(row["url"]), row["model"])
        host = urlsplit(row["url"]).hostname
        if host:
            found.setdefault(("", host), known)
        if row["pod"]:
            found[row["namespace"] or "", row["pod"]] = known
    return found


def _nodes(places: pl.DataFrame) -> dict[tuple[str, str], str]:
    return {
        (namespace or "", pod): node
        for namespace, pod, node in places.select("namespace", "pod", "node").iter_rows()
        if pod and node
    }


def _aware(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC)
