"""The generated reference pages say what the code does now."""

import json
from pathlib import Path

import pytest

from servescope import reference

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def pages():
    return reference.pages()


@pytest.mark.parametrize(
    "name",
    ["settings.md", "cli.md", "api.md", "openapi.json", "signals.md", "actuator-settings.md"],
)
def test_the_page_is_up_to_date(pages, name):
    """`make docs` was run after the last change."""
    written = (DOCS / name).read_text("utf-8") if (DOCS / name).exists() else ""
    assert written == pages[name], f"docs/{name} is stale: run `make docs`"


def test_every_setting_says_what_it_means(pages):
    """No setting without a sentence and an environment variable."""
    rows = [line for line in pages["settings.md"].splitlines() if line.startswith("| `")]
    assert len(rows) > 20
    for row in rows:
        name, _, variable, meaning = [cell.strip() for cell in row.strip("|").split("|")]
        assert name.strip("`").upper() in variable
        assert len(meaning) > 10


def test_every_option_says_what_it_does():
    """No command and no option without help."""
    for name, command in reference.commands():
        assert command.help, name
        for parameter in command.params:
            assert parameter.help, f"{name} {parameter.name}"


def test_the_api_description_has_examples_and_failures(pages):
    """Every answer shows an example, every operation says that failures are problem documents."""
    described = json.loads(pages["openapi.json"])
    assert described["openapi"].startswith("3.")
    for path, methods in described["paths"].items():
        if not path.startswith("/api/"):
            continue
        for operation in methods.values():
            assert operation["description"]
            answers = operation["responses"]
            if path == "/api/v1/write":  # Prometheus' protocol: no body, failures as plain text
                assert {"204", "400", "415", "503"} <= set(answers)
                continue
            if path not in {"/api/v1/export/requests", "/api/v1/backup"}:  # files, never JSON
                assert "example" in answers["200"]["content"]["application/json"], path
            assert "application/problem+json" in answers["4XX"]["content"], path


def test_names_in_the_description_are_unique(pages):
    """Generated clients need one name an operation."""
    described = json.loads(pages["openapi.json"])
    names = [
        op["operationId"] for methods in described["paths"].values() for op in methods.values()
    ]
    assert len(names) == len(set(names))
