"""`servescope alerts …`: what is wrong now, who is told, and who is not."""

from __future__ import annotations

from typing import Annotated

import typer

from servescope.cli.options import ConfigFile, From, Json, Store, To, scope_of

alerts_app = typer.Typer(help="Alerts: what is wrong now, who is told, what is silenced.",
                         no_args_is_help=True)  # fmt: skip


@alerts_app.command("list")
def alerts_list(
    history: Annotated[bool, typer.Option("--history", help="What happened, too.")] = False,
    from_: From = None, to: To = None,
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Alerts that are open and silences that hold; exit 3 where somebody should be told."""
    from servescope.cli.alerts import run_list

    run_list(scope_of("live", from_, to), store, config, with_history=history, as_json=as_json)


@alerts_app.command("show")
def alerts_show(
    fingerprint: Annotated[str, typer.Argument(help="Of the alert, or how it begins.")],
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """One alert: what it means, where to look, what to do, and how it came about."""
    from servescope.cli.alerts import run_show

    run_show(fingerprint, store, config, as_json=as_json)


@alerts_app.command("silence")
def alerts_silence(
    matchers: Annotated[
        list[str], typer.Argument(help='All must fit: model="a", rule=~"slo-.*", severity!=page.')
    ],
    comment: Annotated[str, typer.Option(help="Why; kept in the record.")],
    for_: Annotated[str, typer.Option("--for", help="How long: 30m, 2h, 1d.")] = "",
    until: Annotated[str | None, typer.Option(help="ISO 8601, in place of --for.")] = None,
    start: Annotated[str | None, typer.Option(help="ISO 8601; now when left out.")] = None,
    by: Annotated[str, typer.Option(help="Who; you when left out.")] = "",
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Let nobody be told of what matches, for a while."""
    from servescope.cli.alerts import run_silence

    about = {"comment": comment, "for": for_, "endsAt": until, "startsAt": start, "by": by}
    run_silence(matchers, about, store, config, as_json=as_json)


@alerts_app.command("unsilence")
def alerts_unsilence(
    silence: Annotated[str, typer.Argument(help="Its id, or how it begins.")],
    by: Annotated[str, typer.Option(help="Who; you when left out.")] = "",
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """End a silence now."""
    from servescope.cli.alerts import run_unsilence

    run_unsilence(silence, by, store, config, as_json=as_json)


@alerts_app.command("rules")
def alerts_rules(config: ConfigFile = None, as_json: Json = False) -> None:
    """Every rule: what it means, its thresholds, whether it is on."""
    from servescope.cli.alerts import run_rules

    run_rules(config, as_json=as_json)


@alerts_app.command("test")
def alerts_test(
    receiver: Annotated[str, typer.Argument(help="Its name in [[alerts.receiver]].")],
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Tell a receiver of an alert that says it is only a test; exit 1 where it is not taken."""
    from servescope.cli.alerts import run_test

    run_test(receiver, store, config, as_json=as_json)
