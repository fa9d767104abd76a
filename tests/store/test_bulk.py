"""Bulk load: identity, bad rows, bad files, and that nothing is ever half-written."""

import csv
import fcntl
import gzip
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store import bulk_rows
from store.bulk import load
from store.bulk_spec import BulkLoad, Check, SourceSpec, seconds_text
from store.clock import WallClock
from store.database import Database
from store.errors import InputError
from store.settings import StoreSettings

HEADER = "at,input,output\n"
TIME = Check("no time", "{time} < TIMESTAMP '1970-01-01' OR {time} >= TIMESTAMP '2100-01-01'")


@pytest.fixture
def database():
    with Database.open(None, StoreSettings(), WallClock(), allow_files=True) as opened:
        yield opened


def spec(*files, name="trace", **changes):
    """A three-column CSV, like the simplest public trace."""
    fields = {
        "source": SourceSpec(name, "test", "utc"),
        "files": files,
        "reader": "csv",
        "columns": {"at": "TIMESTAMP", "input": "UINTEGER", "output": "UINTEGER"},
        "select": {"arrived_at": '"at"', "input_tokens": "input", "output_tokens": "output"},
        "checks": (TIME, Check("too long", "input_tokens > 1000")),
        "units": "tokens",
    }
    return BulkLoad(**{**fields, **changes})


def written(folder, lines, name="trace.csv"):
    file = folder / name
    file.write_text(HEADER + "".join(f"{line}\n" for line in lines))
    return file


def stamp(seconds, digits="000000"):
    return f"2024-01-01 00:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{digits}"


def keys(database):
    return database.reader.frame(
        "SELECT arrived_at, input_tokens, request_key FROM request ORDER BY ALL"
    )


def nothing_written(database):
    tables = ("request", "import_run", "rollup_dirty", "session", "request_prefix")
    counts = [database.reader.scalar(f"SELECT count(*) FROM {table}") for table in tables]
    sources = database.reader.scalar("SELECT count(*) FROM source")
    labels = database.reader.scalar("SELECT count(*) FROM request_labels")
    return (*counts, sources, labels) == (0, 0, 0, 0, 0, 1, 1)


def test_keys_stay_the_same(database, tmp_path):
    """The key of a row is pinned: another value would make every re-import double the rows."""
    load(database.writer, spec(written(tmp_path, [f"{stamp(1)},5,6", f"{stamp(1)},5,6"])))

    found = set(keys(database)["request_key"])

    content = "hash(TIMESTAMP '2024-01-01 00:00:01', 5::INTEGER, 6::INTEGER)"
    first, second = duckdb.sql(f"SELECT {content}, hash({content}, 2::BIGINT)").fetchall()[0]
    assert found == {first, second}
    assert first == 18233114451930022730


def test_a_load_notes_what_it_touched(database, tmp_path):
    """The import is on record and the touched parts of the roll-up are marked."""
    report = load(database.writer, spec(written(tmp_path, [f"{stamp(s)},1,1" for s in (5, 700)])))

    record = database.reader.frame(
        "SELECT source_id, file, rows_read, rows_added, rows_duplicate, rows_rejected "
        "FROM import_run"
    )
    assert record.rows() == [(2, "trace.csv", 2, 2, 0, 0)]
    dirty = database.reader.frame("SELECT * FROM rollup_dirty ORDER BY ALL")
    assert [str(row[1]) for row in dirty.rows()] == ["2024-01-01 00:00:00", "2024-01-01 00:10:00"]
    assert report.as_dict()["rows_added"] == 2


def test_a_file_is_not_kept_in_memory_once_it_was_read(database, tmp_path):
    """A server that gets a small file every second would fill its memory with them."""
    file = tmp_path / "rows.parquet"
    database.reader.frame(
        "SELECT TIMESTAMP '2024-01-01' + to_seconds(range) AS at, 1::UINTEGER AS input,"
        " 1::UINTEGER AS output FROM range(60)"
    ).write_parquet(file)
    load(database.writer, spec(file, reader="parquet"))

    held = dict(database.reader.frame("SELECT tag, memory_usage_bytes FROM duckdb_memory()").rows())
    assert held["EXTERNAL_FILE_CACHE"] == 0


def test_growing_files_add_only_what_is_new(database, tmp_path):
    """A longer version of a trace adds its new rows, and copies are told apart by their number."""
    load(database.writer, spec(written(tmp_path, [f"{stamp(1)},5,6"] * 2)))

    longer = [f"{stamp(1)},5,6"] * 3 + [f"{stamp(2)},5,6"]
    report = load(database.writer, spec(written(tmp_path, longer)))

    assert (report.rows_added, report.rows_duplicate) == (2, 2)
    assert keys(database).height == 4


def test_the_same_rows_under_two_names_are_two_sources(database, tmp_path):
    """Identity is within a source."""
    file = written(tmp_path, [f"{stamp(1)},5,6"])

    reports = [load(database.writer, spec(file, name=name)) for name in ("a", "b")]

    assert [report.rows_added for report in reports] == [1, 1]


def test_a_source_keeps_its_clock(database, tmp_path):
    """Relative times cannot be added to a source in UTC."""
    file = written(tmp_path, [f"{stamp(1)},5,6"])
    load(database.writer, spec(file))

    with pytest.raises(InputError, match="exists already"):
        load(database.writer, spec(file, source=SourceSpec("trace", "test", "relative")))


def test_large_loads_are_compared_in_slices(database, tmp_path, monkeypatch):
    """Cutting a load into slices of time gives the same rows as one piece."""
    monkeypatch.setattr(bulk_rows, "_SLICE_ROWS", 100)
    lines = [f"{stamp(s)},{s % 7},1" for s in range(600) for _ in range(2)]
    file = written(tmp_path, lines)
    first = load(database.writer, spec(file, labels={"tenant": "input"}))

    again = load(database.writer, spec(file, labels={"tenant": "input"}))

    assert (first.rows_added, again.rows_added, again.rows_duplicate) == (1200, 0, 1200)
    assert keys(database)["request_key"].n_unique() == 1200


moments = st.integers(min_value=0, max_value=40)
contents = st.lists(st.tuples(moments, st.integers(0, 3)), min_size=1, max_size=60)


@given(rows=contents, order=st.randoms(use_true_random=False), labelled=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None,
          max_examples=40)  # fmt: skip
def test_order_and_copies_do_not_matter(tmp_path, rows, order, labelled):
    """Any order of the same rows, copies included, is the same set of requests."""
    shuffled = list(rows)
    order.shuffle(shuffled)
    changes = {"labels": {"tenant": "output"}} if labelled else {}
    with Database.open(None, StoreSettings(), WallClock(), allow_files=True) as database:
        lines = [[f"{stamp(s)},{n},1" for s, n in part] for part in (rows, shuffled)]
        first = load(database.writer, spec(written(tmp_path, lines[0]), **changes))
        stored = keys(database)
        again = load(database.writer, spec(written(tmp_path, lines[1]), **changes))

        assert (first.rows_added, again.rows_added) == (len(rows), 0)
        assert keys(database).equals(stored)
        assert stored["request_key"].n_unique() == len(rows)


BAD_LINES = {
    "a time that is none": ("soon,1,1", "does not fit: at"),
    "no time": (",1,1", "no time"),
    "an absurd time": ("9999-01-01 00:00:00,1,1", "no time"),
    "endless time": ("infinity,1,1", "no time"),
    "negative tokens": (f"{stamp(3)},-1,1", "does not fit: input"),
    "NaN tokens": (f"{stamp(3)},NaN,1", "does not fit: input"),
    "a missing field": (f"{stamp(3)},1", "fields are missing: output"),
    "too many fields": (f"{stamp(3)},1,2,3", "too many fields"),
    "a failed check": (f"{stamp(3)},1001,1", "too long"),
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize(("line", "reason"), BAD_LINES.values(), ids=BAD_LINES)
def test_bad_rows_are_listed_and_left_out(database, tmp_path, line, reason, packed):
    """A bad row goes to the rejects file with its line, reason and text; the others are kept."""
    good = [f"{stamp(s)},1,1" for s in range(4)]
    file = written(tmp_path, [*good[:2], "", line, *good[2:]])
    if packed:
        file = tmp_path / "trace.csv.gz"
        file.write_bytes(gzip.compress((tmp_path / "trace.csv").read_bytes()))

    report = load(database.writer, spec(file))

    assert (report.rows_read, report.rows_added, report.rows_rejected) == (5, 4, 1)
    with Path(report.rejects_file).open(newline="") as rejects:
        (found,) = csv.DictReader(rejects)
    assert found["file"] == str(file)
    assert found["line"] == "5"
    assert reason in found["reason"]
    assert found["text"] == line
    assert keys(database).height == 4
    assert report.rejects_file in "\n".join(report.sentences())


def test_quoted_line_breaks_do_not_shift_the_line(database, tmp_path):
    """The line of a bad row is right even after a field with a line break in it."""
    file = tmp_path / "t.csv"
    file.write_text(f'at,input,note\n{stamp(1)},1,"two\nlines"\n{stamp(3)},1001,x\n{stamp(4)},4,\n')
    columns = {"at": "TIMESTAMP", "input": "UINTEGER", "note": "VARCHAR"}
    select = {"arrived_at": '"at"', "input_tokens": "input"}

    report = load(database.writer, spec(file, columns=columns, select=select))

    with Path(report.rejects_file).open(newline="") as rejects:
        (found,) = csv.DictReader(rejects)
    assert (found["line"], found["text"]) == ("4", f"{stamp(3)},1001,x")


def test_rejects_go_where_they_are_told(database, tmp_path):
    """`--rejects` names the file; nothing else is left beside the trace."""
    folder = tmp_path / "in"
    folder.mkdir()
    file = written(folder, [f"{stamp(1)},1,1", f"{stamp(2)},1,1", "soon,1,1"])
    target = tmp_path / "mine.csv"

    load(database.writer, spec(file, rejects_file=target))

    assert target.exists()
    assert list(folder.iterdir()) == [file]


def test_rejects_that_cannot_be_written_stop_the_load(database, tmp_path):
    """Without a place for the rejected rows nothing is imported."""
    file = written(tmp_path, [f"{stamp(1)},1,1", f"{stamp(2)},1,1", "soon,1,1"])

    with pytest.raises(InputError, match="cannot be written"):
        load(database.writer, spec(file, rejects_file=tmp_path / "no" / "mine.csv"))

    assert nothing_written(database)


def test_a_file_that_is_mostly_bad_is_refused(database, tmp_path):
    """More bad rows than good ones mean another format: one line with the first example."""
    file = written(tmp_path, [f"{stamp(1)},1,1", "soon,1,1", "later,1,1"])

    with pytest.raises(InputError, match=r"2 of 3 rows are bad.*line 3: 'soon,1,1'"):
        load(database.writer, spec(file))

    assert nothing_written(database)
    assert list(tmp_path.iterdir()) == [file]


def endless(file):
    file.write_text(f"{HEADER}{stamp(1)},1,1\n{'1,' * 1_000_000}\n{stamp(2)},1,1\n")


def endless_gzip(file):
    endless(file)
    file.write_bytes(gzip.compress(file.read_bytes()))


def cut_gzip(file):
    text = HEADER + "".join(f"{stamp(s)},{s},1\n" for s in range(3000))
    file.write_bytes(gzip.compress(text.encode())[:-3000])


def wrong_sum_gzip(file):
    packed = gzip.compress(f"{HEADER}{stamp(1)},1,1\n".encode())
    file.write_bytes(packed[:-8] + b"\0" * 4 + packed[-4:])


BAD_FILES = {
    "million columns": (endless, "more than 1,000 fields"),
    "million columns in gzip": (endless_gzip, "more than 1,000 fields"),
    "cut gzip": (cut_gzip, "cut short"),
    "gzip with a wrong sum": (wrong_sum_gzip, "gzip data is damaged"),
    "header only": (lambda f: f.write_text(HEADER), "nothing to import: no rows"),
    "all rows bad": (lambda f: f.write_text(f"{HEADER}x,1,1\n"), "1 of 1 rows are bad"),
    "missing": (lambda _: None, "No such file"),
    "folder": (lambda f: f.mkdir(), "directory"),
}


@pytest.mark.parametrize(("make", "says"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_leaves_nothing_behind(database, tmp_path, make, says):
    """One line that says what and where, and an untouched store and folder."""
    file = tmp_path / "trace.csv"
    make(file)
    before = sorted(tmp_path.iterdir())

    with pytest.raises(InputError, match=says) as caught:
        load(database.writer, spec(file))

    assert "\n" not in str(caught.value)
    assert caught.value.hint
    assert nothing_written(database)
    assert sorted(tmp_path.iterdir()) == before


def test_several_gzip_members_are_one_file(database, tmp_path):
    """Concatenated gzip files are read to their end."""
    file = tmp_path / "trace.csv.gz"
    parts = (f"{HEADER}{stamp(1)},1,1\n", f"{stamp(2)},1,1\n")
    file.write_bytes(b"".join(gzip.compress(part.encode()) for part in parts))

    assert load(database.writer, spec(file)).rows_added == 2


def test_a_file_in_use_is_refused(database, tmp_path):
    """A file that another process holds locked is not finished."""
    file = written(tmp_path, [f"{stamp(1)},1,1"])
    with file.open("rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="locked"):
            load(database.writer, spec(file))

    assert nothing_written(database)


def test_names_with_pattern_characters_are_names(database, tmp_path):
    """A file called `a[1]*.csv` is that file, not a pattern; quotes are harmless."""
    for name in ("a[1]*.csv", "it's?.csv"):
        file = written(tmp_path, [f"{stamp(1)},1,1"], name)

        assert load(database.writer, spec(file, name=name)).rows_added == 1


def test_progress_only_grows_and_ends_at_one(database, tmp_path):
    """The share done never goes back."""
    file = written(tmp_path, [f"{stamp(s % 3600)},{s % 900},1" for s in range(20_000)])
    seen = []

    load(database.writer, spec(file), seen.append)

    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert all(0 <= share <= 1 for share in seen)


def test_giving_up_rolls_back(database, tmp_path):
    """When the caller stops in the middle, nothing of the load stays."""
    file = written(tmp_path, [f"{stamp(s % 3600)},{s % 900},1" for s in range(300_000)])

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(database.writer, spec(file), stop)

    rows = database.reader.scalar("SELECT count(*) FROM request")
    assert rows in (0, 300_000)


@pytest.mark.parametrize(
    ("stamps", "step", "quantised"),
    [
        ([stamp(s // 9) for s in range(900)], 1.0, True),
        ([stamp(s) for s in range(300)], 1.0, False),
        ([stamp(s, "500000") for s in range(300)], 0.5, False),
        ([stamp(s, f"{s * 7 % 1000:03d}123") for s in range(300)], 1e-6, False),
        ([stamp(s) for s in range(20)], None, False),
    ],
)
def test_the_step_of_the_clock_is_measured(database, tmp_path, stamps, step, quantised):
    """The step of the stamps is found where there are rows enough, and lumps are named."""
    report = load(database.writer, spec(written(tmp_path, [f"{at},1,1" for at in stamps])))

    assert report.clock_resolution_seconds == step
    assert any("quantised" in note for note in report.notes) is quantised


def test_seconds_are_written_in_the_best_unit():
    """Small steps read as milli-, micro- or nanoseconds."""
    assert [seconds_text(s) for s in (3, 0.5, 1e-3, 1e-6, 1e-7)] == [
        "3 s", "500 ms", "1 ms", "1 us", "100 ns",
    ]  # fmt: skip
