"""The page parser: what the formats allow, what broken exporters send, what the stock one says."""

import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from collector.exposition import PageMemory, SeriesCache, parse

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
