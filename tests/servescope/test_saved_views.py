"""Saved views are text files that people write too, and nothing they hold leads elsewhere."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from servescope.cli.main import app
from servescope.saved_views import MOST_FILES, SavedViews, read, written
from store.errors import ConfigError, InputError

STATE = {"from": "now-12h", "model": r"a\,b", "cmp": "prev"}


@pytest.fixture
def views(tmp_path):
    return SavedViews(tmp_path / "views")


def test_what_was_saved_is_read_again(views):
    """Title, page and state come back as they were, quotes and other letters included."""
    made = views.save("  Nachtschicht  „Süd“ #1 ", ["slo", "chat-ttft"], STATE)
    assert made.name == "nachtschicht-s-d-1"
    assert views.listed() == [made]
    assert views.get(made.name).params == STATE
    assert (views.folder / "nachtschicht-s-d-1.toml").read_text().startswith("title = ")


texts = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\x7f"), min_size=1,
    max_size=30,
)  # fmt: skip


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,12}", fullmatch=True), texts, max_size=5), texts)
def test_any_state_survives_its_file(tmp_path_factory, state, title):
    """Whatever an address can hold."""
    from dashboard.saved_views import SavedView

    file = tmp_path_factory.mktemp("views") / "one.toml"
    view = SavedView("one", title, ("latency",), state)
    file.write_text(written(view), encoding="utf-8")
    assert read(file) == view


@pytest.mark.parametrize("title", ["", " ", "!!!", "x" * 61])
def test_a_view_needs_a_name(views, title):
    """Nothing is written without one."""
    with pytest.raises(InputError):
        views.save(title, [], {})
    assert not views.folder.exists()


def test_a_view_of_that_name_is_never_overwritten(views):
    """Two people who choose the same name: the second is told."""
    views.save("night", ["latency"], {})
    with pytest.raises(InputError, match="already"):
        views.save("Night", ["slo"], {})
    assert views.get("night").path == ("latency",)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b", ".hidden", "A", ""])
def test_a_name_leads_nowhere_else(views, name):
    """What comes from a browser is not a path."""
    for act in (views.get, views.delete):
        with pytest.raises(InputError):
            act(name)


@pytest.mark.parametrize("params", [{"a b": "x"}, {"model": "a\nb"}, {"model": "x" * 20_000}])
def test_what_no_address_holds_is_not_written(views, params):
    """A forged wish fails with words."""
    with pytest.raises(InputError):
        views.save("odd", ["latency"], params)


def test_too_many_are_refused(views):
    """The folder stays a list that people can read."""
    views.folder.mkdir()
    for number in range(MOST_FILES):
        (views.folder / f"v{number}.toml").write_text("page = ''\n")
    with pytest.raises(InputError, match="delete"):
        views.save("one more", [], {})


@pytest.mark.parametrize(
    "text",
    ["title = ", "colour = 'red'", "[state]\nseeds = 5", "page = 3", "state = 'x'", "#" * 20_000],
)
def test_a_file_with_a_mistake_is_listed_with_it(views, text):
    """Others go on working; the name of the file stays findable."""
    views.save("night", [], {})
    (views.folder / "broken.toml").write_text(text)
    broken, good = views.listed()
    assert broken.name == "broken"
    assert "broken.toml is no saved view" in broken.problem
    assert good.problem is None
    with pytest.raises(ConfigError):
        views.get("broken")


def test_the_command_line_tells_the_same(tmp_path):
    """`views list` and `views show` read the folder beside the configuration."""
    config = tmp_path / "servescope.toml"
    config.write_text("")
    SavedViews(tmp_path / "views").save("Night shift", ["slo", "a b"], {"from": "now-12h"})
    run = CliRunner().invoke
    listed = run(app, ["views", "list", "--config", str(config), "--json"])
    (found,) = json.loads(listed.stdout)["data"]["views"]
    assert found["address"] == "/ui/slo/a%20b?from=now-12h"
    shown = run(app, ["views", "show", "night-shift", "--config", str(config)])
    assert "/ui/slo/a%20b?from=now-12h" in shown.stdout
    assert isinstance(
        run(app, ["views", "show", "day", "--config", str(config)]).exception, InputError
    )
