"""What must stay light stays light: the agent's side, and the first screen of the command line."""

import subprocess
import sys

import pytest

HEAVY = ("duckdb", "polars", "torch", "dash", "scipy", "pandas", "fastapi", "sklearn")


def loaded_by(statement):
    code = f"import sys\n{statement}\nprint(' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return answer.stdout.split()


@pytest.mark.parametrize(
    "module",
    ["collector.exposition", "collector.http_source", "collector.scheduler", "collector.detect"],
)
def test_the_collector_is_light(module):
    """A node agent must not pay for the database, the dashboard or torch."""
    assert loaded_by(f"import {module}") == []


def test_help_is_light():
    """`servescope --help` loads none of the heavy libraries."""
    assert loaded_by("import servescope.cli.main") == []


def test_commands_that_open_a_store_need_no_dashboard():
    """What they share with the server speaks to pages through desks, without drawing any."""
    assert set(loaded_by("import servescope.cli.traces, servescope.runtime")) <= {
        "duckdb",
        "polars",
    }


def test_a_gateway_is_light():
    """All that `servescope gateway` imports; it logs and prints as the server does.

    Polars would be 30 MB, and refuses to be loaded where memory must not be written and run.
    """
    statement = (
        "import servescope.cli.gateway, servescope.cli.output, servescope.config, "
        "servescope.gateway.assembly, servescope.logs"
    )
    assert loaded_by(statement) == []
