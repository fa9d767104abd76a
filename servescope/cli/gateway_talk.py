"""What `servescope gateway key|status|policy` do: ask the server, or make a key."""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import Any

from controller.gateway.tenant_book import new_key
from servescope.cli import access
from servescope.cli.data import configured
from servescope.cli.output import Output
from store import toml
from store.errors import InputError

_STATUS = (
    "gateway", "state", "heard", "policy", "apart / bound", "breaches", "waiting rows",
    "dropped rows", "url", "why",
)  # fmt: skip
_HISTORY = ("version", "at", "by", "why")


def run_key(tenant: str, *, as_json: bool) -> None:
    """Print a new key, and the lines that stand for it."""
    made, line = new_key()
    out = Output(as_json=as_json)
    out.document("gateway.key", {"tenant": tenant, "key": made, "hash": line})
    out.line(f"Key, for {tenant} alone, shown only now:  {made}")
    out.line("For the file of tenants (gateway.tenants_file):")
    name = tenant if tenant.replace("-", "").replace("_", "").isalnum() else json.dumps(tenant)
    out.line(f"[tenant.{name}]")
    out.line(f'keys = ["{line}"]')


def run_status(store: Path | None, config_file: Path | None, *, as_json: bool) -> None:
    """Print how gateways stand."""
    out = Output(as_json=as_json)
    told = access.the_server(configured(store, config_file)).get("/gateways", {})
    out.document("gateway.status", told)
    if not told["gateways"]:
        out.line("No gateway has reported; see docs/gateway.md for gateway.server.")
        return
    out.table(_STATUS, [_row(one) for one in told["gateways"]])


def run_policy(
    file: Path | None,
    comment: str,
    store: Path | None,
    config_file: Path | None,
    *,
    history: bool,
    as_json: bool,
) -> None:
    """Print the policy in force, or put another in force.

    Raises:
        InputError: the file is none, or the server refuses what is in it.
    """
    out = Output(as_json=as_json)
    # Before the server is looked for: a wrong name is told where there is none as well.
    policy = None if file is None else _read(file)
    server = access.the_server(configured(store, config_file))
    if file is not None:
        body = {"policy": policy, "comment": comment, "by": getpass.getuser()}
        told = server.send("PUT", "/gateway/policy", json=body)
        out.document("gateway.policy", told)
        out.line(f"Version {told['version']} is in force; gateways follow within seconds.")
    elif history:
        told = server.get("/gateway/policy/history", {})
        out.document("gateway.policy", told)
        out.table(_HISTORY, [
            (one["version"], one["changed_at"], one["changed_by"], one["reason"] or "")
            for one in told["versions"]
        ])  # fmt: skip
    else:
        told = server.get("/gateway/policy", {})
        out.document("gateway.policy", told)
        if told["policy"] is None:
            out.line("Each gateway goes by its own settings.")
            return
        out.line(f"Version {told['version']}, {told['changed_at']}, by {told['changed_by']}")
        out.line(json.dumps(told["policy"], indent=2))


def _row(one: dict[str, Any]) -> tuple[Any, ...]:
    version = one["policy_version"]
    return (
        one["name"], one["state"], f"{one['age_seconds']:.0f} s ago",
        "its own" if version is None else version, *_fairness(one["details"]),
        one["waiting_rows"], one["dropped_rows"], one["url"], one["why"] or "",
    )  # fmt: skip


def _fairness(details: dict[str, Any]) -> tuple[str, str]:
    """How far apart tenants are that wait, what is promised, and how often that was broken."""
    told = details.get("fairness") or {}
    apart, bound = (
        "-" if told.get(name) is None else f"{told[name]:,.0f}"
        for name in ("apart_service", "bound_service")
    )
    return f"{apart} / {bound}", str(told.get("breaches", "-"))


def _read(file: Path) -> Any:
    try:
        text = file.read_text("utf-8")
        return json.loads(text) if text.lstrip().startswith("{") else toml.loads(text)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=str(file)) from error
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"neither JSON nor TOML: {error}"[:300], where=str(file), hint="see docs/gateway.md"
        ) from error
