"""The load generator against a small real server: open loop, truthful times, rows that import."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servescope.cli.main import main
from servescope.importing import Options, load_files, planned
from servescope.load import probing, running, waiting
from servescope.load.asking import Wording
from servescope.load.planning import Plan, Planned, Slice, plan_of
from servescope.load.prompts import Prompts
from servescope.load.records import Sent
from servescope.load.result_file import ResultFile
from servescope.load.sender import Rules, Sender
from servescope.load.tally import Tally
from store.clock import Clock, VirtualClock, WallClock
from store.database import Database
from store.errors import InputError
from store.settings import StoreSettings

CLOCK = WallClock()


@dataclass
class Engine:
    """What a small server does with each request."""

    answers: Callable[[int, dict], tuple[int, dict[str, str]]] = lambda number, body: (200, {})
    tokens_per_word: float = 2.0
    seen: list[tuple[dict[str, str], dict]] = field(default_factory=list)
    is_cut: bool = False
    gate: asyncio.Event | None = None
    url: str = ""
    tasks: set[asyncio.Task] = field(default_factory=set)
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    async def has_seen(self, count: int) -> None:
        """Wait until so many requests came."""
        async with asyncio.timeout(5):
            while len(self.seen) < count:
                self._came.clear()
                await self._came.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Requests of one connection."""
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while not writer.is_closing():
                await self._one(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        if head[0].startswith("GET"):
            return self._write(writer, 200, {}, json.dumps({"data": [{"id": "tiny"}]}).encode())
        told = json.loads(body)
        self.seen.append((headers, told))
        self._came.set()
        status, extra = self.answers(len(self.seen), told)
        if self.gate is not None:
            await self.gate.wait()
        text = told["messages"][0]["content"]
        usage = {
            "prompt_tokens": round(len(text.split()) * self.tokens_per_word) + 5,
            "completion_tokens": told["max_tokens"],
        }
        if status != 200 or not told.get("stream"):
            answer = {"choices": [{"finish_reason": "length"}], "usage": usage}
            return self._write(writer, status, extra, json.dumps(answer).encode())
        return self._stream(writer, extra, told["max_tokens"], usage)

    def _write(
        self, writer: asyncio.StreamWriter, status: int, extra: dict[str, str], body: bytes
    ) -> None:
        lines = [f"{name}: {value}" for name, value in extra.items()]
        head = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *lines, "", ""]
        writer.write("\r\n".join(head).encode() + body)

    def _stream(
        self, writer: asyncio.StreamWriter, extra: dict[str, str], tokens: int, usage: dict
    ) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in extra.items())
        events = [{"choices": [{"delta": {"content": "w"}}]} for _ in range(tokens)]
        events += [{"choices": [{"delta": {}, "finish_reason": "length"}], "usage": usage}]
        whole = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
        whole += "data: [DONE]\n\n"
        if self.is_cut:
            whole = whole[: len(whole) // 3]
        writer.write(
            f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{lines}"
            f"connection: close\r\n\r\n{whole}".encode()
        )
        writer.close()


@asynccontextmanager
async def engine(**more: object) -> AsyncIterator[Engine]:
    """A server on a free port of loopback."""
    one = Engine(**more)  # type: ignore[arg-type]
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    one.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield one
    finally:
        server.close()
        for task in one.tasks:
            task.cancel()
        await asyncio.gather(*one.tasks)


def requests(count: int, gap_seconds: float = 0.0, **more: object) -> tuple[Planned, ...]:
    """Requests of 40 and 4 tokens."""
    told = {"tenant": "", "session": "", **more}
    return tuple(
        Planned(n, n * gap_seconds, told["tenant"], told["session"], 40, 4, 64, n)  # type: ignore[arg-type]
        for n in range(count)
    )


async def sent_to(
    urls: list[str], plan: tuple[Planned, ...], clock: Clock = CLOCK, **rules: float
) -> list:
    """All attempts."""
    found: list = []
    sender = Sender(
        urls, Wording("tiny"), Prompts(), clock, found.append,
        rules=Rules(**rules), name="test",  # type: ignore[arg-type]
    )  # fmt: skip
    await sender.run(plan)
    return found


async def test_requests_leave_when_they_are_due_though_nothing_is_answered() -> None:
    """Open loop: all eight are at the server while it has answered none."""
    async with engine(gate=asyncio.Event()) as one:
        assert one.gate is not None
        task = asyncio.create_task(sent_to([one.url], requests(8, 0.002)))
        await one.has_seen(8)
        one.gate.set()
        found = await task
    assert [each.status for each in found] == ["ok"] * 8
    assert {each.output_tokens for each in found} == {4}


async def test_a_stalled_server_shows_in_latency_from_the_intended_time() -> None:
    """One connection, 30 ms an answer: what waits its turn is late although it is served fast."""
    clock = VirtualClock(datetime(2026, 5, 1, tzinfo=UTC))

    def slowly(number: int, body: dict) -> tuple[int, dict[str, str]]:
        clock.advance(0.03)
        return 200, {}

    async with engine(answers=slowly) as one:
        found = await sent_to([one.url], requests(6), clock, most_connections=1)
    last = max(found, key=lambda each: each.ttft_seconds)
    assert last.ttft_seconds == pytest.approx(0.18)
    assert last.ttft_from_send_seconds == pytest.approx(0.03)
    assert last.held_seconds == pytest.approx(0.15)
    # The wait for a connection is not the sender's own lateness.
    assert last.lag_seconds == pytest.approx(0.0)


async def test_what_finds_no_connection_in_time_is_counted_as_failed() -> None:
    """Leaving it out would make a slow server look well."""
    async with engine(gate=asyncio.Event()) as one:
        assert one.gate is not None
        tally, gate = Tally(), one.gate

        def report(sent: Sent) -> None:
            tally.add(sent)
            if tally.ends["not_sent"] == 2:
                gate.set()

        rules = Rules(most_connections=1, hold_seconds=0.02)
        sender = Sender([one.url], Wording("tiny"), Prompts(), CLOCK, report, rules=rules)
        await sender.run(requests(3))
    assert dict(tally.ends) == {"ok": 1, "not_sent": 2}
    assert tally.attempts == 1


async def test_refused_ones_come_again_when_they_were_told_and_each_attempt_is_a_row() -> None:
    """Two refusals with retry-after-ms, then an answer: three attempts of one request."""

    def answers(number: int, body: dict) -> tuple[int, dict[str, str]]:
        if number > 2:
            return 200, {"x-servescope-instance": "gpu-3"}
        return 429, {"retry-after-ms": "20", "x-servescope-reason": "queue_full"}

    async with engine(answers=answers) as one:
        found = await sent_to([one.url], requests(1), most_retries=2)
    assert [(each.status, each.attempt, each.is_last) for each in found] == [
        ("refused", 1, False), ("refused", 2, False), ("ok", 3, True),
    ]  # fmt: skip
    assert found[0].retry_after_seconds == 0.02
    assert found[0].reason == "queue_full"
    assert found[2].instance == "gpu-3"
    assert found[2].since_first_seconds - found[2].ttft_from_send_seconds >= 0.04
    names = [headers["x-request-id"] for headers, _ in one.seen]
    assert names == ["test-0", "test-0.2", "test-0.3"]
    traces = [headers["traceparent"].split("-")[1] for headers, _ in one.seen]
    assert traces == [each.trace_id for each in found]
    assert len(set(traces)) == 3


async def test_every_kind_of_end_is_named() -> None:
    """No server, an error, a cut stream, a refusal without retries, a timeout."""
    async with engine() as one:
        dead = one.url
    assert (await sent_to([dead], requests(1)))[0].reason.startswith("connect_")
    async with engine(answers=lambda number, body: (500, {})) as one:
        assert (await sent_to([one.url], requests(1)))[0].reason == "http_500"
    async with engine(is_cut=True) as one:
        assert (await sent_to([one.url], requests(1)))[0].reason == "stream_cut"
    async with engine(answers=lambda number, body: (503, {})) as one:
        assert (await sent_to([one.url], requests(1)))[0].status == "refused"
    async with engine(gate=asyncio.Event()) as one:
        late = await sent_to([one.url], requests(1), timeout_seconds=0.03)
        assert (late[0].status, late[0].reason) == ("failed", "timeout")


async def test_several_targets_share_the_load() -> None:
    """The one with the fewest under way gets the next."""
    gate = asyncio.Event()
    async with engine(gate=gate) as one, engine(gate=gate) as other:
        task = asyncio.create_task(sent_to([one.url, other.url], requests(10)))
        await one.has_seen(5)
        await other.has_seen(5)
        gate.set()
        found = await task
    assert {each.target for each in found} == {one.url, other.url}


async def test_tenants_go_by_header_and_key() -> None:
    """A tenant's own key, everybody else's, and a name that fits a header."""
    wording = Wording("tiny", keys={"a": "key-a", "": "key-rest"})
    async with engine() as one:
        sender = Sender([one.url], wording, Prompts(), CLOCK, lambda sent: None)
        await sender.run(requests(1, tenant="a", session="s7"))
        await sender.run(requests(1, tenant="bö\r\nx: y"))
    first, second = (headers for headers, _ in one.seen)
    assert first["authorization"] == "bearer key-a"
    assert first["x-session-id"] == "s7"
    assert second["authorization"] == "bearer key-rest"
    assert second["x-llm-d-inference-fairness-id"] == "b___x: y"


async def test_prompts_have_the_length_of_the_trace_after_measuring_the_tokeniser() -> None:
    """A tokeniser of two tokens a word and five more a prompt is found out by two requests."""
    async with engine() as one:
        found = await probing.measure(one.url, Wording("tiny"), CLOCK)
        assert found == probing.Measured(2.0, 5)
        assert await probing.model_of(one.url, CLOCK) == "tiny"
    text = Prompts(2.0, 5).text(Planned(0, 0.0, "", "", 105, 1, 64, 1))
    assert len(text.split()) == 50


async def test_stopping_keeps_what_was_done(tmp_path: Path) -> None:
    """What is under way is aborted, what was not due is not sent, and the file is whole."""
    file = ResultFile(tmp_path / "rows.parquet", "load-test", "tiny")
    file.open(CLOCK.now())
    async with engine(answers=lambda number, body: (200, {})) as one:
        kept: asyncio.Queue = asyncio.Queue()

        def keep(sent: Sent) -> None:
            file.add(sent)
            kept.put_nowait(sent)

        sender = Sender([one.url], Wording("tiny"), Prompts(), CLOCK, keep)
        late = replace(requests(1)[0], at_seconds=60.0)
        task = asyncio.create_task(sender.run((*requests(3), late)))
        await asyncio.gather(*(kept.get() for _ in range(3)))
        sender.stop()
        await task
    assert file.close() == 3
    assert pl.read_parquet(file.path)["status"].to_list() == ["ok"] * 3


async def test_a_stop_ends_what_waits_for_an_answer() -> None:
    """It is reported as aborted, not lost."""
    found: list = []
    async with engine(gate=asyncio.Event()) as one:
        sender = Sender([one.url], Wording("tiny"), Prompts(), CLOCK, found.append)
        task = asyncio.create_task(sender.run(requests(2)))
        await one.has_seen(2)
        sender.stop()
        await task
    assert [(each.status, each.reason) for each in found] == [("aborted", "stopped")] * 2


async def test_a_stop_before_the_first_step_is_told_too() -> None:
    """What was due and had not begun is aborted, not forgotten."""
    found: list = []
    async with engine() as one:
        sender = Sender([one.url], Wording("tiny"), Prompts(), CLOCK, found.append)
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, sender.stop)
        await sender.run(requests(4))
    assert all(each.status == "aborted" for each in found)
    assert 1 <= len(found) <= 4


async def test_a_sender_that_is_behind_serves_first_what_was_due_first() -> None:
    """All are due at once: the first leaves before the last prompt is made."""
    async with engine() as one:
        found = await sent_to([one.url], requests(300))
    assert {each.status for each in found} == {"ok"}
    lags = [each.lag_seconds for each in sorted(found, key=lambda each: each.planned.number)]
    assert sum(lags[:50]) < sum(lags[-50:])


def test_a_full_disk_is_told_and_no_half_of_a_file_is_left(tmp_path: Path) -> None:
    """Nothing is raised while requests are under way; it is told at the end."""
    file = ResultFile(tmp_path / "rows.parquet", "x", "m")
    file.open(CLOCK.now())
    real = file._writer
    assert real is not None

    class Full:
        schema = real.schema

        def write_table(self, table: object) -> None:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            real.close()

    file._writer = Full()  # type: ignore[assignment]
    file.add(Sent(requests(1)[0], 1, True, 0.0, "", "", "ok", 200, ""))
    assert file.close() == 0
    assert "No space left" in file.problem
    assert list(tmp_path.iterdir()) == []


TRACE = """arrived_at,client,prompt,output
0.0,a,40,4
0.01,b,60,3
0.02,a,50,5
"""


async def test_a_trace_goes_out_and_its_rows_come_back_by_import(tmp_path: Path) -> None:
    """From a file of any shape to request rows with tenants, sizes and latencies."""
    trace = tmp_path / "mine.csv"
    trace.write_text(TRACE)
    mapping = {
        "arrived_at": "arrived_at:s", "tenant": "client", "input_tokens": "prompt",
        "output_tokens": "output",
    }  # fmt: skip
    plan = running.read_trace(trace, {}, Slice(), CLOCK, mapping=mapping)
    lines: list[str] = []
    async with engine() as one:
        what = running.Run(
            (one.url,), plan, Wording(""), out=tmp_path / "rows.parquet", name="load-mine"
        )
        done = await running.run(what, CLOCK, lambda share, text: None, lines.append)
    assert done.summary["ok"] == 3
    assert done.summary["model"] == "tiny"
    assert {row["tenant"] for row in done.summary["tenants"]} == {"a", "b"}
    assert 0.9 < done.summary["input_tokens_to_asked_ratio"] < 1.1
    with Database.open(tmp_path / "s.duckdb", StoreSettings(), CLOCK, allow_files=True) as store:
        reports = load_files(store, planned(Options((tmp_path / "rows.parquet",))))
        assert (reports[0].source, reports[0].rows_added) == ("load-mine", 3)
        rows = store.reader.frame("SELECT * FROM requests ORDER BY arrived_at")
    assert rows["tenant"].to_list() == ["a", "b", "a"]
    assert rows["output_tokens"].to_list() == [4, 3, 5]
    assert rows["attempt"].to_list() == [1, 1, 1]
    sent = [headers["traceparent"].split("-")[1] for headers, _ in one.seen[-3:]]
    assert {one.hex for one in map(UUID, rows["trace_id"])} == set(sent)
    assert rows["ttft_seconds"].null_count() == 0
    with pytest.raises(InputError, match="exists already"):
        ResultFile(tmp_path / "rows.parquet", "x", "y").open(CLOCK.now())


def frame(**columns: list) -> pl.DataFrame:
    """Rows as the store gives them."""
    count = len(columns["arrived_at"])
    told = {
        "input_tokens": [100] * count, "output_tokens": [9] * count, "tenant": [None] * count,
        "session_key": [None] * count, "block_hashes": [None] * count, **columns,
    }  # fmt: skip
    return pl.DataFrame(told).with_columns(
        pl.from_epoch(pl.col("arrived_at"), "s"), pl.col("block_hashes").cast(pl.List(pl.UInt64))
    )


def test_a_slice_is_sent_at_another_speed() -> None:
    """Skipped, cut, twice as fast; rows without sizes are counted."""
    rows = frame(arrived_at=[0, 10, 20, 30], input_tokens=[5, 6, None, 8])
    plan = plan_of(rows, Slice(start_seconds=5, seconds=30, speed=2))
    assert [(one.at_seconds, one.input_tokens) for one in plan.requests] == [(2.5, 6), (12.5, 8)]
    assert plan.left_out == 1
    with pytest.raises(InputError, match="no request lies"):
        plan_of(rows, Slice(start_seconds=500))
    with pytest.raises(InputError, match="--speed"):
        Slice(speed=float("nan"))


def test_equal_blocks_are_equal_words_and_turns_repeat_each_other() -> None:
    """What shares hashes shares a beginning; what shares nothing does not."""
    rows = frame(
        arrived_at=[0, 1, 2, 3, 4],
        input_tokens=[1536, 1300, 700, 200, 300],
        block_hashes=[[1, 2, 3], [1, 2, 9], [4, 5], None, None],
        session_key=[None, None, None, 7, 7],
    )
    texts = [Prompts(1.25).text(one) for one in plan_of(rows, Slice()).requests]
    shared = len(" ".join(texts[0].split()[:800]))
    assert texts[0][:shared] == texts[1][:shared]
    assert texts[0].split()[900:] != texts[1].split()[900:]
    assert texts[2].split()[:20] != texts[0].split()[:20]
    assert texts[4].startswith(texts[3])
    assert [len(text.split()) for text in texts] == [1229, 1040, 560, 160, 240]


@given(
    st.lists(st.integers(0, 2**64 - 1), max_size=6),
    st.integers(1, 3000),
    st.floats(0.01, 20),
    st.integers(0, 500),
)
def test_prompts_are_as_long_as_asked(
    blocks: list, tokens: int, per_word: float, extra: int
) -> None:
    """Whatever the tokeniser and however many blocks there are."""
    planned_one = Planned(0, 0.0, "", "", tokens, 1, 64, 3, tuple(blocks))
    words = len(Prompts(per_word, extra).text(planned_one).split())
    wanted = max(round(max(tokens - extra, 1) / per_word), 1)
    # Blocks are whole words: with few words in a block they round.
    assert 1 <= words <= wanted
    if per_word <= 4:
        assert words >= 0.8 * wanted - 1


def test_waits_are_those_of_sdks() -> None:
    """Milliseconds before seconds; only up to a minute; else doubling with jitter; overrides."""
    dice = random.Random(1)  # noqa: S311
    now = datetime(2026, 1, 31, 12, tzinfo=UTC)
    for told, seconds in (
        ({b"retry-after-ms": b"1500", b"retry-after": b"9"}, 1.5),
        ({b"retry-after": b"Sat, 31 Jan 2026 12:00:07 GMT"}, 7.0),
        ({b"retry-after": b"Sat, 31 Jan 2026 11:00:00 GMT"}, 0.0),
        ({b"retry-after": b"soon"}, None),
        ({b"retry-after": b"nan"}, None),
        ({}, None),
    ):
        assert waiting.told_seconds(told, now) == seconds
    assert waiting.wait_seconds(7.0, 1, dice) == 7.0
    for seconds in (0.0, 61.0, None):
        assert 0.375 <= waiting.wait_seconds(seconds, 1, dice) <= 0.5
    assert 6.0 <= waiting.wait_seconds(None, 50, dice) <= 8.0
    assert waiting.should_retry(429, {})
    assert not waiting.should_retry(429, {b"x-should-retry": b"false"})
    assert not waiting.should_retry(400, {})
    assert waiting.should_retry(0, {})


def test_a_late_sender_says_so() -> None:
    """Then it measures itself."""
    summary = Tally().summary(1.0)
    summary["sender_lag_seconds"]["p99"] = 0.05
    what = running.Run(("http://x",), Plan((), 0), Wording("m"))
    assert "late by 50 ms" in running._warnings(summary, what)[0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere.csv"], "there is no trace 'nowhere.csv'"),
        (["azure-2023-conv", "--api", "responses"], "--api responses is not known"),
        (["azure-2023-conv", "--speed", "0"], "--speed must be above 0"),
        (["azure-2023-conv", "--retries", "-1"], "--retries must be 0 to 100"),
        (["azure-2023-conv", "--out", "/no/such/folder/x.parquet"], "there is no such folder"),
        (["azure-2023-conv", "--keys", "/no/keys.toml"], "keys cannot be read"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_sent(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What, where, what to do; exit status 2."""
    assert main(["load", *arguments, "--target", "http://127.0.0.1:9"]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert len(said.strip().splitlines()) == 1
