"""Reference pages generated from the code: settings, commands, API, signals.

`python -m servescope.reference` writes them to docs/ (and what is for Prometheus and Grafana to
deploy/); a test fails when they are stale.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from servescope import deploying

_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)
_MADE = (
    "<!-- Generated from the code by `make docs`; changes made here are lost. -->\n"
    "<!-- markdownlint-disable MD013 -->"
)


_ACCESS = (
    "Every operation says who may call it (`x-servescope-access` in the description).",
    "A role may do what the roles below it may: viewer, operator, admin. Where people sign in",
    "(`access.sign_in`) it is the user's or the token's, elsewhere `access.role` gives one to",
    "everybody; whoever has less is answered 403 with `needs_role` and `role`, and whoever has not",
    "said who they are 401. ingest, gateway, predict and metrics are doors of programs: a token",
    "needs that scope. anybody is anybody.",
)


def attribute_texts(kind: type[Any]) -> dict[str, str]:
    """The `Attributes:` (or `Args:`) section of a class's docstring: name -> one line of text."""
    doc = inspect.getdoc(kind) or ""
    section = re.split(r"^(?:Attributes|Args):\n", doc, maxsplit=1, flags=re.MULTILINE)[-1]
    return {name: " ".join(text.split()).rstrip(".") for name, text in _ATTRIBUTE.findall(section)}


def pages() -> dict[str, str]:
    """File name -> text of every generated page."""
    described = openapi()
    return {
        "settings.md": settings_page(),
        "cli.md": cli_page(),
        "api.md": api_page(described),
        "openapi.json": json.dumps(described, indent=1, ensure_ascii=False) + "\n",
        "signals.md": signals_page(),
        "actuator-settings.md": actuators_page(),
    }


def settings_page() -> str:
    """docs/settings.md."""
    from servescope.cli.configuration import default_of, toml_value
    from servescope.config import ENV_PREFIX, SECTIONS

    lines = [
        _MADE, "# Settings", "",
        "A flag beats the environment, the environment beats the file, the file beats the default.",
        "The file is TOML (`--config FILE`, else `servescope.toml` in the working folder, else",
        "`~/.config/servescope/servescope.toml`); `servescope config init` writes one with every",
        "setting, `servescope config show --origin` says where each value comes from.",
        "Names carry their unit. Empty text unsets a setting that may be unset.",
        "Lists are written with commas or as JSON in the environment, tables as JSON.",
    ]  # fmt: skip
    for section, kind in SECTIONS.items():
        texts = attribute_texts(kind)
        lines += ["", f"## [{section}]", "", "| Setting | Default | Environment | Meaning |"]
        lines.append("| --- | --- | --- | --- |")
        for field in dataclasses.fields(kind):
            variable = f"{ENV_PREFIX}{section}__{field.name}".upper()
            lines.append(
                f"| `{field.name}` | `{toml_value(default_of(field))}` | `{variable}` "
                f"| {_sentence(texts[field.name])} |"
            )
    return "\n".join(lines) + "\n"


def cli_page() -> str:
    """docs/cli.md."""
    from servescope.cli.output import ExitCode

    lines = [
        _MADE, "# Commands", "",
        "stdout is data, stderr is everything else: `servescope query … > rows.txt` holds rows",
        "only.",
        "With `--json` a command prints one object",
        '`{"schema": "servescope.NAME/1", "data": …, "warnings": […]}`, and',
        '`{"error": {"code", "message", "hint"}}` when it fails.',
        "Times are ISO 8601 in UTC, durations are in seconds, ratios run from 0 to 1.",
        "`NO_COLOR` is respected; in logs (`CI` set, or no terminal) progress is one line every",
        "ten seconds.",
        "Commands talk to the server that holds the store, and open the file when none does.",
        "", "| Exit code | Meaning |", "| --- | --- |",
    ]  # fmt: skip
    meanings = {
        ExitCode.DONE: "done",
        ExitCode.FAILED: "failed",
        ExitCode.USAGE: "wrong usage, configuration or input",
        ExitCode.FINDING: "a gate is not met, or cannot be judged (`servescope slo check`)",
        ExitCode.UNREACHABLE: "the server cannot be reached",
        ExitCode.REFUSED: "refused",
        ExitCode.INTERRUPTED: "interrupted",
    }
    lines += [f"| {int(code)} | {text} |" for code, text in meanings.items()]
    for name, command in commands():
        lines += ["", f"## servescope {name}", "", inspect.cleandoc(command.help or ""), ""]
        lines += [*_command_lines(command)]
    return "\n".join(lines) + "\n"


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with its full name."""
    import typer

    from servescope.cli.main import app

    def walk(command: Any, name: str) -> Iterator[tuple[str, Any]]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield name, command
            return
        if name and getattr(command, "invoke_without_command", False):
            yield name, command
        for word, child in inner.items():
            yield from walk(child, f"{name} {word}".strip())

    yield from walk(typer.main.get_command(app), "")


def openapi() -> dict[str, Any]:
    """The OpenAPI description of the server."""
    from collector.otlp.settings import OtlpSettings
    from collector.settings import ScrapeSettings
    from servescope.config import Config
    from servescope.runtime import Runtime, SloBook
    from servescope.server import create_app
    from servescope.settings import ServerSettings
    from store.clock import WallClock
    from store.database import Database
    from store.settings import StoreSettings

    # The defaults, whatever this machine's own configuration says.
    config = Config(ServerSettings(), ScrapeSettings(), StoreSettings(), OtlpSettings(), None, {})
    clock = WallClock()
    with Database.open(None, config.store.alone(), clock) as database:
        app = create_app(Runtime(config, database, clock, SloBook(None, clock)))
        return app.openapi()


def api_page(described: dict[str, Any]) -> str:
    """docs/api.md."""
    from analysis.views import VIEWS
    from servescope.api.negotiate import MEDIA_TYPES

    lines = [_MADE, "# REST API", "", inspect.cleandoc(described["info"]["description"]), "",
             "The full description with examples is [openapi.json](openapi.json), which a server",
             "answers at `/api/v1/openapi.json`.",
             "", "| Format | Media type |", "| --- | --- |"]  # fmt: skip
    lines += [f"| `{name}` | `{media}` |" for name, media in MEDIA_TYPES.items()]
    lines += ["", *_ACCESS, "", "## Paths"]
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            who = operation["x-servescope-access"]
            lines += ["", f"### {method.upper()} {path}", "", operation["description"], ""]
            lines += [f"Who may: {who}.", ""]
            lines += _parameter_lines(operation)
    lines += ["", "## Views", "", "| View | Question | Options |", "| --- | --- | --- |"]
    for name, spec in VIEWS.items():
        options = ", ".join(f"`{option}`" for option in spec.options)
        lines.append(f"| `{name}` | {spec.question} | {options} |")
    return "\n".join(lines).rstrip() + "\n"


def signals_page() -> str:
    """docs/signals.md."""
    from servescope.signal_reference import lines

    head = [
        _MADE, "# Signals", "",
        "What servescope knows how to store, whatever an engine calls it, and which engine tells",
        "what. Units are base units; a value outside its valid range is counted as bad and left",
        "out.",
    ]  # fmt: skip
    return "\n".join([*head, *lines()]) + "\n"


def actuators_page() -> str:
    """docs/actuator-settings.md."""
    from controller.actuators.page import lines

    return "\n".join([_MADE, *lines()]) + "\n"


def main(folder: Path = Path("docs")) -> None:
    """Write every page."""
    folder.mkdir(exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, "utf-8")
    for name, text in deploying.files().items():
        place = folder.parent / "deploy" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, "utf-8")


def _command_lines(command: Any) -> Iterator[str]:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    for argument in arguments:
        yield f"- `{_argument_name(argument)}`: {argument.help or ''}"
    for option in options:
        names = ", ".join([*option.opts, *option.secondary_opts])
        default = "" if option.default in (None, False, ()) else f" Default: `{option.default}`."
        yield f"- `{names}`: {option.help or ''}.{default}".replace("..", ".")


def _argument_name(argument: Any) -> str:
    return argument.metavar or str(argument.name).upper()


def _parameter_lines(operation: dict[str, Any]) -> Iterator[str]:
    for parameter in operation.get("parameters", []):
        text = parameter.get("description") or f"the {parameter['name']}"
        yield f"- `{parameter['name']}` ({parameter['in']}): {text}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


if __name__ == "__main__":
    main()
