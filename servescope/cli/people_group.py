"""`servescope access …`: who may come in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from servescope.cli.options import ConfigFile, Json, Store

access_app = typer.Typer(help="Users, tokens and sessions: who may come in.",
                         no_args_is_help=True)  # fmt: skip

Name = Annotated[str, typer.Argument(help="Of the user.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option(help="File with the password; asked for on the terminal when left out."),
]


@access_app.command("users")
def access_users(store: Store = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Who may sign in, with which role, and when they last did."""
    from servescope.cli.people import run_users

    run_users(store, config, as_json=as_json)


@access_app.command("add")
def access_add(
    name: Name,
    role: Annotated[str, typer.Option(help="viewer, operator or admin.")],
    password_file: PasswordFile = None,
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Add somebody who signs in by password."""
    from servescope.cli.people import run_add

    run_add(name, role, password_file, store, config, as_json=as_json)


@access_app.command("change")
def access_change(
    name: Name,
    role: Annotated[str | None, typer.Option(help="viewer, operator or admin.")] = None,
    password: Annotated[bool, typer.Option("--password", help="Set a new one.")] = False,
    password_file: PasswordFile = None,
    disable: Annotated[
        bool | None, typer.Option("--disable/--enable", help="Refuse sign-ins, or let in again.")
    ] = None,
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Give another role or password, or refuse sign-ins; open sessions follow at once."""
    from servescope.cli.people import run_change

    wants = password or password_file is not None
    run_change(
        name, role, password_file, disable, store, config, wants_password=wants, as_json=as_json
    )


@access_app.command("remove")
def access_remove(
    name: Name, store: Store = None, config: ConfigFile = None, as_json: Json = False
) -> None:
    """Forget a user; the sessions end."""
    from servescope.cli.people import run_remove

    run_remove(name, store, config, as_json=as_json)


@access_app.command("tokens")
def access_tokens(store: Store = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """What programs come in with: scopes, until when, last used."""
    from servescope.cli.people import run_tokens

    run_tokens(store, config, as_json=as_json)


@access_app.command("token")
def access_token(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    scope: Annotated[
        list[str],
        typer.Option(help="A role, or ingest, gateway, predict, metrics; may be repeated."),
    ],
    days: Annotated[float, typer.Option(help="How long it holds; 0 always.", min=0)] = 365,
    to: Annotated[
        Path | None, typer.Option(help="New file for it, readable by you only.")
    ] = None,
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Make a token; it is shown once."""
    from servescope.cli.people import run_token

    run_token(name, scope, days or None, to, store, config, as_json=as_json)


@access_app.command("revoke")
def access_revoke(
    token: Annotated[str, typer.Argument(help="Its id, or its name where that is clear.")],
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Let a token open nothing any more."""
    from servescope.cli.people import run_revoke

    run_revoke(token, store, config, as_json=as_json)


@access_app.command("sessions")
def access_sessions(store: Store = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Who is signed in, from where, and until when."""
    from servescope.cli.people import run_sessions

    run_sessions(store, config, as_json=as_json)


@access_app.command("end")
def access_end(
    session: Annotated[str, typer.Argument(help="Its id, from `sessions`.")],
    store: Store = None, config: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """End somebody's session."""
    from servescope.cli.people import run_end

    run_end(session, store, config, as_json=as_json)


@access_app.command("me")
def access_me(store: Store = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Who you are to the server, and what you may do there."""
    from servescope.cli.people import run_me

    run_me(store, config, as_json=as_json)
