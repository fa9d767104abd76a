"""A resolver that hangs: targets by name fail in time, everything else goes on."""

import asyncio
import socket
import threading

from collector.http_fetch import Failure, Fetcher
from servescope.lookups import keep_apart


def test_a_resolver_that_hangs_holds_up_nothing_else(monkeypatch):
    """Sixty targets by name time out, while threads for jobs and rows are free."""
    release, real = threading.Event(), socket.getaddrinfo

    def hanging(host, *more):
        if str(host).endswith(".example"):
            release.wait()
            raise socket.gaierror(-3, "Temporary failure in name resolution")
        return real(host, *more)

    monkeypatch.setattr(socket, "getaddrinfo", hanging)

    async def scrape():
        keep_apart(asyncio.get_running_loop())
        fetcher = Fetcher()
        asked = [
            fetcher.get(
                f"http://t{number}.example/metrics", timeout_seconds=0.2, most_bytes=9, accept="*/*"
            )
            for number in range(60)
        ]
        found = await asyncio.gather(*asked)
        try:
            async with asyncio.timeout(30):
                assert await asyncio.to_thread(lambda: "free") == "free"
        finally:
            release.set()
        await fetcher.aclose()
        return found

    found = asyncio.run(scrape())
    assert {type(one) for one in found} == {Failure}
    assert {one.outcome for one in found} == {"timeout"}
