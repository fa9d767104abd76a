"""vLLM's sleep mode: a pool is a list of running instances, of which N are awake.

Waking takes seconds where a start takes minutes. Sleeping aborts running requests, so an instance
first leaves the published endpoints, then finishes what it has, then sleeps.

vLLM needs `--enable-sleep-mode` and `VLLM_SERVER_DEV_MODE=1`. The routes are for developers and ask
for no rights: they must never be reachable from outside. Level 2 drops the weights and needs a
reload by hand, so only level 1 is used.

Source: vLLM, `vllm/entrypoints/serve/sleep`: POST /sleep, POST /wake_up, GET /is_sleeping.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from controller.actuators.base import Scale
from controller.actuators.draining import VLLM_BUSY, Drains, DrainTimes, busy
from controller.actuators.http import Http, member
from controller.actuators.platform import NoAnswer, PlatformAnswer, Refused
from controller.actuators.settings import check_positive, check_url
from store.clock import Clock

_LEVEL = 1


@dataclass(frozen=True, slots=True)
class VllmPool:
    """Instances of one pool.

    Attributes:
        instances: URLs, in the order in which they are woken; put to sleep in the reverse order.
        leave_seconds: time from leaving the endpoints until requests are counted.
        drain_seconds: longest wait for running requests; then they are aborted.
    """

    instances: tuple[str, ...]
    leave_seconds: float = 1.0
    drain_seconds: float = 120.0

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            ValueError: naming the setting.
        """
        if not self.instances:
            raise ValueError("instances is empty")
        if len(set(self.instances)) != len(self.instances):
            raise ValueError("instances names one of them twice")
        for url in self.instances:
            check_url("instances", url)


@dataclass(frozen=True, slots=True)
class VllmSettings:
    """Sleeping vLLM instances.

    Attributes:
        pools: by name.
        endpoints_file: file where the instances that take requests are written, as JSON by pool,
            for routers; "" for none, and then nothing stops new requests before sleep.
        answer_seconds: longest wait for one answer; waking must fit in.
    """

    pools: Mapping[str, VllmPool] = field(default_factory=dict)
    endpoints_file: str = ""
    answer_seconds: float = 30.0

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            ValueError: naming the setting.
        """
        check_positive("answer_seconds", self.answer_seconds)


class VllmSleep:
    """Instances that are woken and put to sleep.

    Args:
        settings: of the instances.
        clock: the time.
    """

    def __init__(self, settings: VllmSettings, clock: Clock) -> None:
        self._settings = settings
        self._drains = Drains(clock)
        self._https = {
            url: Http(url, settings.answer_seconds)
            for pool in settings.pools.values()
            for url in pool.instances
        }

    @property
    def name(self) -> str:
        """For people and records."""
        return f"vllm sleep mode, {len(self._https)} instances"

    @property
    def pools(self) -> tuple[str, ...]:
        """Of the settings."""
        return tuple(self._settings.pools)

    async def read(self, pool: str) -> Scale:
        """Who is awake, asked of each; an instance that does not answer is not awake."""
        urls = self._settings.pools[pool].instances
        told = await asyncio.gather(*(self._awake(url) for url in urls))
        if all(awake is None for awake in told):
            raise NoAnswer("no instance answers")
        awake = [url for url, one in zip(urls, told, strict=True) if one]
        serving = [url for url in awake if url not in self._drains]
        picture = "".join("+" if url in serving else "-" for url in urls)
        return Scale(
            pool,
            len(serving),
            len(serving),
            version=picture,
            starting=0,
            draining=len(awake) - len(serving),
            lock=picture,
        )

    async def write(self, pool: str, replicas: int, seen: Scale, decision_id: str) -> str:
        """Wake the first that sleep, or send the last that are awake to sleep."""
        urls = self._settings.pools[pool].instances
        if replicas > len(urls):
            raise Refused(f"'{pool}' has {len(urls)} instances, not {replicas}")
        serving = [url for url, mark in zip(urls, seen.lock, strict=True) if mark == "+"]
        for url in serving[replicas:]:
            self._put_away(pool, url)
        sleeping = [url for url in urls if url not in serving]
        silent = await self._wake(sleeping, replicas - len(serving))
        await asyncio.to_thread(self._publish, pool, await self._serving(pool))
        slow = sum(url in self._drains for url in urls)
        told = [f"{slow} of them finish their requests first"] if slow else []
        return "; ".join([*told, *silent])

    async def aclose(self) -> None:
        """Close the connections; those that drain stay awake. Safe twice."""
        await self._drains.aclose()
        for http in self._https.values():
            await http.aclose()

    async def _awake(self, url: str) -> bool | None:
        try:
            answer = await self._https[url].ask("GET", "/is_sleeping")
            sleeping = member(answer.json(), "is_sleeping") if answer.good else None
        except NoAnswer:
            return None
        return None if not isinstance(sleeping, bool) else not sleeping

    async def _wake(self, sleeping: list[str], missing: int) -> list[str]:
        """Wake so many, those that drain first; what did not work, in sentences."""
        told: list[PlatformAnswer] = []
        for url in sorted(sleeping, key=lambda one: one not in self._drains):
            if missing <= 0:
                break
            try:
                if not await self._drains.call_back(url):
                    await self._post(url, "/wake_up")
            except PlatformAnswer as answer:
                told.append(answer)
                continue
            missing -= 1
        texts = [answer.text for answer in told]
        if missing > 0 and told:
            refused = all(isinstance(answer, Refused) for answer in told)
            raise (Refused if refused else NoAnswer)("; ".join(texts))
        return texts

    def _put_away(self, pool: str, url: str) -> None:
        given = self._settings.pools[pool]
        self._drains.begin(
            url,
            partial(busy, self._https[url], "/metrics", VLLM_BUSY),
            DrainTimes(given.leave_seconds, given.drain_seconds),
            partial(self._post, url, f"/sleep?level={_LEVEL}"),
        )

    async def _post(self, url: str, path: str) -> None:
        answer = await self._https[url].ask("POST", path)
        if answer.status in (401, 403, 404):
            raise Refused(
                f"{self._https[url].place}{path}: {answer.status}; vLLM needs "
                "--enable-sleep-mode and VLLM_SERVER_DEV_MODE=1"
            )
        if not answer.good:
            raise NoAnswer(f"{self._https[url].place}{path}: {answer.status} {answer.text}")

    async def _serving(self, pool: str) -> list[str]:
        urls = self._settings.pools[pool].instances
        told = await asyncio.gather(*(self._awake(url) for url in urls))
        return [url for url, one in zip(urls, told, strict=True) if one and url not in self._drains]

    def _publish(self, pool: str, serving: list[str]) -> None:
        if not self._settings.endpoints_file:
            return
        file = Path(self._settings.endpoints_file).expanduser()
        try:
            told = json.loads(file.read_bytes()) if file.exists() else {"pools": {}}
            told["pools"][pool] = [{"url": url} for url in serving]
            aside = file.with_name(f".{file.name}.part")
            aside.write_text(json.dumps(told, indent=1), "utf-8")
            aside.replace(file)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise NoAnswer(f"{file}: {error}") from None
