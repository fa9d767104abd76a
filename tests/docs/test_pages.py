"""What the written pages claim exists: commands, files, tables, errors, settings."""

import re
from pathlib import Path

import pytest

from servescope import reference
from store import errors
from store.clock import WallClock
from store.database import Database
from store.settings import StoreSettings

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
COMMAND = re.compile(r"servescope ((?:slo|config) [a-z]+|[a-z]+)((?: [^`|\n]*)?)")


def ids(path):
    return str(path.relative_to(ROOT))


@pytest.fixture(scope="module")
def commands():
    """Command name -> the options it takes."""
    return {
        name.removeprefix("servescope "): {o for p in command.params for o in p.opts}
        for name, command in reference.commands()
    }


def mentioned(path):
    """Commands in code spans and code blocks, with what follows them."""
    for span in re.findall(r"`[^`\n]+`|```.*?```", path.read_text("utf-8"), re.DOTALL):
        yield from COMMAND.findall(span)


@pytest.mark.parametrize("path", PAGES, ids=ids)
def test_commands_and_options_exist(path, commands):
    """A command that a page shows can be typed as it stands there."""
    for name, rest in mentioned(path):
        words = name.split()
        known = name if name in commands else words[0]
        group = any(other.startswith(f"{known} ") for other in commands)
        assert known in commands or group, f"servescope {name}"
        for option in re.findall(r"--[a-z-]+", rest.split("#")[0]):
            takers = [o for c, o in commands.items() if c == known or c.startswith(f"{known} ")]
            assert any(option in options for options in takers), f"{name} {option}"


@pytest.mark.parametrize("path", PAGES, ids=ids)
def test_links_lead_somewhere(path):
    """No link of a page points at a file that is not there."""
    for target in re.findall(r"\]\(([^)#]+)", path.read_text("utf-8")):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), target


def anchors(text):
    """What links into a page may name, as GitHub makes it of headings."""
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", title.strip().lower()) for title in titles]
    return {title.replace(" ", "-") for title in plain}


def test_every_page_is_reached_from_the_readme_and_every_anchor_is_a_heading():
    """By links alone, so that nobody has to know that a page exists."""
    seen, to_read = set(), [ROOT / "README.md"]
    while to_read:
        page = to_read.pop()
        seen.add(page)
        for target in re.findall(r"\]\(([^)]+)\)", page.read_text("utf-8")):
            name, _, anchor = target.partition("#")
            there = (page.parent / name).resolve() if name else page
            if target.startswith("http") or there.suffix != ".md":
                continue
            if anchor:
                assert anchor in anchors(there.read_text("utf-8")), f"{page.name}: {target}"
            if there not in seen and there not in to_read:
                to_read.append(there)
    assert set(PAGES) - seen == set()


def test_make_targets_of_the_readme_exist():
    """Every `make …` a page shows is a target."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for path in PAGES:
        shown = re.findall(r"(?:`|^)make ([a-z-]+)", path.read_text("utf-8"), re.MULTILINE)
        assert set(shown) <= targets, path


def test_the_store_has_the_tables_the_architecture_names():
    """Nobody reads about a table that does not exist."""
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    with Database.open(None, StoreSettings(), WallClock()) as database:
        tables = set(database.reader.frame("SELECT table_name FROM duckdb_tables()")["table_name"])
    named = {"source", "request", "request_labels", "series", "sample", "rollup_dirty", "slo"}
    assert named <= tables
    assert all(f"`{name}`" in text for name in named)


def test_every_error_is_in_the_drawn_tree():
    """The tree at the top of store/errors.py is complete."""
    drawn = errors.__doc__
    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, Exception)]
    assert len(kinds) > 8
    for kind in kinds:
        assert kind.__name__ in drawn
