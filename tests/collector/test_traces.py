"""Recognising trace files and planning their loads."""

import gzip
import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.traces.plan import FORMATS, parse_map, plan, sniff
from store.errors import InputError

TRACES = Path(__file__).parents[1] / "data" / "traces"
AZURE_HEADER = b"TIMESTAMP,ContextTokens,GeneratedTokens\n"


def written(path, data):
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


@pytest.mark.parametrize(
    ("file", "form", "source"),
    [
        ("AzureLLMInferenceTrace_conv.csv", "azure", "azure-2023-conv"),
        ("AzureLLMInferenceTrace_code.csv", "azure", "azure-2023-code"),
        ("conversation_trace.jsonl", "mooncake", "mooncake-conversation"),
        ("FCFS/all_results_overload.jsonl", "vtc", "vtc-fcfs-overload"),
        ("m-small/chunk-10-trace.csv", "servegen", "servegen-m-small"),
        ("BurstGPT_invented.csv", "burstgpt", "burstgpt_invented"),
        ("BurstGPT_sessions_invented.csv", "burstgpt", "burstgpt_sessions_invented"),
    ],
)
def test_a_public_trace_is_recognised(file, form, source):
    """The format and the name of the source follow from the file itself."""
    match = sniff(TRACES / file)

    assert match.format.name == form
    assert match.format.sources(match.head) == (source,)


def test_compressed_files_are_seen_through(tmp_path):
    """A gzip or zstd file is recognised by what is in it."""
    import pyarrow as pa

    text = (TRACES / "AzureLLMInferenceTrace_conv.csv").read_bytes()
    packed = written(tmp_path / "conv.csv.gz", gzip.compress(text))
    other = tmp_path / "conv.csv.zst"
    with pa.output_stream(str(other), compression="zstd") as stream:
        stream.write(text)

    assert sniff(packed).format.name == sniff(other).format.name == "azure"


def test_files_become_one_load_a_source():
    """Two services are two sources; the clients of one folder are one."""
    clients = sorted((TRACES / "m-small").glob("*.csv"))
    azure = sorted(TRACES.glob("Azure*.csv"))

    loads = plan([*azure, *clients])

    names = [(load.source.name, len(load.files)) for load in loads]
    assert names == [("azure-2023-code", 1), ("azure-2023-conv", 1), ("servegen-m-small", 3)]


def test_a_name_gathers_all_files_in_one_source():
    """With a name of one's own, several files go to one source, each still with its route."""
    loads = plan(sorted(TRACES.glob("Azure*.csv")), source_name="azure")

    assert [load.source.name for load in loads] == ["azure", "azure"]
    assert [load.constant_labels["route"] for load in loads] == ["code", "conv"]


def test_sources_that_differ_cannot_share_a_name():
    """A UTC trace and a relative one are not put under one clock."""
    files = [TRACES / "AzureLLMInferenceTrace_conv.csv", TRACES / "conversation_trace.jsonl"]

    with pytest.raises(InputError, match="cannot all become the source"):
        plan(files, source_name="all")


BAD_FILES = {
    "empty": (b"", "empty"),
    "blank": (b"\n \n", "no data"),
    "binary": (bytes(range(256)) * 8, "binary"),
    "zip": (b"PK\x03\x04rest", "zip archive"),
    "tar": (b"x" * 257 + b"ustar" + b"x" * 200, "tar archive"),
    "broken gzip": (b"\x1f\x8b\x08\x00" + b"junk" * 20, "gzip data is damaged"),
    "broken zstd": (b"\x28\xb5\x2f\xfd" + b"junk" * 20, "zstd data is damaged"),
    "broken parquet": (b"PAR1" + b"junk" * 20, "Parquet file is damaged"),
    "unknown": (b"a,b\n1,2\n", "format is not known; its columns are: a, b"),
    "endless line": (b"1," * 50_000, "first line is longer"),
    "json list": (b"[1, 2]\n", "format is not known"),
}


@pytest.mark.parametrize(("data", "says"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_file_that_is_no_trace_is_refused_in_one_line(tmp_path, data, says):
    """What, where and what to do, without a line break."""
    file = written(tmp_path / "file", data)

    with pytest.raises(InputError, match=says) as caught:
        sniff(file)

    assert caught.value.where == str(file)
    assert caught.value.hint
    assert "\n" not in str(caught.value)


def test_a_folder_and_a_missing_file_are_refused(tmp_path):
    """Neither is a trace file."""
    with pytest.raises(InputError, match="folder"):
        sniff(tmp_path)
    with pytest.raises(InputError, match="No such file"):
        sniff(tmp_path / "missing.csv")


def test_insisting_on_the_wrong_format_names_the_columns():
    """The refusal shows what the file has and what the format needs."""
    with pytest.raises(InputError, match=r"not the mooncake format; its columns are: TIMESTAMP"):
        sniff(TRACES / "AzureLLMInferenceTrace_conv.csv", "mooncake")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"format": "parquet"}, "no format is called 'parquet'"),
        ({"format": "mapped"}, "needs a map"),
        ({"format": "azure", "mapping": {"arrived_at": "TIMESTAMP"}}, "does not go with"),
        ({"mapping": {"arrived_at": "Time:s"}}, "no column 'Time'"),
        ({"mapping": {"arrival": "TIMESTAMP"}}, "'arrival' cannot be filled"),
        ({"mapping": {"input_tokens": "ContextTokens"}}, "which column is the time"),
        ({"mapping": {"arrived_at": "ContextTokens"}}, "unit of 'ContextTokens'"),
        ({"mapping": {"arrived_at": "TIMESTAMP:hours"}}, "no column 'TIMESTAMP:hours'|'hours' is"),
    ],
)
def test_options_that_do_not_fit_are_refused(arguments, says):
    """A wrong option is answered before anything is read."""
    with pytest.raises(InputError, match=says):
        plan([TRACES / "AzureLLMInferenceTrace_conv.csv"], **arguments)


def test_no_file_at_all_is_refused():
    """An import of nothing says so."""
    with pytest.raises(InputError, match="no file"):
        plan([])


def test_columns_without_a_name_or_named_twice_can_be_told_apart(tmp_path):
    """An index column without a name, as pandas writes it, does not stop a map."""
    file = written(tmp_path / "t.csv", ',t,"a, b",T\n0,5,"x, y",7\n')

    (load,) = plan([file], mapping={"arrived_at": "t:s", "input_tokens": "T_4"})

    assert list(load.columns) == ["column_1", "t", "a, b", "T_4"]


def test_rejected_rows_never_overwrite_anything(tmp_path):
    """Each load gets a rejects file of its own, and none of them is a trace."""
    files = sorted(TRACES.glob("Azure*.csv"))

    loads = plan(files, rejects_file=tmp_path / "bad.csv")

    names = {load.rejects_file.name for load in loads}
    assert names == {"bad.azure-2023-code.1.csv", "bad.azure-2023-conv.2.csv"}
    with pytest.raises(InputError, match="overwrite the trace"):
        plan(files[:1], rejects_file=files[0])


def test_a_pipe_is_refused(tmp_path):
    """Something that is no file would never end, or be read twice."""
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(InputError, match="no regular file"):
        sniff(tmp_path / "pipe")


def test_the_map_option_is_read():
    """Entries may be repeated options or separated by commas."""
    assert parse_map(["arrived_at=ts:ms, input_tokens=in", "tenant=who"]) == {
        "arrived_at": "ts:ms",
        "input_tokens": "in",
        "tenant": "who",
    }
    for bad in ("arrived_at", "=x", "a=b,a=c"):
        with pytest.raises(InputError):
            parse_map([bad])


def test_a_map_says_which_clock_a_number_is(tmp_path):
    """Small numbers count from a start, large ones are since 1970."""
    file = written(tmp_path / "t.csv", "t,big,text,zone\n5,1700000000,2024-01-01 00:00:00,"
                                       "2024-01-01T00:00:00+02:00\n")  # fmt: skip

    def clock(column):
        return plan([file], mapping={"arrived_at": column})[0].source.clock

    assert clock("t:s") == "relative"
    assert clock("t:epoch") == "utc"
    assert clock("big:s") == "utc"
    assert clock("text") == "local_unknown"
    assert clock("zone:iso") == "utc"


def test_our_own_export_holds_its_sources(tmp_path):
    """One file may hold several sources; each becomes a load of its own."""
    file = tmp_path / "requests.parquet"
    at = pl.Series(["2024-01-01"]).str.to_datetime(time_unit="us")
    pl.DataFrame(
        {
            "source": ["b", "a"],
            "arrived_at": pl.concat([at, at]),
            "status": ["ok", "ok"],
            "request_key": pl.Series([1, 2], dtype=pl.UInt64),
        }
    ).write_parquet(file)

    loads = plan([file])

    assert [load.source.name for load in loads] == ["a", "b"]
    assert {load.source.clock for load in loads} == {"utc"}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_says_what_it_is(name):
    """The registry key is the format's name, and its title is fit for help."""
    assert FORMATS[name].name == name
    assert FORMATS[name].title


@given(data=st.one_of(st.binary(max_size=3000), st.text(max_size=500).map(str.encode)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_bytes_break_the_recognition(tmp_path, data):
    """Whatever a file holds, it is recognised or refused."""
    for prefix in (b"", AZURE_HEADER, b"\x1f\x8b", b'{"timestamp": ', b"PAR1"):
        file = written(tmp_path / "file", prefix + data)
        with suppress(InputError):
            assert plan([file])


def test_a_parquet_file_of_other_columns_types_is_refused(tmp_path):
    """Our own columns with values that are no times are not our own export."""
    file = tmp_path / "export.parquet"
    pl.DataFrame(
        {"source": ["a"], "arrived_at": [7], "status": ["ok"], "request_key": [1]}
    ).write_parquet(file)
    with pytest.raises(InputError, match="holds no times"):
        plan([file])


def test_a_parquet_file_damaged_anywhere_is_refused_or_read(tmp_path):
    """Names that are no text, lengths that point nowhere, pages that are cut: one kind of error."""
    file = tmp_path / "export.parquet"
    pl.DataFrame(
        {"source": ["a"], "arrived_at": [datetime(2026, 1, 1)], "status": ["ok"],
         "request_key": [1]}
    ).write_parquet(file)  # fmt: skip
    whole = file.read_bytes()
    for place in range(4, len(whole) - 4, 5):
        for mask in (0xFF,):
            file.write_bytes(whole[:place] + bytes([whole[place] ^ mask]) + whole[place + 1 :])
            with suppress(InputError):
                plan([file])
