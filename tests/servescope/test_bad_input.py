"""Bad input: one clear line, exit code 2, and nothing half-written, for every kind of bad file."""

import gzip
import json
import os
import subprocess
import sys

import pytest

from servescope.cli.main import main
from servescope.config import load
from servescope.demo import remove_store
from store.errors import StoreLocked

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
ROW = "2023-11-16 18:15:46.680590,374,44\n"
BURST = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
REJECTS = "file,line,reason,text\n"


def packed(text):
    return gzip.compress(text.encode())


BAD = {
    "nothing in it": (b"", "the file is empty"),
    "header alone": (HEADER, "nothing to import"),
    "wrong column": ("TIMESTAMP,Tokens,GeneratedTokens\n" + ROW, "the format is not known"),
    "negative times": (BURST + "-3,GPT,1,2,3,API log\n", "rows are bad"),
    "NaN times": (BURST + "NaN,GPT,1,2,3,API log\n", "rows are bad"),
    "gzip cut short": (packed(HEADER + ROW * 999)[:-9], "cut short"),
    "gzip cut in its head": (packed(HEADER + ROW)[:10], "no data"),
    "a million columns": (",".join(f"c{at}" for at in range(1_000_000)), "first line is longer"),
    "a million fields in a row": (HEADER + "1," * 1_000_000 + "\n", "more than 1,000 fields"),
    "a million keys": (json.dumps({f"c{at}": at for at in range(200_000)}), "first line is longer"),
    "one endless line": (HEADER + "x" * 3_000_000, "rows are bad"),
    "an endless line in gzip": (packed(HEADER + "x" * 5_000_000), "longer than 1 MiB"),
    "binary": (bytes(range(256)) * 99, "binary data"),
    "UTF-16": ((HEADER + ROW).encode("utf-16"), "UTF-16"),
    "lines of an old Mac": ((HEADER + ROW).replace("\n", "\r"), "carriage return"),
    "half of it broken": (HEADER + ROW + "a,b,c\nd,e,f\n", "2 of 3 rows are bad"),
}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Every command works in a folder of its own and leaves its store there."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys):
    """Runs a command: exit code, stdout, stderr."""

    def call(*arguments):
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def written(home):
    """Writes a file to import."""

    def write(data, name="trace.csv"):
        file = home / name
        file.write_bytes(data if isinstance(data, bytes) else data.encode())
        return file

    return write


def refusal(answer):
    """The one line of a command that refused its input."""
    code, out, err = answer
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert line.endswith(")")  # what to do
    return line


def store_files(home):
    folder = home / "data" / "servescope"
    return sorted(file.name for file in folder.glob("*")) if folder.exists() else []


@pytest.mark.parametrize(("content", "says"), BAD.values(), ids=BAD)
def test_a_bad_file_is_one_line_and_leaves_no_store(run, home, written, content, says):
    """What, where and what to do; no store is made for an import of which nothing came."""
    file = written(content)
    line = refusal(run("import", file))
    assert says in line
    assert str(file) in line
    assert store_files(home) == []
    assert [path.name for path in home.glob("trace*")] == ["trace.csv"]


def test_a_huge_file_without_lines_is_refused_at_once(run, home, written):
    """Gigabytes that are one line are not read to their end."""
    file = written(HEADER + ROW)
    os.truncate(file, 10 << 30)
    assert "longer than 1 MiB" in refusal(run("import", file))
    assert store_files(home) == []


def test_mixed_units_are_refused(run, home, written):
    """Seconds and milliseconds in one column are no bad rows but a bad column."""
    rows = "".join(f"{(1_700_000_000 + at) * (1000 if at % 2 else 1)},5\n" for at in range(40))
    file = written("t,n\n" + rows)
    line = refusal(run("import", file, "--map", "arrived_at=t:s", "--map", "input_tokens=n"))
    assert "two units are mixed" in line
    assert store_files(home) == []


def test_links_and_folders_that_lead_nowhere_are_refused(run, home):
    """A loop of links, a link to nothing, a folder and a pipe are no traces."""
    (home / "a.csv").symlink_to("b.csv")
    (home / "b.csv").symlink_to("a.csv")
    (home / "c.csv").symlink_to("nothing.csv")
    os.mkfifo(home / "pipe.csv")
    for name in ("a.csv", "c.csv", "pipe.csv", "."):
        assert (
            "cannot be read" in (line := refusal(run("import", home / name))) or "this is" in line
        )


def test_one_bad_file_among_several_keeps_the_others_out(run, home, written):
    """Files are looked over before any row is stored; the command can be repeated when mended."""
    good = written(HEADER + ROW, "good.csv")
    short = written(packed(HEADER + ROW * 999)[:-9], "short.csv.gz")
    assert "cut short" in refusal(run("import", good, short))
    assert store_files(home) == []


def test_what_was_stored_before_a_bad_file_is_said(run, written):
    """A file that fails while it is parsed does not hide that another one is in."""
    good = written(HEADER + ROW, "good.csv")
    bad = written(BURST + "NaN,GPT,1,2,3,API log\n", "bad.csv")
    assert "stored before it: azure-2023-good" in refusal(run("import", good, bad))
    assert run("query", "SELECT count(*) AS n FROM request", "--format", "csv")[1] == "n\n1\n"


def test_an_old_store_outlives_a_bad_import(run, written):
    """Only a store that was made for the failed import is taken back."""
    assert run("import", written(HEADER + ROW, "good.csv"))[0] == 0
    refusal(run("import", written(HEADER, "bare.csv")))
    assert run("query", "SELECT count(*) AS n FROM request", "--format", "csv")[1] == "n\n1\n"


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_another_separator_is_read(run, written, delimiter):
    """A spreadsheet in another country writes semicolons."""
    code, out, _ = run("import", written((HEADER + ROW).replace(",", delimiter)))
    assert code == 0
    assert "1 rows read" in out


@pytest.mark.parametrize("content", [HEADER + ROW, "my notes\n"])
def test_rejected_rows_never_overwrite_another_file(run, home, written, content):
    """A trace or a note that stands where rejected rows should go is left alone."""
    trace = written(HEADER + ROW * 3 + "a,b,c\n")
    other = written(content, "other.csv")
    assert "would overwrite this file" in refusal(run("import", trace, "--rejects", other))
    assert other.read_text("utf-8") == content
    assert store_files(home) == []


def test_rejected_rows_go_to_no_folder_or_device(run, home, written):
    """Neither is a file that could be replaced."""
    trace = written(HEADER + ROW * 3 + "a,b,c\n")
    for place in (home, "/dev/null"):
        assert "a file of their own" in refusal(run("import", trace, "--rejects", place))
    assert store_files(home) == []


def test_a_list_of_rejected_rows_is_written_anew(run, home, written):
    """The same import again gives the same list, not a refusal."""
    trace = written(HEADER + ROW * 3 + "a,b,c\n")
    for _ in range(2):
        assert run("import", trace, "--rejects", home / "bad.csv")[0] == 0
    assert (home / "bad.csv").read_text("utf-8").startswith(REJECTS)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("a,b", "a comma"),
        ("a\nb", "holds"),
        ("\x1b[31mred", "holds"),
        (" a", "blank"),
        ("x" * 201, "longer than 200"),
    ],
)
def test_a_name_that_cannot_be_asked_for_is_refused(run, home, written, name, says):
    """Scopes list names with commas; a line of output holds a name whole."""
    code, out, err = run("import", written(HEADER + ROW), "--name", name)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert says in err
    assert store_files(home) == []


@pytest.mark.parametrize("name", ["o'brien", 'q"q', "a b", "../x", "日本", "=cmd()"])
def test_any_other_name_can_be_asked_for(run, written, name):
    """Quotes, blanks and slashes in a name are data, in every command."""
    assert run("import", written(HEADER + ROW), "--name", name)[0] == 0
    code, out, _ = run("analyze", name, "--json")
    assert code == 0
    assert json.loads(out)["data"]


def test_an_odd_file_name_gives_a_plain_source_name(run, written):
    """A comma in a file's name does not get into the name of its source."""
    _, out, _ = run("import", written(HEADER + ROW, "odd, name\n.csv"), "--json")
    (report,) = json.loads(out)["data"]["imports"]
    assert report["source"] == "azure-2023-odd_ name_"


def test_an_interrupted_import_leaves_no_store(run, home, written, monkeypatch):
    """Ctrl-C while a file is read ends with 130 and takes the new store back."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("store.bulk.load", interrupted)
    assert run("import", written(HEADER + ROW))[0] == 130
    assert store_files(home) == []


def test_a_fresh_demo_does_not_delete_a_store_in_use(home):
    """`demo --fresh` beside a running demo leaves that one's file alone; a damaged one may go."""
    store = home / "demo.duckdb"
    config = load(None, {}, {})
    script = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print(flush=True); input()"
    command = [sys.executable, "-c", script, str(store)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        with pytest.raises(StoreLocked):
            remove_store(store, config)
        assert store.exists()
        holder.communicate(b"\n")
    store.write_bytes(b"damaged" * 99)
    remove_store(store, config)
    assert not store.exists()
