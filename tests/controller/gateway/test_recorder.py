"""Rows of attempts: made without a lie, kept whatever ends the process, lost only in sight."""

import random
import zlib
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.agent.post import Answer, Unreachable
from collector.agent.wire import BATCH_HEADER, SERVER_HEADER
from collector.request_rows.fields import checked
from controller.gateway.ask import Ask, SloClass
from controller.gateway.attempt import Attempt, TraceContext, Usage
from controller.gateway.journal import Journal
from controller.gateway.recorder import MOST_ROWS, spooling_recorder
from controller.gateway.recording import RecorderSettings
from controller.gateway.rows import SPAN_FIELDS, Marks, row_of
from store.clock import VirtualClock
from store.errors import CollectError, ConfigError

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
OK = Answer(200, {"content-type": "application/json", SERVER_HEADER.lower(): "1"}, b"{}")


def ask(number=1, **more):
    told = {"tenant": "acme", "model": "m", "input_tokens": 50, "expected_output_tokens": 8.4}
    return Ask(number, 0.0, likely_output_tokens=20.0, **{**told, **more})


def attempt(number=1, **more):
    told = {"status": "ok", "http_status": 200, "reason": "", "e2e_seconds": 1.5}
    told |= {"path": "/v1/chat/completions", "is_stream": True, "ask": ask(number)}
    return Attempt(request_id="r", arrived_at=NOW, **{**told, **more})


class Server:
    """Takes what is posted, or is not there."""

    def __init__(self, *, is_there=True):
        self.is_there = is_there
        self.batches = {}

    async def post(self, path, headers, body):
        if not self.is_there:
            raise Unreachable("nobody there")
        unpacked = orjson.loads(zlib.decompress(body, 16 + zlib.MAX_WBITS))
        self.batches[headers[BATCH_HEADER]] = (path, unpacked)
        return OK

    async def aclose(self):
        pass

    @property
    def rows(self):
        return [row for _, body in self.batches.values() for row in body["rows"]]

    @property
    def numbers(self):
        return [int(row["request_id"].split(":")[1]) for row in self.rows]


def recorder(folder, server, **more):
    bounds = RecorderSettings("http://there", "edge", folder, spool_reserve_bytes=0, **more)
    return spooling_recorder(bounds, VirtualClock(NOW), lambda: Marks(3, 17), (server,))


def test_a_row_says_what_is_known_and_no_more():
    """Every field fits the store's own check; what is unknown is not there."""
    told = attempt(
        usage=Usage(60, 9, 32), queue_seconds=0.25, ttft_seconds=0.5, tpot_seconds=0.125,
        finish_reason="stop", trace=TraceContext("ab" * 16, "cd" * 8, "ef" * 8),
        ask=ask(slo=SloClass("batch"), weight=2.0, session="s", instance="gpu-1"),
    )  # fmt: skip
    told.gaps.add(0.1, 9)
    row = row_of(told, "g", Marks(3, 17))
    assert (row.pop("span_id"), row.pop("parent_id")) == ("cd" * 8, "ef" * 8)
    found = checked(row, NOW.replace(tzinfo=None))
    assert found.pop("itl_p50_seconds") == pytest.approx(0.1, rel=0.1)
    assert found.pop("itl_p95_seconds") == found.pop("itl_p99_seconds")
    assert found == {
        "request_id": f"{'ab' * 16}:{'cd' * 8}", "arrived_at": NOW.replace(tzinfo=None),
        "status": "ok", "tenant": "acme", "model": "m", "route": "chat/completions",
        "instance": "gpu-1", "slo_class": "batch", "finish_reason": "stop", "input_tokens": 60,
        "output_tokens": 9, "cached_tokens": 32, "predicted_output_tokens": 8,
        "queue_seconds": 0.25, "ttft_seconds": 0.5, "tpot_seconds": 0.125, "e2e_seconds": 1.5,
        "itl_max_seconds": 0.1, "attempt": 1, "is_counted": True, "tenant_weight": 2.0,
        "policy_version": 3, "decision_id": 17, "session_id": "s", "trace_id": "ab" * 16,
    }  # fmt: skip


def test_a_refused_request_has_a_row_with_the_reason():
    """It has no lengths but the estimate, and says what its client was told."""
    row = row_of(
        attempt(status="refused", http_status=429, reason="queue_full", retry_after_seconds=2.0),
        "g", Marks(),
    )  # fmt: skip
    assert (row["admission_reason"], row["retry_after_seconds"]) == ("queue_full", 2.0)
    assert not {"finish_reason", "output_tokens", "ttft_seconds", "instance"} & set(row)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=400), st.text(max_size=400), st.sampled_from(["ok", "failed", "refused"]))
def test_whatever_a_client_writes_fits_the_store(tenant, model, status):
    """Names come from outside; none of them costs the row."""
    told = attempt(ask=ask(tenant=tenant, model=model), status=status, reason=model)
    row = row_of(told, "g", Marks())
    checked({k: v for k, v in row.items() if k not in SPAN_FIELDS}, NOW.replace(tzinfo=None))


async def test_rows_wait_for_a_server_that_is_away(tmp_path):
    """They come in order, once, as soon as it is there; a new process takes them along."""
    server = Server(is_there=False)
    first = recorder(tmp_path, server)
    first.open()
    for number in range(3 * MOST_ROWS):
        first.record(attempt(number))
    await first.aclose()
    assert (server.rows, first.state().waiting_rows) == ([], 3 * MOST_ROWS)
    server.is_there = True
    second = recorder(tmp_path, server)
    second.open()
    second.record(attempt(3 * MOST_ROWS))
    await second.aclose()
    assert server.numbers == list(range(3 * MOST_ROWS + 1))
    assert {path for path, _ in server.batches.values()} == {"/api/v1/gateways/edge/rows"}


async def test_what_was_recorded_outlives_the_process(tmp_path):
    """A process that is gone at any moment leaves every row that it recorded."""
    server = Server()
    gone = recorder(tmp_path / "a", server)
    gone.open()
    for number in range(MOST_ROWS + 5):
        gone.record(attempt(number))
    # The folder as a kill would leave it now: nothing was flushed or closed.
    (tmp_path / "b").mkdir()
    for file in (tmp_path / "a").iterdir():
        (tmp_path / "b" / file.name).write_bytes(file.read_bytes())
    after = recorder(tmp_path / "b", server)
    after.open()
    await after.aclose()
    assert server.numbers == list(range(MOST_ROWS + 5))
    await gone.aclose()


async def test_a_torn_line_is_counted(tmp_path):
    """The rows before it are whole."""
    (tmp_path / "rows.open").write_bytes(b'{"request_id":"g:7:1"}\n{"request_id":"g:')
    server = Server()
    one = recorder(tmp_path, server)
    one.open()
    await one.aclose()
    assert server.numbers == [7]
    ((_, body),) = server.batches.values()
    assert [(door, count) for _, door, _, count, _ in body["drops"]] == [("gateway", 1)]


async def test_bounds_drop_the_oldest_and_say_so(tmp_path):
    """A spool that is full keeps the newest rows; the server learns how many went."""
    server = Server(is_there=False)
    one = recorder(tmp_path, server, spool_max_bytes=1 << 20)
    one.open()
    count, dice = 10_000, random.Random(7)  # noqa: S311 - only to be hard to pack
    for number in range(count):
        one.record(attempt(number, ask=ask(number, session=dice.randbytes(120).hex())))
    await one.aclose()
    lost = sum(one.state().dropped.values())
    assert 0 < lost < count
    assert one.state().waiting_rows == count - lost
    server.is_there = True
    again = recorder(tmp_path, server)
    again.open()
    await again.aclose()
    again.flush()
    assert server.numbers == list(range(lost, count))
    told = [drop for _, body in server.batches.values() for drop in body["drops"]]
    assert sum(drop[3] for drop in told) == lost
    assert "gateway.spool_max_bytes" in told[0][2]


async def test_one_bad_row_harms_nobody(tmp_path):
    """It is counted; the answer that it tells of goes on."""
    one = recorder(tmp_path, Server())
    one.open()
    one.record(attempt(path=None))
    assert sum(one.state().dropped.values()) == 1
    await one.aclose()


async def test_a_folder_has_one_gateway(tmp_path):
    """The second is told what to do."""
    one, two = recorder(tmp_path, Server()), recorder(tmp_path, Server())
    one.open()
    with pytest.raises(
        CollectError, match=r"another gateway uses this spool.*gateway\.spool_folder"
    ):
        two.open()
    await one.aclose()
    with pytest.raises(ConfigError, match="is no address of a server"):
        spooling_recorder(RecorderSettings("ftp://x", "edge", tmp_path), VirtualClock(NOW))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(min_size=1).filter(lambda line: b"\n" not in line)), st.integers(0, 99))
def test_a_journal_gives_back_every_whole_line(tmp_path_factory, lines, cut):
    """Cut anywhere: the lines before the cut are there."""
    path = tmp_path_factory.mktemp("j") / "rows"
    journal = Journal(path)
    journal.open()
    assert all(journal.add(line) for line in lines)
    journal.close()
    whole = path.read_bytes()
    rest = whole[: len(whole) - min(cut, len(whole))]
    path.write_bytes(rest)
    found, is_cut = Journal(path).open()
    assert found == lines[: rest.count(b"\n")]
    assert is_cut == (not rest.endswith(b"\n") and rest != b"")
