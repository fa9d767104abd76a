"""The page parser: what the formats allow, what broken exporters send, what the stock one says."""

import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as open_metrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from collector.exposition import PageMemory, SeriesCache, parse
from collector.exposition_names import escaping_of, unescaped

PAGES = sorted((Path(__file__).parents[1] / "data" / "pages").glob("*.txt"))


def told(page):
    """Name and labels -> value, as plain data."""
    return {(series.name, series.labels): value for series, value in page.values.items()}


def oracle(text):
    """The same from the stock parser, less the `_total` that it adds to counters of its own."""
    exposed = {re.split(r"[{ ]", line)[0] for line in text.splitlines()}
    return {
        (
            sample.name if sample.name in exposed else sample.name.removesuffix("_total"),
            tuple(sorted(sample.labels.items())),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def same(left, right):
    assert left.keys() == right.keys()
    for key, value in left.items():
        assert value == right[key] or (math.isnan(value) and math.isnan(right[key])), key


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_real_pages_read_as_the_stock_parser_reads_them(path):
    """Every sample of a captured page, cold and warm, is what prometheus_client finds."""
    text, cache = path.read_text("utf-8"), SeriesCache()
    expected = oracle(text)
    for _ in range(2):
        page = parse(text.encode(), cache)
        same(told(page), expected)
        assert (page.bad_line_count, page.duplicate_count) == (0, 0)


ACCEPTED = [
    ("a 1", "a", (), 1.0),
    ("a\t1", "a", (), 1.0),
    ("  a   1  ", "a", (), 1.0),
    ("a 1\r", "a", (), 1.0),
    ("a{} 1", "a", (), 1.0),
    ("a{ } 1", "a", (), 1.0),
    ('a{x="y",} 1', "a", (("x", "y"),), 1.0),
    ('a { x = "y" , z="" } 1', "a", (("x", "y"), ("z", "")), 1.0),
    ('a{x="y"}1', "a", (("x", "y"),), 1.0),
    (r'a{x="\\ \" \n"} 1', "a", (("x", '\\ " \n'),), 1.0),
    (r'a{x="C:\dir"} 1', "a", (("x", r"C:\dir"),), 1.0),
    ('a{x="} 2"} 1', "a", (("x", "} 2"),), 1.0),
    ('a{x="héllo"} 1', "a", (("x", "héllo"),), 1.0),
    ("vllm:a_b 1", "vllm:a_b", (), 1.0),
    ("a +Inf", "a", (), math.inf),
    ("a -Inf", "a", (), -math.inf),
    ("a 1.5e-3", "a", (), 0.0015),
    ("a 0x1.8p3", "a", (), 12.0),
    ('{"my.metric",x="y"} 1', "my.metric", (("x", "y"),), 1.0),
    ('{"a"} 1', "a", (), 1.0),
    ('a{"my.label"="y"} 1', "a", (("my.label", "y"),), 1.0),
    ('a_bucket{le="1"} 5 # {trace_id="x"} 0.5', "a_bucket", (("le", "1"),), 5.0),
]


@pytest.mark.parametrize(("line", "name", "labels", "value"), ACCEPTED)
def test_what_the_formats_allow_is_read(line, name, labels, value):
    """Spelling differences that exporters really use are all one sample, seen once or again."""
    cache = SeriesCache()
    for _ in range(2):
        page = parse(line, cache)
        assert told(page) == {(name, labels): value}
        assert page.bad_line_count == 0


BAD = [
    "a",
    "a one",
    "a 1_000",
    "a \u0661",  # a digit, but not one of ours
    "a{ 1",
    'a{x="y} 1',
    "a{x=y} 1",
    'a{x="y"',
    'a{x="1",x="2"} 1',
    'a{x="y" z="w"} 1',
    'a{"x"} 1',
    '{x="y"} 1',
    "1a 1",
    "a 1 2 3",
    "a 1 1.5",
    "a 1 99999999999999999999",
    "a+5",
    "a #5",
    "# TYPE a",
    "# TYPE a nonsense",
    "<html>",
    '{"error": 1}',
]


@pytest.mark.parametrize("line", BAD)
def test_a_bad_line_is_counted_and_the_page_goes_on(line):
    """One broken line costs one line, with its number and a reason, never the page."""
    page = parse(f"before 1\n{line}\nafter 2\n")
    assert told(page) == {("before", ()): 1.0, ("after", ()): 2.0}
    assert page.bad_line_count == 1
    assert page.bad_lines[0].number == 2
    assert page.bad_lines[0].why


def test_bytes_that_are_not_utf8_cost_only_their_line():
    """A label in another encoding is a bad line."""
    page = parse(b'a{x="\xff"} 1\nb 2\n')
    assert told(page) == {("b", ()): 2.0}
    assert page.bad_line_count == 1


def test_not_a_number_is_a_value():
    """NaN is kept here; what it means is for the adapter to say."""
    assert math.isnan(told(parse("a NaN"))[("a", ())])


def test_times_are_seconds_whatever_the_format():
    """Text pages carry milliseconds, OpenMetrics pages seconds."""
    assert list(parse("a 1 1500").timestamps.values()) == [1.5]
    assert list(parse("a 1 1.5\n# EOF", open_metrics=True).timestamps.values()) == [1.5]


def test_an_exemplar_is_not_a_time():
    """The exemplar of a bucket in a text page is left out, not taken for a timestamp."""
    assert parse('a_bucket{le="1"} 5 # {t="x"} 0.5').timestamps == {}


def test_a_series_told_twice_counts_once_with_its_last_value():
    """Also when the labels stand in another order."""
    page = parse('a{x="1",y="2"} 1\na{y="2",x="1"} 7\n')
    assert told(page) == {("a", (("x", "1"), ("y", "2"))): 7.0}
    assert page.duplicate_count == 1


def test_types_and_comments():
    """TYPE lines are read, HELP without text and free comments are let be, quoted names too."""
    page = parse('# NOTE hello\n# HELP a\n# TYPE a counter\n# TYPE "b.c" gauge\n#\n\n')
    assert page.types == {"a": "counter", "b.c": "gauge"}
    assert page.bad_line_count == 0


def test_types_follow_the_page_and_not_the_cache():
    """A restarted engine of another version may give a family another type."""
    cache = SeriesCache()
    assert parse("# TYPE a counter\na 1", cache).types == {"a": "counter"}
    assert parse("# TYPE a gauge\na 1", cache).types == {"a": "gauge"}
    assert parse("a 1", cache).types == {}


def test_open_metrics_says_where_it_ends():
    """The end mark is reported, and nothing behind it is read."""
    assert parse("a 1\n# EOF\nb 2\n", open_metrics=True).ended
    assert told(parse("a 1\n# EOF\nb 2\n", open_metrics=True)) == {("a", ()): 1.0}
    assert not parse("a 1\n", open_metrics=True).ended


def test_an_overfull_page_is_not_read_to_its_end():
    """A page with more samples than allowed says so and stops."""
    page = parse("\n".join(f"a{n} 1" for n in range(100)), most_samples=10)
    assert page.overfull
    assert page.sample_count == 11


def test_the_cache_stays_bounded():
    """An exporter with a time in its labels cannot fill the memory."""
    cache = SeriesCache(most_texts=50)
    for second in range(200):
        parse("\n".join(f'a{{at="{second}.{n}"}} 1' for n in range(10)), cache)
        assert len(cache.by_text) <= 60


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "replace")))
def test_no_bytes_make_it_raise(body):
    """Whatever a port answers, there is a page, warm and cold alike."""
    everyway(body)


def everyway(body):
    """Read a page cold, warm, and by its layout, in both formats: it is always the same page."""
    for open_metrics in (False, True):
        cache, memory = SeriesCache(), PageMemory()
        cold = parse(body, open_metrics=open_metrics)
        for _ in range(3):
            warm = parse(body, cache, open_metrics=open_metrics, memory=memory)
            same(told(cold), told(warm))
            for name in ("types", "units", "sample_count", "bad_line_count", "ended"):
                assert getattr(cold, name) == getattr(warm, name), name
            assert list(cold.timestamps.values()) == list(warm.timestamps.values())


fragments = st.lists(
    st.sampled_from(['a{x="y"} ', "a ", "{", "}", '"', "\\", ",", "=", " ", "#", "1", "\n", "é"])
).map("".join)


@given(fragments)
def test_shuffled_fragments_do_not_make_it_raise(text):
    """Nearly right pages are where parsers break; what was read cold is read warm."""
    cache = SeriesCache()
    same(told(parse(text, cache)), told(parse(text, cache)))
    everyway(text)


names = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,12}", fullmatch=True)
# Names that begin with two underscores are reserved; the stock parser refuses them.
label_names = st.from_regex(r"_?[a-zA-Z][a-zA-Z0-9_]{0,8}", fullmatch=True)
label_values = st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.just("\n"), max_size=12)
samples = st.tuples(
    names, st.dictionaries(label_names, label_values, max_size=4), st.floats(width=64)
)


def line(name, labels, value):
    def escaped(text):
        return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

    inside = ",".join(f'{key}="{escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{inside}}} {value!r}" if labels else f"{name} {value!r}"


@given(st.lists(samples, max_size=8))
def test_every_valid_page_is_read_back(rows):
    """What an exporter wrote comes back, and the stock parser agrees."""
    written = {(name, tuple(sorted(labels.items()))): value for name, labels, value in rows}
    text = "\n".join(line(*row) for row in rows)
    page = parse(text)
    same(told(page), written)
    assert page.bad_line_count == 0
    same(oracle(text + "\n"), written)


# Every rule of acceptance for pages as they are really served, one case each: the page, what is
# read from it, and how many lines are bad.
PAGES_ACCEPTED = {
    "blanks_and_tabs": ('a \t{ x\t=\t"y" }\t \t1 \t\n', {("a", (("x", "y"),)): 1.0}),
    "crlf": ("# TYPE a gauge\r\na 1\r\nb 2\r\n", {("a", ()): 1.0, ("b", ()): 2.0}),
    "trailing_comma": ('a{x="y",} 1\n', {("a", (("x", "y"),)): 1.0}),
    "trailing_comma_after_two": (
        'a{x="y",z="w",} 1\n',
        {("a", (("x", "y"), ("z", "w"))): 1.0},
    ),
    "empty_braces": ("a{} 1\n", {("a", ()): 1.0}),
    "no_final_newline": ("a 1", {("a", ()): 1.0}),
    "interleaved_families": (
        '# TYPE a gauge\na{x="1"} 1\n# TYPE b gauge\nb 2\na{x="2"} 3\n',
        {("a", (("x", "1"),)): 1.0, ("b", ()): 2.0, ("a", (("x", "2"),)): 3.0},
    ),
    "free_comments": ("# NOTE of the exporter\n#\n## x\na 1\n", {("a", ()): 1.0}),
    "help_without_text": ("# HELP a\n# HELP\na 1\n", {("a", ()): 1.0}),
    "missing_type": ("a 1\n", {("a", ()): 1.0}),
    "infinities": ("a +Inf\nb -Inf\n", {("a", ()): math.inf, ("b", ()): -math.inf}),
    "go_hex_float": ("a 0x1.999999999999ap-04\n", {("a", ()): 0.1}),
    "millisecond_time": ("a 1 1700000000123\n", {("a", ()): 1.0}),
    "negative_time": ("a 1 -1\n", {("a", ()): 1.0}),
    "escapes": ('a{x="\\\\ \\" \\n"} 1\n', {("a", (("x", '\\ " \n'),)): 1.0}),
    "duplicate_series": ("a 1\na 2\n", {("a", ()): 2.0}),
    "two_spellings_of_an_edge": (
        'a_bucket{le="1"} 5\na_bucket{le="1.0"} 5\n',
        {("a_bucket", (("le", "1"),)): 5.0, ("a_bucket", (("le", "1.0"),)): 5.0},
    ),
    "edges_unsorted": (
        'a_bucket{le="+Inf"} 9\na_bucket{le="1"} 5\n',
        {("a_bucket", (("le", "+Inf"),)): 9.0, ("a_bucket", (("le", "1"),)): 5.0},
    ),
    "no_infinite_bucket": (
        'a_bucket{le="1"} 5\na_count 9\na_sum 1\n',
        {("a_bucket", (("le", "1"),)): 5.0, ("a_count", ()): 9.0, ("a_sum", ()): 1.0},
    ),
    "quantile_in_a_histogram": (
        '# TYPE a histogram\na{quantile="0.5"} 1\n',
        {("a", (("quantile", "0.5"),)): 1.0},
    ),
    "quoted_utf8_name": (
        '# TYPE "größe.in.m" gauge\n{"größe.in.m","der.ort"="köln"} 1\n',
        {("größe.in.m", (("der.ort", "köln"),)): 1.0},
    ),
    "byte_order_mark": ("\ufeffa 1\n", {("a", ()): 1.0}),
}


@pytest.mark.parametrize("name", PAGES_ACCEPTED)
def test_pages_that_must_be_accepted(name):
    """Cold, warm and by its layout, without a bad line."""
    text, expected = PAGES_ACCEPTED[name]
    cache, memory = SeriesCache(), PageMemory()
    for _ in range(3):
        page = parse(text.encode(), cache, memory=memory)
        assert told(page) == expected
        assert page.bad_line_count == 0


OPEN_METRICS = """# TYPE a_seconds histogram
# UNIT a_seconds seconds
# HELP a_seconds How long.
a_seconds_bucket{le="0.1"} 8 1520879608.5 # {} 0.054
a_seconds_bucket{le="1.0"} 10 1520879608.5 # {trace_id="kx"} 0.67 1520879607.789
a_seconds_bucket{le="+Inf"} 17 1520879608.5
a_seconds_count 17 1520879608.5
a_seconds_sum 324.5 1520879608.5
a_seconds_created 1520430000.123 1520879608.5
# TYPE b counter
b_total 3 # {x="y"} 1
b_created 1520430000.123
# TYPE c gaugehistogram
c_bucket{le="+Inf"} 4
c_gcount 4
c_gsum 1.5
# TYPE d info
d_info{version="1"} 1
# TYPE e stateset
e{e="on"} 1
e{e="off"} 0
# TYPE f unknown
f NaN
# TYPE g summary
g{quantile="0.95"} 12.3
g_count 3
# EOF
"""


def open_oracle(text):
    """Samples, and the times of those that have one, by the stock OpenMetrics parser."""
    found = [
        ((sample.name, tuple(sorted(sample.labels.items()))), sample)
        for family in open_metrics_families(text)
        for sample in family.samples
    ]
    times = {key: float(one.timestamp) for key, one in found if one.timestamp is not None}
    return {key: one.value for key, one in found}, times


def test_open_metrics_reads_as_the_stock_parser_reads_it():
    """Exemplars, units, created times, all nine types, and times in seconds."""
    values, times = open_oracle(OPEN_METRICS)
    cache, memory = SeriesCache(), PageMemory()
    for _ in range(3):
        page = parse(OPEN_METRICS, cache, open_metrics=True, memory=memory)
        same(told(page), values)
        assert {(s.name, s.labels): at for s, at in page.timestamps.items()} == pytest.approx(
            times, abs=1e-6
        )
        assert page.units == {"a_seconds": "seconds"}
        assert page.types["c"] == "gaugehistogram"
        assert (page.ended, page.bad_line_count) == (True, 0)


@pytest.mark.parametrize(
    "line",
    [
        "a 1 NaN",
        "a 1 +Inf",
        "a 1 x",
        'a_bucket{le="1"} 5 # x',
        'a_bucket{le="1"} 5 # {} ',
        'a_bucket{le="1"} 5 # {x="y"} one',
        'a_bucket{le="1"} 5 # {x="y" 1',
        'a_bucket{le="1"} 5 # {} 1 2 3',
    ],
)
def test_bad_lines_of_open_metrics(line):
    """Times that are no moments and exemplars that are none cost their line."""
    page = parse(f"b 1\n{line}\n# EOF\n", open_metrics=True)
    assert (page.bad_line_count, told(page)) == (1, {("b", ()): 1.0})


open_families = st.tuples(
    st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,8}x", fullmatch=True),
    st.lists(
        st.tuples(
            st.dictionaries(label_names, label_values, max_size=3),
            st.floats(allow_nan=False, width=64),
            st.none() | st.integers(0, 2**31).map(lambda ms: ms / 1000),
        ),
        min_size=1,
        max_size=3,
        unique_by=lambda row: tuple(sorted(row[0].items())),
    ),
)


@given(st.lists(open_families, max_size=4, unique_by=lambda family: family[0]))
def test_every_valid_open_metrics_page_reads_as_the_stock_parser_reads_it(families):
    """Gauges with whatever labels, values and times; no difference at all."""
    lines = []
    for name, rows in families:
        lines.append(f"# TYPE {name} gauge")
        for labels, value, at in rows:
            lines.append(line(name, labels, value) + ("" if at is None else f" {at:.3f}"))
    text = "\n".join([*lines, "# EOF", ""])
    try:
        values, times = open_oracle(text)
    except ValueError:
        return  # such as a family whose name looks like the suffix of another
    page = parse(text, open_metrics=True)
    same(told(page), values)
    assert {(s.name, s.labels): at for s, at in page.timestamps.items()} == pytest.approx(
        times, abs=1e-6
    )
    assert page.bad_line_count == 0


@given(st.lists(samples, max_size=8), st.lists(st.floats(width=64), min_size=8, max_size=8))
def test_a_page_read_by_its_layout_is_the_same_page(rows, later):
    """Other numbers under the same names, and then another page altogether."""
    cache, memory = SeriesCache(), PageMemory()
    first = "\n".join(line(*row) for row in rows)
    moved = [(name, labels, value) for (name, labels, _), value in zip(rows, later, strict=False)]
    for text in (first, "\n".join(line(*row) for row in moved), first + "\nzz 1", first):
        same(told(parse(text, cache, memory=memory)), told(parse(text)))


def test_a_page_that_changes_every_time_is_not_learnt_every_time():
    """An exporter with a time in its labels costs no more with a memory than without."""
    cache, memory = SeriesCache(), PageMemory()
    for second in range(40):
        parse(f'a{{at="{second}"}} 1\n', cache, memory=memory)
    assert len(cache.layouts) <= 1, "what no target shows any more is forgotten"


@pytest.mark.parametrize(
    ("told", "written", "name"),
    [
        ("text/plain; version=1.0.0; escaping=dots", "a_dot_b__c", "a.b_c"),
        ("text/plain;version=1.0.0;escaping=values", "U__a_2e_b__c", "a.b_c"),
        ("text/plain; escaping=values", "a_b", "a_b"),
        ("text/plain; escaping=values", "U__a_110000_", "a\ufffd"),
        ("text/plain; version=1.0.0; escaping=underscores", "a__b", "a__b"),
        ("text/plain; version=1.0.0; escaping=allow-utf-8", "a__b", "a__b"),
        ("text/plain; version=0.0.4", "a__b", "a__b"),
    ],
)
def test_escaped_names_are_the_names_behind_them(told, written, name):
    """Of families and labels alike, by the scheme in the type of the page."""
    cache = SeriesCache(escaping=escaping_of(told))
    page = parse(f'# TYPE {written} gauge\n{written}{{{written}="x"}} 1\n', cache)
    assert [(series.name, series.labels) for series in page.values] == [(name, ((name, "x"),))]
    assert page.types == {name: "gauge"}


@given(st.text(max_size=30))
def test_any_name_can_be_unescaped(name):
    """Names come from strangers."""
    for scheme in ("dots", "values"):
        unescaped(name, scheme).encode()


def test_an_end_mark_seen_as_a_comment_still_ends_other_pages():
    """A page in the plain format may hold the same line; what was learned there is not the end."""
    cache = SeriesCache()
    assert not parse("# EOF\na 1\n", cache).ended
    page = parse("a 1\n# EOF\nb 2\n", cache, open_metrics=True)
    assert (page.ended, page.sample_count) == (True, 1)
