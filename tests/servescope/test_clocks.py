"""The clocks of targets: measured as they answer, told by the view, and by doctor."""

import asyncio

from collector.model import PageNotes, Scrape
from collector.sink import MemorySink
from servescope.cli.doctor_server import lines
from servescope.clock_offsets import NotingSink
from store import targets


def test_a_targets_clock_goes_from_its_answer_to_the_page_and_doctor(client, filled):
    """The newest answer counts; one without a date changes nothing, and every scrape is kept."""
    url = "http://gpu-1:8000/metrics"
    now = filled.clock.now()
    number = targets.register(filled.database.writer, url, now, {}).result()
    kept = MemorySink()
    answers = [
        Scrape(number, now, 0.1, "ok", notes=PageNotes(clock_offset_seconds=-2.0)),
        Scrape(number, now, 0.1, "ok", notes=PageNotes(clock_offset_seconds=-94.0)),
        Scrape(number, now, 0.1, "ok", notes=PageNotes()),
        Scrape(number, now, 0.1, "unreachable"),
    ]
    asyncio.run(NotingSink(kept, filled.clocks).write(answers))
    assert len(kept.scrapes) == len(answers)
    views = {
        name: client.get(f"/api/v1/views/{name}").json() for name in ("admin", "trust", "server")
    }
    (row,) = views["admin"]["frames"]["clocks"]["rows"]
    assert (row["name"], row["state"], row["offset_seconds"]) == (url, "off", -94.0)
    (said,) = [line for line in lines(views) if line.subject == "clock"]
    assert said.text.startswith(f"{url}: 94 s behind")
