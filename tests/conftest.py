"""What all tests share."""

import pytest
from hypothesis import settings

from store.database import Database
from tests.lakes import Lakes, why_not

# A machine that does something else meanwhile is no reason to fail.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def pytest_addoption(parser):
    parser.addoption(
        "--store",
        choices=("file", "lake", "lake-file"),
        default="file",
        help="what stores of tests are kept in: a DuckDB file, or a lake with its catalogue in"
        " PostgreSQL or in a file",
    )


@pytest.fixture(scope="session")
def lakes(request, tmp_path_factory):
    """Lakes with a catalogue in PostgreSQL, where it is installed."""
    asked = request.config.getoption("--store")
    kind = "lake-file" if asked == "lake-file" else "lake"
    if reason := why_not(kind):
        pytest.skip(reason)
    made = Lakes(tmp_path_factory.mktemp("lakes"), kind)
    yield made
    made.close()


@pytest.fixture(scope="session", autouse=True)
def _every_store_is_a_lake(request):
    """With `--store lake`, whatever opens a store opens a lake."""
    if request.config.getoption("--store") == "file":
        yield
        return
    lakes = request.getfixturevalue("lakes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Database, "open", lakes.open)
        yield
