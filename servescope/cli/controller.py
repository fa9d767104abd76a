"""`servescope controller`: how the commands look."""

from __future__ import annotations

from typing import Annotated

import typer

from servescope.cli.options import ConfigFile, Json, Store

controller_app = typer.Typer(
    help="The control loop: what it wants and why, and how to stop it.", no_args_is_help=True
)
Pools = Annotated[list[str] | None, typer.Option("--pool", help="Only this pool; may be repeated.")]
Comment = Annotated[str, typer.Option("--comment", help="Why; kept in the record.")]
Decision = Annotated[int, typer.Argument(help="Number of a decision.", min=1)]
Candidate = Annotated[int, typer.Argument(help="Number of a candidate.", min=1)]
By = Annotated[str | None, typer.Option("--by", help="Who; the user where left out.")]
Expected = Annotated[
    int | None, typer.Option("--expected", help="Version that was seen; refused when it is older.")
]


@controller_app.command("status")
def status(store: Store = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Modes, freezes, targets, what waits for a person, what could not be done."""
    from servescope.cli.controlling import run_status

    run_status(store, config, as_json=as_json)


@controller_app.command("mode")
def mode(
    mode: Annotated[str, typer.Argument(help="off, dry-run, approve or active.")],
    pool: Pools = None,
    comment: Comment = "",
    override: Annotated[
        str, typer.Option("--override", help="The pool's name: act without rehearsal.")
    ] = "",
    expected: Expected = None,
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Set how pools are treated: decided upon or not, done at once or after a yes."""
    from servescope.cli.controlling import run_change

    body = {"mode": mode, "pools": pool or None, "override": override, "comment": comment,
            "expected_version": expected}  # fmt: skip
    run_change("mode", body, store, config, as_json=as_json)


@controller_app.command("decisions")
def decisions(
    pool: Pools = None,
    limit: Annotated[int, typer.Option(help="Most lines.", min=1, max=1000)] = 20,
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """What was decided, the newest first; steps that say the same again are one line."""
    from servescope.cli.controlling import run_decisions

    run_decisions(pool or [], limit, store, config, as_json=as_json)


@controller_app.command("explain")
def explain(
    decision: Annotated[
        str, typer.Argument(help="Number of a decision, or `latest`.", metavar="DECISION")
    ],
    pool: Pools = None,
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Why a decision is what it is: inputs, guards, what would flip it, what came of it."""
    from servescope.cli.explaining import run_explain

    run_explain(decision, pool or [], store, config, as_json=as_json)


@controller_app.command("approve")
def approve(
    decision: Decision, comment: Comment = "",
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Do a decision that waits."""
    from servescope.cli.controlling import run_verdict

    run_verdict("approve", decision, {"comment": comment}, store, config, as_json=as_json)


@controller_app.command("reject")
def reject(
    decision: Decision, comment: Comment = "",
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Do not do a decision that waits."""
    from servescope.cli.controlling import run_verdict

    run_verdict("reject", decision, {"comment": comment}, store, config, as_json=as_json)


@controller_app.command("freeze")
def freeze(
    for_: Annotated[
        str, typer.Option("--for", help="How long, such as 30m or 2h; else until resumed.")
    ] = "",
    pool: Pools = None,
    comment: Comment = "",
    expected: Expected = None,
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Hold pools as they are; decisions are still made and recorded."""
    from servescope.cli.controlling import run_change, seconds_of

    body = {"pools": pool or None, "seconds": seconds_of(for_), "comment": comment,
            "expected_version": expected}  # fmt: skip
    run_change("freeze", body, store, config, as_json=as_json)


@controller_app.command("resume")
def resume(
    comment: Annotated[str, typer.Option("--comment", help="Why; it is needed.")],
    pool: Pools = None,
    expected: Expected = None,
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """End freezes, and accept what others set."""
    from servescope.cli.controlling import run_change

    body = {"pools": pool or None, "comment": comment, "expected_version": expected}
    run_change("resume", body, store, config, as_json=as_json)


@controller_app.command("rollback")
def rollback(
    decision: Decision,
    comment: Comment = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do it; else only say what would be.")] = False,
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Return a pool to what it was before a decision, and freeze it for 15 minutes."""
    from servescope.cli.controlling import run_rollback

    run_rollback(decision, comment, store, config, yes=yes, as_json=as_json)


@controller_app.command("candidates")
def candidates(store: Store = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Policies that somebody proposed: how each stands, how often it would decide otherwise."""
    from servescope.cli.candidates import run_candidates

    run_candidates(store, config, as_json=as_json)


@controller_app.command("propose")
def propose(
    pool: Annotated[str, typer.Argument(help="Name of a pool.")],
    policy: Annotated[str, typer.Argument(help="Name, or 'name(parameter=value)'.")],
    replay: Annotated[
        str | None, typer.Option("--replay", help="Id of a replay: the row of it that is meant.")
    ] = None,
    row: Annotated[str, typer.Option("--row", help="default, tuned or hindsight.")] = "default",
    startup: Annotated[
        float | None, typer.Option("--startup", help="Seconds, where rows differ by them.")
    ] = None,
    comment: Comment = "",
    by: By = None,
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Let a policy be watched beside the one that decides a pool; it acts on nothing."""
    from servescope.cli.candidates import run_propose

    about = {"replay": replay, "row": row, "startup_seconds": startup}
    body = {"comment": comment, "by": by}
    run_propose(pool, policy, about if replay else None, body, store, config, as_json=as_json)


@controller_app.command("compare")
def compare(
    candidate: Candidate,
    for_: Annotated[
        str, typer.Option("--for", help="The last so long, such as 30m or 24h; else all its time.")
    ] = "",
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """A candidate beside the policy that decides: replicas, cost, what is expected of each."""
    from servescope.cli.candidates import run_compare
    from servescope.cli.controlling import seconds_of

    seconds = seconds_of(for_)
    hours = None if seconds is None else seconds / 3600
    run_compare(candidate, hours, store, config, as_json=as_json)


@controller_app.command("withdraw")
def withdraw(
    candidate: Candidate, comment: Comment = "", by: By = None, expected: Expected = None,
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Do not ask a candidate any more; what it would have done is kept."""
    from servescope.cli.candidates import run_choice

    body = {"comment": comment, "by": by, "expected_version": expected}
    run_choice("withdraw", candidate, body, store, config, as_json=as_json)


@controller_app.command("adopt")
def adopt(
    candidate: Candidate,
    comment: Annotated[str, typer.Option("--comment", help="Why; it is needed.")],
    by: By = None,
    override: Annotated[
        str, typer.Option("--override", help="The pool's name: act without long watching.")
    ] = "",
    expected: Expected = None,
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Let a candidate decide its pools from the next step on, in the mode that they have."""
    from servescope.cli.candidates import run_choice

    body = {"comment": comment, "by": by, "override": override, "expected_version": expected}
    run_choice("adopt", candidate, body, store, config, as_json=as_json)


@controller_app.command("restore-policy")
def restore_policy(
    pool: Annotated[str, typer.Argument(help="Name of a pool.")],
    comment: Annotated[str, typer.Option("--comment", help="Why; it is needed.")],
    by: By = None,
    expected: Expected = None,
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Let the policy that the configuration names decide a pool again."""
    from servescope.cli.candidates import run_restore

    body = {"pools": [pool], "comment": comment, "by": by, "expected_version": expected}
    run_restore(body, store, config, as_json=as_json)


@controller_app.command("verify")
def verify(
    last: Annotated[int, typer.Option("--last", help="How many steps.", min=1, max=10_000)] = 1000,
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Make the newest steps again; exit 3 unless each comes out the same to the byte."""
    from servescope.cli.controlling import run_verify

    run_verify(last, store, config, as_json=as_json)


@controller_app.command("policies")
def policies(as_json: Json = False) -> None:
    """Every policy that a pool can be decided by."""
    from servescope.cli.controlling import run_policies

    run_policies(as_json=as_json)
