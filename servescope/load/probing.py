"""What has to be known of a target before anything is sent: its model, its tokeniser."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import orjson

from controller.gateway.http.pool import Pool, address
from controller.gateway.openai.usage import read_whole
from servescope.load.asking import PATHS, Wording
from servescope.load.planning import Planned
from servescope.load.prompts import sample
from store.clock import Clock
from store.errors import CollectError

_SHORT, _LONG = 50, 250
_SECONDS = 60.0
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Measured:
    """Of a tokeniser.

    Attributes:
        tokens_per_word: of our words.
        extra_tokens: that every prompt gets besides.
    """

    tokens_per_word: float = 1.0
    extra_tokens: int = 0


async def model_of(url: str, clock: Clock) -> str:
    """The first model that a target names.

    Raises:
        CollectError: it cannot be asked, or names none.
    """
    to = address(url)
    head = f"GET {to.root}/v1/models HTTP/1.1\r\nhost: {to.authority.decode()}\r\n\r\n"
    hint = "name it with --model"
    status, body = await _answer(url, head.encode(), "/v1/models", clock)
    if status != 200:
        raise CollectError(f"/v1/models is answered {status}", where=url, hint=hint)
    try:
        return str(orjson.loads(body)["data"][0]["id"])
    except (orjson.JSONDecodeError, LookupError, TypeError):
        raise CollectError("/v1/models names no model", where=url, hint=hint) from None


async def measure(url: str, wording: Wording, clock: Clock) -> Measured | None:
    """Tokens of a word, by two short requests; None where the target does not tell usage.

    Raises:
        CollectError: it does not answer as it should: nothing else would come through either.
    """
    short = await _tokens(url, wording, clock, _SHORT)
    long = await _tokens(url, wording, clock, _LONG)
    if short is None or long is None or long <= short:
        return None
    each = (long - short) / (_LONG - _SHORT)
    return Measured(each, max(round(short - each * _SHORT), 0))


async def _tokens(url: str, wording: Wording, clock: Clock, words: int) -> int | None:
    plain = replace(wording, is_stream=False)
    path = PATHS[wording.api]
    tenant = next((name for name in wording.keys if name), "")
    planned = Planned(0, 0.0, tenant, "", words, 1, 64, 0)
    asked = plain.body(sample(words), 1)
    request = plain.request(address(url), planned, asked, f"servescope-probe-{words}")
    status, body = await _answer(url, request, path, clock)
    told = read_whole(body)
    if status == 200:
        return told.usage.input_tokens
    said = " ".join((told.error or body[:200].decode("utf-8", "replace")).split())[:200]
    hints = {401: "give keys with --keys FILE", 404: "is it the right --api and --model?"}
    raise CollectError(
        f"a first request to {path} was answered {status}: {said}",
        where=url,
        hint=hints.get(status, "--no-exact leaves out ignore_eos; --tokens-per-word 1 tries none"),
    )


async def _answer(url: str, request: bytes, path: str, clock: Clock) -> tuple[int, bytes]:
    """Status and body.

    Raises:
        CollectError: there is none.
    """
    taken: asyncio.Future[tuple[int, bytes] | None] = asyncio.get_running_loop().create_future()
    try:
        outbound = await Pool(address(url), clock, _SECONDS).connect()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "no answer in time"
        raise CollectError(
            f"cannot be reached ({reason})",
            where=url,
            hint="is it up, and is the URL right?",
        ) from error
    try:
        outbound.send(request, _Taking(taken))
        async with asyncio.timeout(_SECONDS):
            found = await taken
    except TimeoutError:
        raise CollectError(
            f"does not answer {path} within {_SECONDS:.0f} s", where=url, hint="is it overloaded?"
        ) from None
    finally:
        outbound.close()
    if found is None:
        raise CollectError(
            f"closed the connection at {path}", where=url, hint="look at the engine's log"
        )
    return found


class _Taking:
    """Takes a whole answer; None is a broken one."""

    def __init__(self, taken: asyncio.Future[tuple[int, bytes] | None]) -> None:
        self._taken, self._status, self._body = taken, 0, b""

    def head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        del headers
        self._status = status

    def body(self, data: bytes) -> None:
        self._body = (self._body + data)[:_MOST_BYTES]

    def done(self) -> None:
        if not self._taken.done():
            self._taken.set_result((self._status, self._body))

    def lost(self, reason: str) -> None:
        del reason
        if not self._taken.done():
            self._taken.set_result(None)
