"""The examples of docs/extending run as they stand there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "extending"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_the_example_of_the_page_keeps_the_contract(path):
    """Block after block in one namespace, as a reader would type them."""
    text = path.read_text("utf-8")
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) >= 2
    names = {"__name__": f"example_{path.stem}"}
    for block in blocks:
        above = "\n" * text[: block.start(1)].count("\n")  # so that a failure names its line
        exec(compile(above + block[1], str(path), "exec"), names)  # noqa: S102 - our own pages


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_the_example_is_as_clean_as_the_code(path):
    """Ruff reads no Markdown when it checks, so that it is handed the blocks of a page."""
    code = "\n".join(BLOCK.findall(path.read_text("utf-8")))
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--stdin-filename", path.with_suffix(".py"), "-"],
        input=code, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_every_page_is_in_the_list():
    """Nobody has to guess that a page exists."""
    listed = (FOLDER / "README.md").read_text("utf-8")
    assert all(f"({path.name})" in listed for path in PAGES)
