"""What somebody is told who wrote a name that there is not."""

import pytest

from store.nearest import nearest_hint


@pytest.mark.parametrize(
    ("name", "lists_all", "told"),
    [
        ("vtcc", False, "did you mean vtc?"),
        ("vtcc", True, "did you mean vtc? there are: vtc, fcfs"),
        ("zebra", False, "there are: vtc, fcfs"),
        (7, False, "there are: vtc, fcfs"),
        ("", True, "there are: vtc, fcfs"),
    ],
)
def test_the_nearest_or_else_all(name: object, lists_all: bool, told: str) -> None:
    """A typo gets its name, anything else the list, in its own order."""
    assert nearest_hint(name, ("vtc", "fcfs"), lists_all=lists_all) == told


def test_of_nothing_there_is_none() -> None:
    """An empty list is said, not left blank."""
    assert nearest_hint("vtc", ()) == "there are: none"


def test_a_page_for_a_name_is_not_compared_whole() -> None:
    """A megabyte in place of a name is answered at once, by its beginning."""
    assert nearest_hint("vtc" * 400_000, ("vtc", "fcfs")) == "there are: vtc, fcfs"
