"""llama-server as a router of models: a pool is one model, and has 0 or 1 replicas.

Start llama-server without a model, with `--models-dir` and `--no-models-autoload`: with autoload
a request for a model that was put away loads it again.

Source: llama.cpp `tools/server/README.md`, router mode: GET /models, POST /models/load and
/models/unload, GET /metrics?model=.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import quote

from controller.actuators.base import Scale
from controller.actuators.draining import LLAMA_BUSY, Drains, DrainTimes, busy
from controller.actuators.http import Answer, Http, bearer, member
from controller.actuators.platform import NoAnswer, Refused
from controller.actuators.settings import check_positive, check_url
from store.clock import Clock

_THERE = ("loading", "loaded", "sleeping", "downloading")
_SERVES = ("loaded", "sleeping")
"""A sleeping model wakes by itself with the first request."""


@dataclass(frozen=True, slots=True)
class RouterPool:
    """One model.

    Attributes:
        model: name of the model as the router names it.
        leave_seconds: time before requests are counted.
        drain_seconds: longest wait for running requests; then they are lost.
    """

    model: str
    leave_seconds: float = 1.0
    drain_seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class RouterSettings:
    """Models behind one llama-server.

    Attributes:
        pools: by name.
        url: URL of the router.
        token_file: API key, read anew for every question; "" for none.
        answer_seconds: longest wait for one answer.
    """

    pools: Mapping[str, RouterPool] = field(default_factory=dict)
    url: str = "http://127.0.0.1:8080"
    token_file: str = ""
    answer_seconds: float = 10.0

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            ValueError: naming the setting.
        """
        check_url("url", self.url)
        check_positive("answer_seconds", self.answer_seconds)


class LlamaRouter:
    """Models that are loaded and unloaded.

    Args:
        settings: of the router.
        clock: the time.
    """

    def __init__(self, settings: RouterSettings, clock: Clock) -> None:
        self._settings = settings
        self._drains = Drains(clock)
        self._http = Http(
            settings.url, settings.answer_seconds, lambda: bearer(settings.token_file)
        )

    @property
    def name(self) -> str:
        """For people and records."""
        return f"llama.cpp router {self._http.place}"

    @property
    def pools(self) -> tuple[str, ...]:
        """Of the settings."""
        return tuple(self._settings.pools)

    async def read(self, pool: str) -> Scale:
        """Whether the model is loaded, as the router tells."""
        model = self._settings.pools[pool].model
        status = await self._status(model)
        leaving = model in self._drains
        wanted = int(status in _THERE and not leaving)
        ready = int(status in _SERVES and not leaving)
        return Scale(
            pool,
            wanted,
            ready,
            version=f"wanted {wanted}",
            starting=wanted - ready,
            draining=int(leaving),
            lock=status,
        )

    async def write(self, pool: str, replicas: int, seen: Scale, decision_id: str) -> str:
        """Load it, or unload it once nothing runs on it."""
        if replicas > 1:
            raise Refused(f"a model is loaded once or not at all, never {replicas} times")
        given = self._settings.pools[pool]
        if replicas == 1:
            if not await self._drains.call_back(given.model):
                _good(await self._ask("load", given.model))
            return ""
        if seen.lock == "loading":
            await self._unload(given.model)
            return ""
        self._drains.begin(
            given.model,
            partial(busy, self._http, f"/metrics?model={quote(given.model, safe='')}", LLAMA_BUSY),
            DrainTimes(given.leave_seconds, given.drain_seconds),
            partial(self._unload, given.model),
        )
        return "it finishes its requests first"

    async def aclose(self) -> None:
        """Close the connections; a model that drains stays loaded. Safe twice."""
        await self._drains.aclose()
        await self._http.aclose()

    async def _status(self, model: str) -> str:
        told = _good(await self._http.ask("GET", "/models")).json()
        for one in member(told, "data") or ():
            if member(one, "id") == model:
                status = member(one, "status", "value")
                if not isinstance(status, str):
                    raise NoAnswer("no status of models: llama-server runs with a model, not as "
                                   "a router")  # fmt: skip
                return status
        raise NoAnswer(f"the router has no model '{model}'")

    async def _unload(self, model: str) -> None:
        answer = await self._ask("unload", model)
        # Somebody else was faster: it is as it should be.
        if answer.status != 400 or "not running" not in answer.text:
            _good(answer)
        # It leaves a moment later; until then it still looks loaded.
        while await self._status(model) in _THERE:
            await self._drains.pause()

    async def _ask(self, what: str, model: str) -> Answer:
        return await self._http.ask("POST", f"/models/{what}", body={"model": model})


def _good(answer: Answer) -> Answer:
    if answer.good:
        return answer
    why = f"{answer.status} {answer.text}"
    if answer.status in (400, 401, 403):
        raise Refused(why)
    raise NoAnswer(why)
