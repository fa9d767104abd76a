"""The command line's contract: streams, envelopes, exit codes, no traceback for the expected."""

import json
import subprocess
import sys

import pytest

from collector.traces.plan import FORMATS
from servescope.cli.main import main
from servescope.importing import example_files
from servescope.reference import commands

ROWS = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2023-11-16 18:15:51.2224670,879,55
"""
DAY = "2023-11-16 18:16"
SLOS = """
[[slo]]
name = "chat"
kind = "availability"
target_ratio = 0.9
window = "1h"

[[slo]]
name = "first-token"
kind = "ttft"
threshold_seconds = 1.0
target_ratio = 0.95
window = "1h"
"""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def trace(home):
    file = home / "AzureLLMInferenceTrace_conv.csv"
    file.write_text(ROWS, "utf-8")
    return file


@pytest.fixture
def run(capsys):
    def call(*arguments):
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def data(answer):
    code, out, _ = answer
    assert code == 0
    body = json.loads(out)
    assert set(body) == {"schema", "data", "warnings"}
    assert body["schema"].startswith("servescope.")
    return body["data"]


@pytest.mark.parametrize("group", [[], ["slo"], ["controller"]])
def test_a_group_without_a_command_lists_its_commands(run, group):
    """That is help and no failure, though nothing was done."""
    code, out, err = run(*group)
    assert code == 2
    assert not out
    assert err.startswith(" ".join(["Usage: servescope", *group, "[OPTIONS]"]))
    assert "Commands" in err
    assert "see --help" not in err


def test_an_import_says_what_it_did_and_a_second_one_changes_nothing(run, trace):
    """Rows are counted once however often they are imported."""
    first = data(run("import", trace, "--json"))["imports"][0]
    again = data(run("import", trace, "--json"))["imports"][0]
    assert (first["rows_added"], again["rows_added"], again["rows_duplicate"]) == (3, 0, 3)
    assert run("import", trace)[1].count("nothing changed") == 1


def test_what_was_imported_can_be_listed_queried_and_analysed(run, trace):
    """The commands work on one store without naming it."""
    run("import", trace)
    names = [source["name"] for source in data(run("sources", "--json"))["sources"]]
    assert names == ["live", "azure-2023-conv"]
    found = data(run("query", "SELECT sum(input_tokens) AS n FROM requests", "--json"))
    assert found["rows"] == [{"n": 1649}]
    code, out, _ = run("query", "SELECT 1 AS x, 'a' AS y", "--format", "csv")
    assert (code, out) == (0, "x,y\n1,a\n")
    assert data(run("analyze", "azure-2023-conv", "--json"))["views"]["workload_lengths"]


def test_a_trace_file_is_analysed_without_leaving_a_store(run, trace, home):
    """`analyze FILE` keeps nothing; the schema stands in the envelope alone."""
    analysed = data(run("analyze", trace, "--json"))
    assert "schema" not in analysed
    assert analysed["scope"]["sources"] == ["azure-2023-conv"]
    assert not (home / "data").exists()


def test_columns_can_be_mapped_with_commas_or_one_by_one(run, home):
    """Both ways of writing `--map` mean the same rows."""
    (home / "log.csv").write_text("ts,i,o\n1700000000,5,7\n1700000001,6,8\n", "utf-8")
    pairs = ("arrived_at=ts:s", "input_tokens=i", "output_tokens=o")
    first = data(run("import", "log.csv", "--map", ",".join(pairs), "--json"))["imports"][0]
    assert first["rows_added"] == 2
    single = [word for pair in pairs for word in ("--map", pair)]
    again = data(run("import", "log.csv", *single, "--json"))["imports"][0]
    assert (again["rows_added"], again["rows_duplicate"]) == (0, 2)


def test_help_lists_every_format_there_is(run):
    """A format that can be read can be found."""
    options = {option.name: option for option in dict(commands())["import"].params}
    for name in (*FORMATS, "auto", "mapped"):
        assert name in options["format_"].help


def test_two_files_can_be_compared(run):
    """The packaged traces set beside each other."""
    conv, code = example_files()
    status, out, _ = run("analyze", conv, "--compare", code)
    assert status == 0
    assert "Comparison" in out


def test_an_export_can_be_imported_again(run, trace, home):
    """Nothing is lost and nothing doubled on the way through a file."""
    run("import", trace)
    code, out, _ = run("export", "rows.parquet", "--source", "azure-2023-conv")
    assert code == 0
    assert "rows.parquet" in out
    back = data(run("import", "rows.parquet", "--json"))["imports"][0]
    assert (back["rows_added"], back["rows_duplicate"]) == (0, 3)
    moved = data(run("import", "rows.parquet", "--store", "other.duckdb", "--json"))["imports"][0]
    assert moved["rows_added"] == 3


def test_a_gate_exits_3_when_an_objective_is_not_met(run, home):
    """Missed and unknown both close the gate; a met objective alone opens it."""
    lines = [f"{second},ChatGPT,100,{0 if second == 7 else 50},150,API log" for second in range(20)]
    header = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type"
    (home / "invented.csv").write_text("\n".join([header, *lines, ""]), "utf-8")
    run("import", "invented.csv")
    (home / "slo.toml").write_text(SLOS, "utf-8")
    code, out, _ = run("slo", "check")
    assert code == 3
    (unknown,) = [line for line in out.splitlines() if line.startswith("UNKNOWN  first-token")]
    assert unknown.endswith("(UNKNOWN counts as not met)")
    code, out, _ = run("slo", "check", "chat", "--json")
    assert code == 0
    (row,) = json.loads(out)["data"]["slos"]
    assert (row["name"], row["met"], row["attempted"], row["bad"]) == ("chat", True, 20, 1)
    (home / "slo.toml").write_text(SLOS.replace("0.9\n", "0.96\n"), "utf-8")
    code, out, _ = run("slo", "check", "chat")
    assert (code, out.split()[0]) == (3, "MISSED")
    assert run("slo", "check", "nobody")[0] == 2
    kept = data(run("query", "SELECT name FROM slo ORDER BY since_at, name", "--json"))["rows"]
    assert [row["name"] for row in kept] == ["chat", "first-token", "chat"]
    assert [row["name"] for row in data(run("slo", "list", "--json"))["slos"]] == [
        "chat",
        "first-token",
    ]


def test_lint_finds_mistakes_and_the_example_has_none(run, home):
    """`slo init` writes what `slo lint` accepts."""
    assert run("slo", "init")[0] == 0
    assert run("slo", "lint")[0] == 0
    (home / "slo.toml").write_text('[[slo]]\nnam = "x"\n', "utf-8")
    code, out, _ = run("slo", "lint")
    assert code == 2
    assert "did you mean" in out
    assert run("slo", "init")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nope",), 2, "No such command"),
        (("import",), 2, "Missing argument"),
        (("import", "absent.csv"), 2, "absent.csv"),
        (("import", "."), 2, "this is a folder"),
        (("import", "x.csv", "--map", "arrived_at"), 2, "is not STORED=COLUMN"),
        (("query", "SELECT 1"), 2, "there is no store yet"),
        (("query", "SELECT 1", "--format", "xml"), 2, "table, csv or json"),
        (("config", "validate", "--config", "absent.toml"), 2, "absent.toml"),
        (("slo", "check"), 2, "there is no store yet"),
        (("slo", "lint"), 2, "no file with objectives"),
        (("add", "http://gpu:8000"), 4, "no server holds this store"),
        (("up", "--listen", "0.0.0.0:8787"), 2, "nobody signs in here"),
        (("up", "--listen", "nowhere"), 2, "HOST:PORT"),
        (("up", "--target", "ftp://gpu"), 2, "cannot scrape ftp://"),
        (("up", "--listen", "127.0.0.1:0", "--slo", "absent.toml"), 2, "absent.toml"),
        (("train", "nope"), 2, "no predictor 'nope'"),
        (("train", "latency-ttft"), 2, "there is no store yet"),
        (("train", "length-text", "--rows", "absent.parquet"), 2, "no Parquet file"),
        (("predictors", "promote", "nope"), 2, "there is no store yet"),
        (("backtest", "nope"), 2, "no back-test 'nope'"),
    ],
)
def test_what_goes_wrong_is_one_line_with_what_to_do(run, home, arguments, code, said):
    """No traceback, the right exit code, nothing on stdout; JSON when it was asked for."""
    got, out, err = run(*arguments)
    assert (got, out) == (code, "")
    assert said in err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert not list(home.rglob("*.duckdb"))


def test_an_error_as_json_has_code_message_and_hint(run):
    """Programs read the reason from stdout."""
    code, out, err = run("query", "SELECT 1", "--json")
    error = json.loads(out)["error"]
    assert (code, err, error["code"]) == (2, "", "input")
    assert "servescope import" in error["hint"]


def test_sql_that_writes_is_refused_with_5(run, trace):
    """Refusal is its own exit code."""
    run("import", trace)
    code, _, err = run("query", "DELETE FROM request")
    assert code == 5
    assert "not allowed" in err


def test_doctor_ends_every_complaint_with_a_fix(run, home):
    """A damaged store is named, with what to do, and the exit code says that something failed."""
    store = home / "broken.duckdb"
    store.write_bytes(b"this is no database" * 500)
    code, out, _ = run("doctor", "--store", store)
    assert code == 1
    complaints = [line for line in out.splitlines() if line.startswith(("fail", "warn"))]
    assert complaints
    assert all("->" in line for line in complaints)


def test_doctor_is_content_with_a_good_store(run, trace):
    """Every line is ok or a note."""
    run("import", trace)
    code, out, _ = run("doctor")
    assert code == 0
    assert not [line for line in out.splitlines() if line.startswith(("fail", "warn"))]


def test_settings_are_shown_with_their_origin(run, monkeypatch):
    """`config show --origin` answers where a value comes from."""
    monkeypatch.setenv("SERVESCOPE_SERVER__UI_THREADS", "7")
    _, out, _ = run("config", "show", "--origin")
    assert "ui_threads = 7  # SERVESCOPE_SERVER__UI_THREADS" in out
    assert data(run("config", "show", "--json"))["settings"]
    assert data(run("version", "--json"))["duckdb"]


def shell(command):
    """A command of a shell: its exit code (of the first of a pipe) and its stderr."""
    script = f"{sys.executable} -m servescope {command}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "query 'SELECT * FROM range(9000)' | head -1",
        "export - --format azure | head -c 9",
        "config show | true",
        "sources --json | true",
        "sources >&-",
    ],
)
def test_a_reader_who_leaves_is_no_error(home, command):
    """`servescope … | head` ends quietly and well."""
    (home / "many.csv").write_text(
        ROWS + "".join(f"{DAY}:{at % 60:02d},{at},1\n" for at in range(9_000)), "utf-8"
    )
    main(["import", str(home / "many.csv")])
    assert shell(command) == (0, "")


@pytest.mark.parametrize("command", ["version --json", "sources", "export - --format azure"])
def test_a_full_disk_is_one_line(trace, home, command):
    """What cannot be written is said on stderr, without a traceback at the very end."""
    main(["import", str(trace)])
    code, err = shell(f"{command} > /dev/full")
    assert (code, len(err.splitlines())) == (1, 1)
    assert "No space left on device" in err
