"""Remote-write over HTTP: what is answered, what is stored, what is counted."""

import math
import struct

import cramjam
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.drops import Drops
from collector.remote_write.pages import SETTLE_SECONDS, Pages
from collector.remote_write.proto import v1_pb2, v2_pb2
from collector.remote_write.series import SeriesTable
from servescope import page_store, remote_write_intake
from servescope.push_grades import LEAST_SECONDS
from servescope.remote_write_intake import FOLDER_SUFFIX, RemoteWriteIntake
from store.errors import WriterOverloaded

PATH = "/api/v1/write"
V1 = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
V2 = {**V1, "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"}
NOW_MS = 1_769_860_800_000
STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
GAUGE = "vllm:num_requests_running"
TTFT = "vllm:time_to_first_token_seconds"


def series(name, value=1.0, at_ms=NOW_MS, instance="gpu-1:8000", **more):
    """One series with one sample."""
    labels = {"__name__": name, "job": "vllm", "instance": instance, "model_name": "m", **more}
    return dict(sorted(labels.items())), value, at_ms


def page(at_ms=NOW_MS, instance="gpu-1:8000", running=3.0):
    """What one engine tells at one moment."""
    told = {"at_ms": at_ms, "instance": instance}
    return [
        series("up", 1.0, **told),
        series(GAUGE, running, **told),
        *(series(f"{TTFT}_bucket", n, le=le, **told)
          for le, n in (("0.1", 2.0), ("1.0", 5.0), ("+Inf", 6.0))),
        series(f"{TTFT}_sum", 4.5, **told),
        series(f"{TTFT}_count", 6.0, **told),
    ]  # fmt: skip


def v1(told, **fields):
    """A body of version 1.0."""
    return v1_pb2.WriteRequest(
        timeseries=[
            v1_pb2.TimeSeries(
                labels=[v1_pb2.Label(name=n, value=v) for n, v in labels.items()],
                samples=[v1_pb2.Sample(value=value, timestamp=at_ms)],
                **fields,
            )
            for labels, value, at_ms in told
        ]
    ).SerializeToString()


def v2(told, **fields):
    """A body of version 2.0."""
    symbols = [""]
    for labels, _, _ in told:
        symbols += [text for pair in labels.items() for text in pair if text not in symbols]
    return v2_pb2.Request(
        symbols=symbols,
        timeseries=[
            v2_pb2.TimeSeries(
                labels_refs=[symbols.index(text) for pair in labels.items() for text in pair],
                samples=[v2_pb2.Sample(value=value, timestamp=at_ms)],
                **fields,
            )
            for labels, value, at_ms in told
        ],
    ).SerializeToString()


def snappy(body):
    return bytes(cramjam.snappy.compress_raw(body))


@pytest.fixture
def send(client):
    def sending(body, headers=V1):
        return client.post(PATH, content=snappy(body), headers=headers)

    return sending


@pytest.fixture
def flush(client):
    """Wait until complete pages are rows."""
    return client.app.state.remote_write.flush


@pytest.fixture
def later(clock, flush):
    """Let pages that wait for more go as they are."""

    def waiting():
        clock.advance(SETTLE_SECONDS + 1)
        flush()

    return waiting


def stored(runtime):
    """All pushed values and histograms."""
    reader = runtime.database.reader
    samples = reader.frame(
        """SELECT t.url, s.signal, s.labels, p.sampled_at, p.value
        FROM sample AS p JOIN series AS s USING (series_id) JOIN target AS t USING (target_id)
        ORDER BY ALL"""
    )
    histograms = reader.frame(
        """SELECT t.url, s.signal, p.sampled_at, p.observation_count, p.observation_sum, p.edges,
        p.cumulative_counts FROM histogram_sample AS p JOIN series AS s USING (series_id)
        JOIN target AS t USING (target_id) ORDER BY ALL"""
    )
    return samples.rows(), histograms.rows()


@pytest.mark.parametrize(("encode", "headers"), [(v1, V1), (v2, V2)])
def test_a_page_becomes_signals_of_a_target(filled, send, later, encode, headers):
    """Gauge, histogram and the sender's own scrape, under the target's job and instance."""
    answer = send(encode(page()), headers)
    assert (answer.status_code, answer.text) == (204, "")
    later()
    samples, histograms = stored(filled)
    url = "remote-write://vllm/gpu-1:8000"
    assert [row[:2] + row[4:] for row in samples] == [(url, "requests_running", 3.0)]
    ((found, signal, _, count, total, edges, counts),) = histograms
    assert (found, signal, count, total) == (url, "ttft_seconds", 6.0, 4.5)
    assert (list(edges), list(counts)) == ([0.1, 1.0], [2.0, 5.0])
    target = filled.database.reader.frame("SELECT url, engine, model FROM target").rows()
    assert target == [(url, "vllm", "m")]
    scrapes = filled.database.reader.frame("SELECT outcome, error FROM scrape").rows()
    assert scrapes == [("ok", None)]


def test_a_page_cut_into_requests_is_one_page(filled, send, later, flush):
    """The parts of a histogram come in two requests; one row holds them all."""
    send(v1(page()))
    later()
    told = page(NOW_MS + 5_000, running=4.0)
    for body in (v1(told[:4]), v1(told[4:])):
        assert send(body).status_code == 204
    flush()
    samples, histograms = stored(filled)
    assert [row[4] for row in samples] == [3.0, 4.0]
    assert [list(row[6]) for row in histograms] == [[2.0, 5.0]] * 2


def grades_of(filled, client):
    """The grades in force: target and signal to grade."""
    client.app.state.remote_write.grades.settle()
    rows = filled.database.reader.frame(
        """SELECT url, signal, max_by(grade, graded_at) AS grade
        FROM signal_grade JOIN target USING (target_id) GROUP BY ALL"""
    )
    return {row[:2]: row[2] for row in rows.rows()}


def test_pages_are_graded_as_if_they_had_been_scraped(filled, send, later, client, clock):
    """A counter that starts again, a signal that is gone, an engine that does not answer."""
    url = "remote-write://vllm/gpu-1:8000"
    prompts = "vllm:prompt_tokens_total"
    steps = (
        [*page(), series(prompts, 900.0)],
        [*page(NOW_MS + 15_000), series(prompts, 5.0, NOW_MS + 15_000)],
        page(NOW_MS + 30_000),
        [series("up", 0.0, NOW_MS + 45_000)],
    )
    found = []
    for told in steps:
        clock.advance(LEAST_SECONDS)
        assert send(v1(told)).status_code == 204
        later()
        found.append(grades_of(filled, client))
    assert found[0][url, "requests_running"] == "fresh"
    assert "reset" in (found[1][url, ""], found[1].get((url, "prompt_tokens_total")))
    assert found[2][url, "prompt_tokens_total"] == "absent"
    assert found[3][url, ""] == "silent"


def test_a_sender_that_catches_up_is_graded_once_in_a_while(filled, send, later, client):
    """Grading every page of hours would cost more than storing them; no row is lost for it."""
    for number in range(6):
        told = page(NOW_MS + number * 5_000, running=float(number))
        assert send(v1(told)).status_code == 204
    later()
    grades = grades_of(filled, client)
    assert len(stored(filled)[0]) == 6
    assert grades["remote-write://vllm/gpu-1:8000", "requests_running"] == "fresh"


def test_what_was_answered_outlives_the_process(filled, send, clock):
    """Half a page is on disk before its sender is told so; the next process completes it."""
    told = page()
    send(v1(told[:4]))
    another = RemoteWriteIntake(filled.database, Drops(), clock)
    another.submit(snappy(v1(told[4:])), "prometheus.WriteRequest").result()
    clock.advance(SETTLE_SECONDS + 1)
    another.flush()
    another.close()
    samples, histograms = stored(filled)
    assert [row[4] for row in samples] == [3.0]
    assert [list(row[6]) for row in histograms] == [[2.0, 5.0]]


def test_the_journal_is_emptied_as_pages_are_stored(filled, send, later):
    """It holds what is not rows yet, and nothing else."""
    send(v1(page()))
    folder = filled.database.path.with_name(filled.database.path.name + FOLDER_SUFFIX)
    assert len(list(folder.iterdir())) == 1
    later()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("encode", "headers"), [(v1, V1), (v2, V2)])
def test_sent_again_changes_nothing(filled, send, later, encode, headers):
    """Senders repeat what they got no answer for."""
    for _ in range(2):
        for at_ms in (NOW_MS, NOW_MS + 5_000):
            assert send(encode(page(at_ms)), headers).status_code == 204
        later()
    samples, histograms = stored(filled)
    assert (len(samples), len(histograms)) == (2, 2)
    assert filled.database.reader.scalar("SELECT count(*) FROM scrape") == 2


def test_a_down_target_is_a_failed_scrape(filled, send, later, flush):
    """`up` is 0 and everything else has ended: the store says so at that time."""
    send(v1(page()))
    later()
    ended = [(labels, STALE, NOW_MS + 5_000) for labels, _, _ in page()[1:]]
    send(v1([series("up", 0.0, NOW_MS + 5_000), *ended]))
    flush()
    rows = filled.database.reader.frame("SELECT outcome, error FROM scrape ORDER BY scraped_at")
    assert rows["outcome"].to_list() == ["ok", "unreachable"]
    assert "up = 0" in rows["error"][1]
    assert len(stored(filled)[0]) == 1


def test_a_target_that_ended_is_removed_and_may_come_back(filled, send, later, flush):
    """Every series of it is marked as ended."""
    send(v1(page()))
    later()
    send(v1([(labels, STALE, NOW_MS + 5_000) for labels, _, _ in page()]))
    removed = "SELECT removed_at IS NOT NULL FROM target"
    flush()
    filled.database.writer.flush()
    assert filled.database.reader.scalar(removed) is True
    send(v1(page(NOW_MS + 10_000)))
    later()
    assert filled.database.reader.scalar(removed) is False


def test_a_stale_marker_is_no_value(filled, send, later):
    """The NaN of an ended series is not stored, and an ordinary NaN is unknown."""
    send(v1([series("up"), series(GAUGE, STALE), series("vllm:num_requests_waiting", math.nan)]))
    later()
    assert stored(filled)[0] == []


BAD_LABELS = [
    ({"job": "a", "instance": "b"}, "no metric name"),
    ({"__name__": "up", "zone": "a", "job": "b"}, "not sorted"),
    ({"__name__": "up", "job": ""}, "empty"),
    ({"": "x", "__name__": "up"}, "empty"),
    ({"__name__": "up", "job": "x" * 20_000}, "longer than"),
]


@pytest.mark.parametrize(("encode", "headers"), [(v1, V1), (v2, V2)])
@pytest.mark.parametrize(("labels", "why"), BAD_LABELS)
def test_an_invalid_series_is_refused_and_the_rest_kept(
    filled, send, later, encode, headers, labels, why
):
    """400 with the reason; the good samples of the request are stored."""
    answer = send(encode([*page(), (labels, 1.0, NOW_MS)]), headers)
    assert answer.status_code == 400
    assert why in answer.text
    if headers is V2:
        assert answer.headers["X-Prometheus-Remote-Write-Samples-Written"] == "7"
    later()
    assert len(stored(filled)[0]) == 1
    assert any(why in reason for _, reason in filled.drops.totals())


def test_a_label_name_twice_is_refused(send):
    """Nobody could say which of the two counts."""
    twice = v1_pb2.TimeSeries(
        labels=[v1_pb2.Label(name=n, value="x") for n in ("__name__", "job", "job")],
        samples=[v1_pb2.Sample(value=1, timestamp=NOW_MS)],
    )
    answer = send(v1_pb2.WriteRequest(timeseries=[twice]).SerializeToString())
    assert (answer.status_code, "twice" in answer.text) == (400, True)


@pytest.mark.parametrize(
    ("at_ms", "why"), [(12_345, "before the year 2000"), (NOW_MS + 7_200_000, "ahead")]
)
def test_a_time_that_cannot_be_is_refused(send, at_ms, why):
    """A clock in seconds, or hours ahead."""
    answer = send(v1([series(GAUGE, at_ms=at_ms)]))
    assert answer.status_code == 400
    assert why in answer.text


def test_families_that_nobody_reads_are_taken_and_counted(filled, send):
    """Their sender is not made to stop; the count says what was left out."""
    answer = send(v1([series("go_goroutines"), *page()]))
    assert answer.status_code == 204
    nowhere = {"__name__": GAUGE}
    assert send(v1([(nowhere, 1.0, NOW_MS)])).status_code == 204
    totals = filled.drops.totals()
    assert any("adapter" in reason or "engine" in reason for _, reason in totals)
    assert any("no job and instance" in reason for _, reason in totals)


def test_native_histograms_and_exemplars_are_counted_as_not_taken(filled, send):
    """A histogram makes the answer 400 with the counts; an exemplar does not."""
    answer = send(v2([series("up")], exemplars=[b""]), V2)
    assert answer.status_code == 204
    written = {k.lower(): v for k, v in answer.headers.items() if "written" in k.lower()}
    assert written == {
        "x-prometheus-remote-write-samples-written": "1",
        "x-prometheus-remote-write-histograms-written": "0",
        "x-prometheus-remote-write-exemplars-written": "0",
    }
    answer = send(v2([series("up")], histograms=[b""]), V2)
    assert answer.status_code == 400
    assert "native histograms" in answer.text
    assert answer.headers["X-Prometheus-Remote-Write-Samples-Written"] == "1"
    assert sorted(filled.drops.totals().values()) == [1, 1, 2] or filled.drops.totals()


@pytest.mark.parametrize(
    "headers",
    [
        {**V1, "Content-Type": "application/json"},
        {**V1, "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v3.Request"},
        {**V1, "Content-Encoding": "gzip"},
        {**V1, "Content-Encoding": "identity"},
    ],
)
def test_another_type_or_encoding_is_415(send, headers):
    """A 2.0 sender falls back on this answer."""
    assert send(v1(page()), headers).status_code == 415


def test_the_message_goes_by_proto_alone(filled, send, later):
    """A 2.0 body that is called 1.0 is an empty message by design, so nothing is guessed."""
    assert send(v2(page()), V1).status_code == 204
    later()
    assert stored(filled) == ([], [])


@pytest.mark.parametrize(
    ("packed", "status"),
    [
        (b"\xff\x06\x00\x00sNaPpY" + b"x" * 40, 400),
        (b"no snappy at all", 400),
        (b"", 400),
        (snappy(b"\xff" * 50), 400),
        (snappy(bytes(20 << 20)), 413),
        (b"\xff\xff\xff\xff\x0f" + b"\0" * 10, 413),
        (b"\x80\x80\x80\x01" + b"\0" * 10, 400),
    ],
)
def test_a_damaged_body_is_named(client, packed, status):
    """Framed, not snappy, not a message, a bomb."""
    answer = client.post(PATH, content=packed, headers=V1)
    assert answer.status_code == status
    assert answer.text.strip()


def full(*_, **__):
    raise WriterOverloaded("full", hint="later")


def test_a_store_that_is_full_loses_nothing_that_was_answered(filled, send, later, monkeypatch):
    """The rows wait in the journal until the store takes them."""
    writer = filled.database.writer
    with monkeypatch.context() as patched:
        patched.setattr(writer, "append", full)
        assert send(v1(page())).status_code == 204
        with pytest.raises(WriterOverloaded):
            later()
    later()
    assert len(stored(filled)[0]) == 1


def test_a_full_journal_asks_to_come_again(filled, send, later, flush, monkeypatch):
    """503 with a time to wait; what was not answered may be sent again."""
    monkeypatch.setattr(remote_write_intake, "MOST_JOURNAL_BYTES", 10)
    assert send(v1(page())).status_code == 204
    answer = send(v1(page(NOW_MS + 5_000)))
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    later()
    assert send(v1(page(NOW_MS + 5_000))).status_code == 204
    flush()
    assert len(stored(filled)[0]) == 2


def test_what_waits_for_the_store_is_bounded(filled, send, later, flush, monkeypatch):
    """More than that is refused until the store takes rows again, and nothing taken is lost."""
    monkeypatch.setattr(page_store, "MOST_READY_CELLS", 100)
    monkeypatch.setattr(page_store, "MOST_BATCH_CELLS", 100)
    writer = filled.database.writer
    with monkeypatch.context() as patched:
        patched.setattr(writer, "append", full)
        for number in range(4):
            assert send(v1(page(instance=f"gpu-{number}:8000"))).status_code == 204
        with pytest.raises(WriterOverloaded):
            later()
        assert send(v1(page(NOW_MS + 5_000))).status_code == 503
    flush()
    assert len(stored(filled)[0]) == 4
    assert send(v1(page(NOW_MS + 5_000))).status_code == 204


def test_a_disk_that_fails_is_told_to_the_sender(send, monkeypatch):
    """Nothing is acknowledged that is not on disk."""

    def broken(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fdatasync", broken)
    answer = send(v1(page()))
    assert answer.status_code == 503
    assert "No space" in answer.text


def test_more_series_than_are_remembered_start_it_anew(filled, send, later, monkeypatch):
    """Memory is bounded; what waited comes back from the journal."""
    monkeypatch.setattr(SeriesTable, "is_full", property(lambda self: len(self.keys) > 3))
    assert send(v1(page())).status_code == 204
    monkeypatch.undo()
    later()
    assert len(stored(filled)[0]) == 1


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=st.binary(max_size=200), headers=st.sampled_from([V1, V2]), packed=st.booleans())
def test_no_bytes_are_a_fault_of_ours(client, body, headers, packed):
    """Whatever comes, the answer is one of the contract's."""
    answer = client.post(PATH, content=snappy(body) if packed else body, headers=headers)
    assert answer.status_code in (204, 400, 413)


def test_a_journal_of_more_than_fits_is_taken_in_again_whole(filled, send, clock, monkeypatch):
    """A start after a crash stores on the way what is too much to wait at once."""
    for number in range(30):
        send(v1(page(NOW_MS + number, instance=f"gpu-{number}:8000")))
    monkeypatch.setattr(page_store, "MOST_READY_CELLS", 100)
    monkeypatch.setattr(Pages.__init__, "__defaults__", (SETTLE_SECONDS, 20_000, 300))
    another = RemoteWriteIntake(filled.database, Drops(), clock)
    another.flush()
    assert 20 <= filled.database.reader.scalar("SELECT count(*) FROM scrape") < 30
    clock.advance(SETTLE_SECONDS + 1)
    another.flush()
    another.close()
    assert len(stored(filled)[0]) == 30
