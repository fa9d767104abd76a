"""Admin: who may come in, what programs hold, who is signed in, and what was changed by whom.

It is asked for anew at every look and kept in no cache. A password is only ever sent, and a fresh
token is shown once (assets/wiping.js).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import Slot, card, grid
from dashboard.forms import button, field, menu_field
from dashboard.navigation import Panel
from dashboard.scene import Scene
from dashboard.services import Document, Services
from dashboard.tables import Cell, table
from dashboard.text import when
from store.access import ROLES

TITLE = "Who may come in?"
SOON = timedelta(days=14)
NEVER = "\N{EN DASH}"
_COMMAND = "servescope access add NAME --role admin --password-file FILE"
_TIMES = ("signed_in_at", "created_at", "expires_at", "used_at", "seen_at", "ends_at", "at")


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """Users, tokens, sessions, refused attempts and changes, for admins; else why not."""
    del view
    desk, rights = services.people, services.rights()
    if desk is None:
        words = (
            f"Nobody signs in here: whoever reaches this server has the role {rights.role.word}"
            f" ({rights.set_by})."
        )
        more = html.P(["To let people sign in, add one and set ",
                       html.Code('[access] sign_in = "on"'), ": ", html.Code(_COMMAND)],
                      className="ss-dim")  # fmt: skip
        return [grid(card(TITLE, [html.P(words), more], key="people"), key="people")]
    why_not = rights.why_not("people")
    if why_not:
        inside = html.P(why_not, className="ss-note is-role")
        return [grid(card(TITLE, inside, key="people"), key="people")]
    told = desk.listed()
    return [
        grid(
            _users(told["users"], scene),
            _tokens(told["tokens"], desk.scopes(), scene),
            _sessions(told["sessions"], scene),
            _refused(told["refused"], scene),
            _changes(told["changes"], scene),
            key="people",
        )
    ]


def _users(rows: Sequence[Document], scene: Scene) -> Slot:
    cells: dict[str, Cell] = {
        "name": lambda row: html.Strong(row["name"]),
        "is_disabled": lambda row: "disabled" if row["is_disabled"] else "may sign in",
        "signed_in_at": lambda row: _at(row["signed_in_at"], scene, "never"),
        "created_by": lambda row: f"{row['created_by']}, {_at(row['created_at'], scene)}",
        "change": _user_forms,
    }
    heads = {"is_disabled": "State", "signed_in_at": "Last sign-in", "created_by": "Added by",
             "signs_in": "Signs in by", "change": ""}  # fmt: skip
    columns = ("name", "role", "is_disabled", "signs_in", "signed_in_at", "created_by", "change")
    empty = html.P(["Nobody yet. At the server: ", html.Code(_COMMAND)], className="ss-dim")
    shown = [_table(rows, scene, columns, cells, heads, TITLE) if rows else empty, _new_user()]
    return card(TITLE, shown, key="people-users")


def _new_user() -> html.Div:
    inside = [
        field("name", "New user", "user-new", "ana"),
        menu_field("role", "Role", "user-new", list(ROLES), "viewer"),
        field("password", "Password, 12 characters at least", "user-new", kind="password"),
        button("Add", {"act": "user-add"}, needs="name", label="Add the user"),
    ]
    return html.Div(inside, className="ss-act ss-line-form")


def _user_forms(row: Mapping[str, Any]) -> html.Details:
    name, key = str(row["name"]), f"user-{row['name']}"
    wish = {"act": "user-change", "user": name}
    other = "enable" if row["is_disabled"] else "disable"
    password: list[Any] = [
        field("password", "New password", key, kind="password"),
        button("Set password", {**wish, "what": "password"}, needs="password",
               label=f"Set a new password of {name}", look="is-small"),
    ]  # fmt: skip
    inside = [
        menu_field("role", "Role", key, list(ROLES), str(row["role"])),
        button("Set role", {**wish, "what": "role"}, label=f"Set the role of {name}",
               look="is-small"),
        *(password if row["signs_in"] == "password" else []),
        button(other.capitalize(), {**wish, "what": other}, look="is-small",
               label=f"{other.capitalize()} {name}"),
        button("Remove", {"act": "user-remove", "user": name}, is_held=True, look="is-small",
               label=f"Remove {name}; what is signed in ends"),
    ]  # fmt: skip
    return html.Details(
        [html.Summary(f"Change {name}"), html.Div(inside, className="ss-act")],
        className="ss-inner-fold",
    )


def _tokens(rows: Sequence[Document], scopes: Mapping[str, str], scene: Scene) -> Slot:
    title = "Which programs have tokens?"
    cells: dict[str, Cell] = {
        "name": lambda row: html.Strong(row["name"]),
        "scopes": lambda row: ", ".join(row["scopes"]),
        "state": lambda row: _token_state(row, scene.now),
        "expires_at": lambda row: _at(row["expires_at"], scene, "never"),
        "used_at": lambda row: _at(row["used_at"], scene, "never"),
        "created_by": lambda row: f"{row['created_by']}, {_at(row['created_at'], scene)}",
        "end": _revoke,
    }
    heads = {"expires_at": "Expires", "used_at": "Last used", "created_by": "Made by",
             "token_id": "ID", "scopes": "May", "end": ""}  # fmt: skip
    columns = ("name", "token_id", "scopes", "state", "expires_at", "used_at", "created_by", "end")
    empty = html.P("None yet. A program sends one as: Authorization: Bearer ss_...",
                   className="ss-dim")  # fmt: skip
    shown = [_table(rows, scene, columns, cells, heads, title) if rows else empty]
    what = "; ".join(f"{scope}: {words}" for scope, words in scopes.items() if words)
    inside = [
        field("name", "New token, for", "token-new", "agent gpu-3"),
        menu_field("scope", "May", "token-new", list(scopes), "viewer"),
        field("also", "And", "token-new", "ingest, metrics"),
        field("days", "Days, or never", "token-new", "365"),
        button("Make", {"act": "token-add"}, needs="name", label="Make the token, shown once"),
    ]  # fmt: skip
    form = html.Div(inside, className="ss-act ss-line-form")
    about = html.P(f"Roles may what people may. {what}.", className="ss-dim ss-foot")
    return card(title, [*shown, form, about], key="people-tokens")


def _token_state(row: Mapping[str, Any], now: datetime) -> html.Span:
    look, words = ("good", "● valid") if row["state"] == "valid" else ("none", f"○ {row['state']}")
    expires_at = row["expires_at"]
    if row["state"] == "valid" and expires_at is not None and expires_at - now < SOON:
        look, words = "watch", f"◐ {max(0, (expires_at - now).days)} days left"
    return html.Span(words, className=f"ss-status is-{look}")


def _revoke(row: Mapping[str, Any]) -> Any:
    if row["state"] != "valid":
        return ""
    return button("Revoke", {"act": "token-end", "token": row["token_id"]}, is_held=True,
                  label=f"Revoke the token {row['name']}", look="is-small")  # fmt: skip


def _sessions(rows: Sequence[Document], scene: Scene) -> Slot:
    title = "Who is signed in?"
    cells: dict[str, Cell] = {
        "user": lambda row: html.Strong(row["user"]),
        "browser": lambda row: html.Span(row["browser"], className="ss-words"),
        **{name: _time_cell(name, scene) for name in ("created_at", "seen_at", "ends_at")},
        "end": lambda row: button(
            "End", {"act": "session-end", "session": row["session_id"]}, is_held=True,
            label=f"End this session of {row['user']}", look="is-small",
        ),
    }  # fmt: skip
    heads = {"created_at": "Since", "seen_at": "Last seen", "ends_at": "Ends if silent",
             "way": "By", "address": "From", "end": ""}  # fmt: skip
    columns = ("user", "way", "address", "browser", "created_at", "seen_at", "ends_at", "end")
    if not rows:
        return card(title, html.P("Nobody now.", className="ss-dim"), key="people-sessions")
    return card(title, _table(rows, scene, columns, cells, heads, title), key="people-sessions")


def _refused(rows: Sequence[Document], scene: Scene) -> Slot:
    title = "Who was refused lately?"
    if not rows:
        inside: Any = html.P("No sign-in was refused in the last week.", className="ss-dim")
        return card(title, inside, span=4, key="people-refused")
    cells = {"last_at": _time_cell("last_at", scene)}
    heads = {"name": "Name tried", "address": "From", "attempts": "Attempts", "last_at": "Last"}
    columns = ("name", "address", "attempts", "last_at")
    shown = _table(rows, scene, columns, cells, heads, title)
    return card(title, shown, span=4, key="people-refused")


def _changes(rows: Sequence[Document], scene: Scene) -> Slot:
    title = "Who changed what?"
    if not rows:
        inside: Any = html.P("Nothing is recorded yet.", className="ss-dim")
        return card(title, inside, span=8, key="people-changes")
    cells: dict[str, Cell] = {
        "at": _time_cell("at", scene),
        "actor": lambda row: html.Strong(row["actor"]),
        "became": lambda row: html.Span(row["became"] or "", className="ss-words"),
    }
    heads = {"at": "When", "actor": "Who", "action": "What", "subject": "Of", "became": "Became",
             "origin": "Through"}  # fmt: skip
    columns = ("at", "actor", "action", "subject", "became", "comment", "origin")
    return card(title, _table(rows, scene, columns, cells, heads, title), span=8,
                key="people-changes")  # fmt: skip


def _table(
    rows: Sequence[Document], scene: Scene, columns: Sequence[str], cells: Mapping[str, Cell],
    heads: Mapping[str, str], caption: str,
) -> html.Div:  # fmt: skip
    own = {name: None for name in columns if name not in rows[0]}
    kinds = {name: pl.Datetime("us", "UTC") for name in rows[0] if name in _TIMES}
    frame = pl.DataFrame([{**row, **own} for row in rows], schema_overrides=kinds,
                         infer_schema_length=None)  # fmt: skip
    return table(frame, scene, columns=columns, cells=cells, heads=heads, caption=caption)


def _time_cell(name: str, scene: Scene) -> Cell:
    return lambda row: _at(row[name], scene)


def _at(value: datetime | None, scene: Scene, otherwise: str = NEVER) -> str:
    return otherwise if value is None else when(value, scene.zone)


PANEL = Panel("admin-people", None, body, is_aside=True, is_still=True, is_compared=False)
