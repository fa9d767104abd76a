"""Templates: the built-in ones hold, and mistakes are named with the nearest name."""

import pytest

from analysis.reports import template
from analysis.reports.sections import SECTIONS
from store.errors import InputError

KNOWN = list(SECTIONS)


@pytest.mark.parametrize("name", template.BUILT_IN)
def test_each_built_in_template_is_good(name):
    found = template.find(name, None, KNOWN)
    assert found.kind == name
    assert found.sections


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('kind = "weekly"\nsections = ["slos"]', "did you mean slo?"),
        ('kind = "weekly"\nsection = ["slo"]', "did you mean sections?"),
        ('kind = "weakly"\nsections = ["slo"]', "did you mean weekly?"),
        ('kind = "weekly"\nsections = []', "there are: why, alerts"),
        ('kind = "weekly"\nsections = ["slo", "slo"]', "named twice"),
        ('kind = "weekly"\nsections = ["slo"]\n[scope]\nmodels = "a"', "did you mean model?"),
        ('kind = "weekly"\nsections = ["slo"]\n[scope]\nmodel = ["a"]', "commas"),
        ("kind = weekly", "this is no TOML"),
        ('sections = ["slo"]', "kind is missing"),
    ],
)
def test_a_mistake_is_said_with_what_was_meant(text, said):
    with pytest.raises(InputError) as caught:
        template.read(text, "mine.toml", KNOWN)
    assert said in str(caught.value)
    assert "mine.toml" in str(caught.value)


def test_a_template_of_the_folder_replaces_a_built_in_one(tmp_path):
    (tmp_path / "weekly.toml").write_text(
        'kind = "weekly"\ntitle = "Ours"\nsections = ["slo"]\n[scope]\nmodel = "a,b"\n', "utf-8"
    )
    found = template.find("weekly", tmp_path, KNOWN)
    assert (found.title, found.sections, found.scope) == ("Ours", ("slo",), {"model": "a,b"})


def test_a_template_that_there_is_not_names_the_nearest(tmp_path):
    (tmp_path / "board.toml").write_text('kind = "monthly"\nsections = ["slo"]', "utf-8")
    assert "board" in template.names(tmp_path)
    with pytest.raises(InputError, match="did you mean board"):
        template.find("bord", tmp_path, KNOWN)
    with pytest.raises(InputError, match="there is no report template"):
        template.find("../weekly", tmp_path, KNOWN)
