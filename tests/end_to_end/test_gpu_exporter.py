"""A GPU exporter from its HTTP page to rows: series of each card, who holds it, and a fault."""

import asyncio
import contextlib
import json
from datetime import timedelta
from pathlib import Path

import pytest

from collector.http_source import HttpCollector
from collector.sink import StoreSink
from collector.starts.fault_sink import FaultSink
from store.clock import WallClock
from store.database import Database
from store.queries.faults import gpu_faults
from store.settings import StoreSettings
from store.targets import register

PAGE = Path(__file__).parents[1] / "data" / "pages" / "dcgm_exporter_4.8.txt"
LAST_XID = 'DCGM_FI_DEV_XID_ERRORS{gpu="0"'
SERIES = """
SELECT s.labels->>'gpu' AS gpu, p.value
FROM sample AS p JOIN series AS s USING (series_id)
WHERE s.signal = $signal ORDER BY p.sampled_at, gpu
"""


class Exporter:
    """Answers with whatever its page is at the moment."""

    def __init__(self, page):
        self.page = page

    async def answer(self, reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            body = self.page.encode()
            head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"
            head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()
        writer.close()


def fallen_off(page):
    """The same page after card 0 has fallen off the bus."""
    lines = (
        f"{line.rpartition(' ')[0]} 79" if line.startswith(LAST_XID) else line
        for line in page.splitlines()
    )
    return "\n".join(lines) + "\n"


@pytest.fixture
def database():
    with Database.open(None, StoreSettings(), WallClock()) as opened:
        yield opened


async def test_cards_and_their_faults_reach_the_store(database):
    """Two scrapes: samples by card, the exporter recognised, one XID that came between."""
    clock, exporter = WallClock(), Exporter(PAGE.read_text("utf-8"))
    server = await asyncio.start_server(exporter.answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/metrics"
    before = clock.now()
    number = register(database.writer, url, before).result()
    sink = FaultSink(StoreSink(database.writer), database.writer)
    http = HttpCollector(clock)
    source = http.source(number, url)
    try:
        first = await source.scrape(5.0)
        exporter.page = fallen_off(exporter.page)
        for scrape in (first, await source.scrape(5.0)):
            assert (scrape.outcome, scrape.bad_line_count) == ("ok", 0)
            await sink.write([scrape])
    finally:
        await http.aclose()
        server.close()
    assert first.facts is not None
    assert first.facts.engine == "dcgm-exporter"
    power = database.reader.frame(SERIES, signal="gpu_power_watts")
    assert power["gpu"].to_list() == ["0", "1", "0", "1"]
    held = database.reader.frame(SERIES, signal="gpu_held")
    assert held["gpu"].to_list() == ["0", "0"]
    found = gpu_faults(database.reader, before, clock.now() + timedelta(seconds=1)).to_dicts()
    assert [(row["node"], row["gpu"], row["kind"]) for row in found] == [("gpu-node-7", "0", "xid")]
    assert found[0]["text"].startswith("XID 79")
    details = database.reader.scalar("SELECT details FROM gpu_fault")
    assert json.loads(details)["text"] == found[0]["text"]
