"""The written size limits: files, functions, classes and folders stay small enough to read."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("store", "collector", "analysis", "predictors", "dashboard", "controller", "servescope")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
FILE_LINES = 500
FUNCTION_LINES = 60
CLASS_PUBLIC_METHODS = 12
FOLDER_NAMES = 12


def name(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_file_is_one_idea(path):
    """No file, function, class or folder front grows past the limits."""
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= FILE_LINES, "split the file by idea"
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            assert lines <= FUNCTION_LINES, f"{node.name} has {lines} lines"
        if isinstance(node, ast.ClassDef):
            public = [
                n.name
                for n in node.body
                if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
                and not n.name.startswith("_")
            ]
            assert len(public) <= CLASS_PUBLIC_METHODS, f"{node.name}: {public}"


@pytest.mark.parametrize("package", PACKAGES)
def test_a_folder_says_what_it_is(package):
    """Each folder opens with a sentence and re-exports little."""
    tree = ast.parse((ROOT / package / "__init__.py").read_text("utf-8"))
    assert ast.get_docstring(tree)
    names = [n for node in tree.body if isinstance(node, ast.ImportFrom) for n in node.names]
    assert len(names) <= FOLDER_NAMES


def test_nobody_inserts_row_by_row():
    """`executemany` writes 700 rows a second; columns write a million."""
    users = [name(path) for path in FILES if "executemany" in path.read_text("utf-8")]
    assert users == []


def test_duckdb_is_opened_in_one_place():
    """Only store/database.py opens the store (bulk spooling uses its own in-memory instance)."""
    users = {name(p) for p in FILES if "duckdb.connect(" in p.read_text("utf-8")}
    assert {user.split("/")[0] for user in users} == {"store"}
