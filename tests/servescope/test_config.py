"""Configuration: precedence, origins, and every mistake at once."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servescope.cli.configuration import example_file
from servescope.config import SECTIONS, load, masked, rows, store_path
from store.errors import ConfigError


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "servescope.toml"
    file.write_text(text, "utf-8")
    return file


def test_flag_beats_environment_beats_file_beats_default(tmp_path):
    """The nearer to the command, the stronger; `config show --origin` can say which."""
    file = write(tmp_path, "[store]\nqueue_rows = 10\nadhoc_rows = 11\nqueue_batches = 12\n")
    config = load(
        file,
        {"store.queue_rows": 30, "server.store": None},
        {"SERVESCOPE_STORE__QUEUE_ROWS": "20", "SERVESCOPE_STORE__ADHOC_ROWS": "21"},
    )
    assert (config.store.queue_rows, config.store.adhoc_rows) == (30, 21)
    assert config.store.queue_batches == 12
    origin = {f"{row['section']}.{row['key']}": row["origin"] for row in rows(config)}
    assert origin["store.queue_rows"] == "flag"
    assert origin["store.adhoc_rows"] == "SERVESCOPE_STORE__ADHOC_ROWS"
    assert origin["store.queue_batches"] == str(file)
    assert origin["server.store"] == "default"


def test_all_mistakes_are_listed_with_the_nearest_name(tmp_path):
    """One run shows every mistake, where it stands and what was probably meant."""
    file = write(
        tmp_path,
        '[stor]\nx = 1\n[server]\nlisten = "nowhere"\n[store]\nqueue_row = 1\nadhoc_rows = 0\n',
    )
    with pytest.raises(ConfigError) as caught:
        load(file, {}, {"SERVESCOPE_COLLECTOR__SCRAPE_INTERVAL_SECONDS": "soon"})
    lines = caught.value.message.splitlines()
    assert len(lines) == 5
    assert any("store.adhoc_rows must be at least 1" in line for line in lines)
    assert any("no section [stor]; did you mean store?" in line for line in lines)
    assert any("store.queue_row; did you mean queue_rows?" in line for line in lines)
    assert any(str(file) in line and "HOST:PORT" in line for line in lines)
    assert any(line.startswith("SERVESCOPE_COLLECTOR__SCRAPE_INTERVAL_SECONDS") for line in lines)


def test_a_file_that_is_not_toml_says_where(tmp_path):
    """A syntax error names the file and the line."""
    with pytest.raises(ConfigError, match=r"servescope.toml.*line 1"):
        load(write(tmp_path, "server listen"), {}, {})


def test_a_missing_file_is_an_error_when_it_was_named(tmp_path):
    """A typo in --config never silently means the defaults."""
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "absent.toml", {}, {})


def test_lists_come_from_the_environment_with_commas():
    """Targets can be set without writing JSON in a shell."""
    config = load(None, {}, {"SERVESCOPE_SERVER__TARGETS": "http://a:1, http://b:2"})
    assert config.server.targets == ("http://a:1", "http://b:2")


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ('[{"name": "queue-depth", "most": 3}, "has-replica"]',
         ({"name": "queue-depth", "most": 3}, "has-replica")),
        ('{"name": "queue-depth", "most": 3}', ({"name": "queue-depth", "most": 3},)),
        ('["has-replica"]', ("has-replica",)),
        ("has-replica, queue-depth", ("has-replica", "queue-depth")),
        ("[]", ()),
    ],
)  # fmt: skip
def test_lists_with_tables_come_from_the_environment_as_json(text, rules):
    """Commas inside of a table part no list."""
    assert load(None, {}, {"SERVESCOPE_GATEWAY__RULES": text}).gateway.rules == rules


def test_a_list_that_is_broken_json_is_refused_and_an_address_is_none():
    """Nothing is made of the pieces; brackets of an address are no list."""
    with pytest.raises(ConfigError, match=r"gateway\.rules is no JSON"):
        load(None, {}, {"SERVESCOPE_GATEWAY__RULES": '[{"name": "a", "most": 1'})
    config = load(None, {}, {"SERVESCOPE_SERVER__ALLOWED_HOSTS": "[::1]:80, [::2]:80"})
    assert config.server.allowed_hosts == ("[::1]:80", "[::2]:80")


def test_a_table_in_place_of_a_name_comes_as_json():
    """A line with its own parameters."""
    env = {"SERVESCOPE_GATEWAY__LINE": '{"name": "fair-queue"}', "SERVESCOPE_GATEWAY__WAY": "least"}
    settings = load(None, {}, env).gateway
    assert (settings.line, settings.way) == ({"name": "fair-queue"}, "least")


def test_empty_text_unsets_an_optional_limit(tmp_path):
    """TOML has no null; an empty text keeps samples for ever."""
    config = load(write(tmp_path, '[store]\nsample_retention_days = ""\n'), {}, {})
    assert config.store.sample_retention_days is None


def test_variables_without_a_section_are_none_of_our_business():
    """SERVESCOPE_DATA and the like belong to others."""
    assert load(None, {}, {"SERVESCOPE_DATA": "/somewhere"}).origins == {}


def test_the_example_file_is_valid_and_equal_to_the_defaults(tmp_path):
    """`config init` writes what would happen anyway."""
    text = "\n".join(
        line.removeprefix("# ") if " = " in line else line for line in example_file().splitlines()
    )
    config = load(write(tmp_path, text), {}, {})
    defaults = load(None, {}, {"XDG_CONFIG_HOME": str(tmp_path / "none")})
    assert [getattr(config, name) for name in SECTIONS] == [
        getattr(defaults, name) for name in SECTIONS
    ]


def test_the_store_lies_in_the_data_folder_unless_told_otherwise(monkeypatch, tmp_path):
    """Nothing is written into the working folder by default."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert store_path(load(None, {}, {})) == tmp_path / "servescope" / "store.duckdb"
    assert store_path(load(None, {"server.store": "/x/y.duckdb"}, {})) == Path("/x/y.duckdb")


@given(
    name=st.sampled_from(["token", "api_token", "client_secret", "PASSWORD"]),
    value=st.text(min_size=1),
)
def test_secrets_are_never_shown(name, value):
    """A value whose name says secret is masked."""
    assert masked(name, value) == "***"


def test_passwords_in_urls_are_masked():
    """A target may carry a login; nobody needs to read it."""
    assert masked("targets", ("http://ana:pw@gpu:8000/x",)) == ["http://***@gpu:8000/x"]


@pytest.mark.parametrize("url", ["jaeger/{trace_id}", "https://jaeger.example/trace/"])
def test_an_address_of_traces_must_lead_to_one(tmp_path, url):
    """It would be a link on a page: only to the web, and only with the id in it."""
    file = tmp_path / "servescope.toml"
    file.write_text(f'[dashboard]\ntrace_url = "{url}"\n')
    with pytest.raises(ConfigError, match="trace_url must begin"):
        load(file, {}, {})
