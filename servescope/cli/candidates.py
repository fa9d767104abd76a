"""What `servescope controller candidates`, `compare`, `withdraw`, `adopt`, `restore-policy` do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from servescope.cli import access
from servescope.cli.access import FileAccess, ServerAccess
from servescope.cli.controlling import post, run_change
from servescope.cli.data import configured
from servescope.cli.output import Output
from servescope.controlling import candidates as told_of

_LISTED = ("candidate", "pool", "policy", "state", "replay", "steps", "failed", "differs", "why")
_SIDES = ("", "replica-hours", "GPU-hours", "cost", "inside the objective (model)")
_LATEST = 10


def run_candidates(store: Path | None, config_file: Path | None, *, as_json: bool) -> None:
    """Print candidates."""
    from servescope.documents import plain

    out = Output(as_json=as_json)
    with access.opened(configured(store, config_file)) as way:
        if isinstance(way, ServerAccess):
            told = way.get("/controller/candidates", {})
        else:
            assert isinstance(way, FileAccess)  # noqa: S101 - there are two ways
            told = plain(told_of.candidates_document(way.runtime.database.reader, None))
    out.document("controller.candidates", told)
    rows = told["candidates"]
    if not rows:
        out.line(
            "Nobody proposed a policy yet: replay some, then make one a candidate; see"
            " docs/replay.md."
        )
        return
    if not told["running"]:
        out.line("No controller runs on this store: nobody is asked now.")
    out.table(_LISTED, [_listed(row) for row in rows])
    for row in rows:
        if row["last_failure"] and row["is_watched"]:
            out.line(f"candidate {row['candidate_id']} failed last: {row['last_failure']}")


def _listed(row: Mapping[str, Any]) -> list[Any]:
    replay = row["replay_id"] or ""
    mark = "" if row["is_validated"] in (None, True) else " (not validated)"
    return [
        row["candidate_id"], "+".join(row["pools"]), row["policy_text"], row["state"],
        f"{replay}{mark}", row["steps"], row["failures"], _share(row["differing_ratio"]),
        row["text"] or "",
    ]  # fmt: skip


def run_compare(
    candidate: int,
    hours: float | None,
    store: Path | None,
    config_file: Path | None,
    *,
    as_json: bool,
) -> None:
    """Print a candidate beside the policy that decides."""
    from servescope.documents import plain

    out = Output(as_json=as_json)
    with access.opened(configured(store, config_file)) as way:
        if isinstance(way, ServerAccess):
            params = {} if hours is None else {"hours": str(hours)}
            told = way.get(f"/controller/candidates/{candidate}", params)
        else:
            assert isinstance(way, FileAccess)  # noqa: S101 - there are two ways
            runtime = way.runtime
            told = plain(
                told_of.compare_document(
                    runtime.database.reader, runtime.clock, None, candidate, hours
                )
            )
    out.document("controller.compare", told)
    out.line(told["text"])
    if told["empty"]:
        return
    for pool in told["pools"]:
        start, end = (str(told[name])[:19] for name in ("start_at", "end_at"))
        out.line(f"{pool['pool']}, {start} to {end}:")
        out.table(_SIDES, list(_sides(pool, told)))
        for line in _notes(pool):
            out.line(line)
    if any(pool["live"]["predicted_attainment_ratio"] is not None for pool in told["pools"]):
        out.line(f"Expected inside the objective: {told['model']}.")
    for row in told["latest"][:_LATEST]:
        out.line(_step(row))


def _sides(pool: Mapping[str, Any], told: Mapping[str, Any]) -> Iterator[list[Any]]:
    candidate = told["candidate"]
    names = (
        ("live", f"{told['live_policy']} (decides)"),
        ("shadow", f"{candidate['policy_text']} (candidate {candidate['candidate_id']})"),
        ("there", "there really"),
    )
    for side, name in names:
        one = pool[side]
        yield [
            name, _number(one["replica_hours"]), _number(one["gpu_hours"]), _number(one["cost"]),
            _share(one["predicted_attainment_ratio"]),
        ]  # fmt: skip


def _notes(pool: Mapping[str, Any]) -> Iterator[str]:
    if pool["why"]:
        yield f"What would have been inside the objective is not known: {pool['why']}."
    if pool["observed_attainment_ratio"] is not None:
        yield f"What came, with what was there: {_share(pool['observed_attainment_ratio'])} inside."


def _step(row: Mapping[str, Any]) -> str:
    bound = f" [{row['binding']}]" if row["binding"] else ""
    return (
        f"  {str(row['at'])[:19]} {row['pool']}: {row['shadow_replicas']} (the other"
        f" {row['live_replicas']}): {row['reason']}{bound}"
    )


def run_propose(
    pool: str,
    policy: str,
    from_replay: Mapping[str, Any] | None,
    body: Mapping[str, Any],
    store: Path | None,
    config_file: Path | None,
    *,
    as_json: bool,
) -> None:
    """Propose a policy, or a row of a replay."""
    out = Output(as_json=as_json)
    if from_replay is None:
        given = {**body, "pool": pool, "policy": policy}
        told = post(store, config_file, "/controller/candidates", given)
    else:
        server = access.the_server(configured(store, config_file))
        about = {name: value for name, value in from_replay.items() if value is not None}
        path = f"/replays/{about.pop('replay')}/candidate"
        told = server.send("POST", path, json={**about, "pool": pool, "policy": policy})
    out.document("controller.propose", told)
    out.line(
        f"candidate {told['candidate_id']}: {policy} for {pool}, {told['state']}; see:"
        f" servescope controller compare {told['candidate_id']}"
    )


def run_choice(
    action: str,
    candidate: int,
    body: Mapping[str, Any],
    store: Path | None,
    config_file: Path | None,
    *,
    as_json: bool,
) -> None:
    """Withdraw or adopt a candidate."""
    out = Output(as_json=as_json)
    told = post(store, config_file, f"/controller/candidates/{candidate}/{action}", body)
    out.document(f"controller.{action}", told)
    pools = ", ".join(told["pools"]) if "pools" in told else told["pool"]
    if action == "adopt":
        out.line(f"{told['policy_text']} decides {pools} from the next step on")
    else:
        out.line(f"candidate {candidate} is not asked any more; what it would have done is kept")


def run_restore(
    body: Mapping[str, Any], store: Path | None, config_file: Path | None, *, as_json: bool
) -> None:
    """Let what the configuration names decide again."""
    run_change("restore-policy", body, store, config_file, as_json=as_json)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"
