"""Who looks: said in the header, with the way out, and in place of a name that would be typed.

The server decides who somebody is, and what goes into a record (`Services.who`); what stands here
only shows it. Where nobody signs in, nothing of it is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from dash import html
from dash.development.base_component import Component

from dashboard.forms import WHO
from dashboard.people_desk import Account
from dashboard.plain import Plain
from dashboard.theme import attrs
from store.access import Rights

SIGN_IN, SIGN_OUT = "/sign-in", "/sign-out"


def menu(account: Account | None, rights: Rights, here: str) -> Any:
    """Name, role and the way out; or the way in, which comes back here.

    Args:
        account: who looks; None where nobody signs in.
        rights: of whoever looks.
        here: address of the page, with what is asked for.
    """
    if account is None:
        return None
    if not account.name:
        return html.A("Sign in", href=_sign_in(here), className="ss-button")
    about = f"Account: {account.name}, {rights.role.word}"
    inside: list[Any] = [
        html.P([html.Strong(account.name), f", {rights.role.word}"]),
        html.P(f"The role comes from {rights.set_by}.", className="ss-dim"),
    ]
    if account.signs_out:
        # A form of the browser's own: it works without a script, and never by a link.
        out = html.Button("Sign out", type="submit", className="ss-button")
        inside.append(html.Form(out, method="POST", action=SIGN_OUT))
    return html.Details(
        [
            html.Summary(account.name, className="ss-button ss-account", title=about,
                         **attrs({"aria-label": about})),
            html.Div(inside, className="ss-pop ss-pop-right ss-act"),
        ],
        className="ss-menu",
    )  # fmt: skip


def _sign_in(here: str) -> str:
    return f"{SIGN_IN}?next={quote(here)}"


def known_by(parts: Sequence[Any], account: Account | None) -> list[Any]:
    """The same parts; whoever has signed in is not asked for a name, but shown the own.

    Args:
        parts: of a page; changed where they lie.
        account: who looks.
    """
    if account is None or not account.name:
        return list(parts)
    return [_named(part, account.name) for part in parts]


def _named(part: Any, name: str) -> Any:
    if isinstance(part, list | tuple):
        return [_named(one, name) for one in part]
    if isinstance(part, Plain):
        is_who = any(isinstance(node, list) and WHO in node[1] for node in part.tree)
        return html.Span(f"As {name}", className="ss-dim ss-as") if is_who else part
    inside = getattr(part, "children", None)
    if isinstance(part, Component) and inside is not None:
        part.children = _named(inside, name)
    return part
