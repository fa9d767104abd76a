"""Dynamo's virtual environment: numbers of workers in etcd; the other side scales and reports back.

We stand where Dynamo's planner stands. A decision is one transaction that fails when anybody wrote
in between. It holds the numbers of both roles and a decision number that only grows; the other side
answers with the number of the decision it has carried out. Newer releases read one JSON record,
older ones three keys; both are written, and the record is believed where it is.

Source: Dynamo, virtual connector (`v1/{namespace}/planner/`); etcd v3 JSON gateway.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from controller.actuators.base import Scale
from controller.actuators.http import Answer, Http, bearer, count, member
from controller.actuators.platform import Conflicted, NoAnswer, Refused
from controller.actuators.settings import check_positive, check_url
from store.clock import Clock

Role = Literal["prefill", "decode"]
_ROLES: tuple[Role, Role] = ("prefill", "decode")
_RECORD, _DECISION, _SCALED = "scaling_decision", "decision_id", "scaled_decision_id"
_NUMBERS: Mapping[Role, str] = {role: f"num_{role}_workers" for role in _ROLES}
_WATCHED = (_RECORD, _DECISION, *_NUMBERS.values())
_OURS = "servescope_decision"
_UNSET = -1


@dataclass(frozen=True, slots=True)
class DynamoPool:
    """One role.

    Attributes:
        role: prefill or decode.
    """

    role: Role


@dataclass(frozen=True, slots=True)
class DynamoSettings:
    """A Dynamo namespace in etcd.

    Attributes:
        pools: by name; at most one of each role.
        namespace: the Dynamo namespace.
        url: URL of etcd, which must have its JSON gateway on.
        token_file: token of etcd, read anew for every question; "" for none.
        prefix: of the keys; `{namespace}` is filled in.
        prefill_initial: written for prefill as long as nobody has decided on it; -1: not known,
            and then a first decision on decode alone is refused.
        decode_initial: the same for decode.
        answer_seconds: longest wait for one answer.
    """

    pools: Mapping[str, DynamoPool] = field(default_factory=dict)
    namespace: str = "dynamo"
    url: str = "http://127.0.0.1:2379"
    token_file: str = ""
    prefix: str = "v1/{namespace}/planner/"
    prefill_initial: int = _UNSET
    decode_initial: int = _UNSET
    answer_seconds: float = 5.0

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            ValueError: naming the setting.
        """
        check_url("url", self.url)
        check_positive("answer_seconds", self.answer_seconds)
        roles = [pool.role for pool in self.pools.values()]
        if len(set(roles)) != len(roles):
            raise ValueError("two pools have the same role")
        if not self.prefix:
            raise ValueError("prefix is empty")


@dataclass(frozen=True, slots=True)
class _Seen:
    """What etcd holds.

    Attributes:
        numbers: of each role that was decided on.
        decision: of the newest decision; -1: none.
        scaled: of the newest one that was carried out; -1: none.
        ours: id and number of our decision that was applied last, by role; "" where there is none.
        revisions: of the keys that a decision changes; 0: not there.
    """

    numbers: Mapping[Role, int]
    decision: int
    scaled: int
    ours: Mapping[Role, tuple[str, int | None]]
    revisions: Mapping[str, int]


class DynamoVirtual:
    """Numbers in etcd as a platform; Dynamo's workers drain by themselves.

    Args:
        settings: of etcd and the namespace.
        clock: not used; every platform gets one.
    """

    def __init__(self, settings: DynamoSettings, clock: Clock) -> None:
        self._settings = settings
        self._prefix = settings.prefix.replace("{namespace}", settings.namespace)
        self._http = Http(
            settings.url, settings.answer_seconds, lambda: _token(settings.token_file)
        )

    @property
    def name(self) -> str:
        """For people and records."""
        return f"dynamo virtual {urlsplit(self._http.url).netloc}/{self._prefix}"

    @property
    def pools(self) -> tuple[str, ...]:
        """Of the settings."""
        return tuple(self._settings.pools)

    async def read(self, pool: str) -> Scale:
        """The number of the role; ready once the other side says that it was carried out."""
        role = self._settings.pools[pool].role
        seen = await self._seen()
        wanted = seen.numbers.get(role)
        done = seen.scaled >= seen.decision and seen.decision != _UNSET
        return Scale(
            pool,
            wanted,
            wanted if done else None,
            version="" if wanted is None else f"{role} {wanted}",
            decision_id=seen.ours[role][0],
            decision_replicas=seen.ours[role][1],
            starting=0 if done else None,
            lock=json.dumps(dict(seen.revisions)),
        )

    async def write(self, pool: str, replicas: int, seen: Scale, decision_id: str) -> str:
        """One transaction; conflicts when anybody decided since the read."""
        role = self._settings.pools[pool].role
        now = await self._seen()
        if seen.lock and json.loads(seen.lock) != dict(now.revisions):
            raise Conflicted("somebody else decided meanwhile")
        numbers = {one: self._number(one, now) for one in _ROLES} | {role: replicas}
        for one, number in numbers.items():
            if number < 0:
                raise Refused(
                    f"nobody has decided on {one} yet: set {one}_initial, or decide on it first"
                )
        told = await self._transact(role, numbers, now, decision_id)
        if not member(told, "succeeded"):
            raise Conflicted("somebody else decided meanwhile")
        return f"decision number {now.decision + 1}"

    async def aclose(self) -> None:
        """Close the connections; safe twice."""
        await self._http.aclose()

    def _number(self, role: Role, seen: _Seen) -> int:
        given = self._settings
        initial = given.prefill_initial if role == "prefill" else given.decode_initial
        return seen.numbers.get(role, initial)

    async def _transact(
        self, role: Role, numbers: Mapping[Role, int], seen: _Seen, decision_id: str
    ) -> Any:
        number = seen.decision + 1
        record = {_NUMBERS[one]: count for one, count in numbers.items()} | {_DECISION: number}
        puts = {
            _RECORD: json.dumps(record),
            _DECISION: str(number),
            f"{_OURS}_{role}": json.dumps([decision_id, numbers[role]]),
            **{_NUMBERS[one]: str(count) for one, count in numbers.items()},
        }
        body = {
            "compare": [
                {"key": self._key(name), "target": "MOD", "result": "EQUAL",
                 "mod_revision": str(revision)}
                for name, revision in seen.revisions.items()
            ],
            "success": [
                {"request_put": {"key": self._key(name), "value": _encoded(value)}}
                for name, value in puts.items()
            ],
        }  # fmt: skip
        return _good(await self._http.ask("POST", "/v3/kv/txn", body=body)).json()

    async def _seen(self) -> _Seen:
        # All keys in one question, so that they belong together.
        body = {"key": self._key(""), "range_end": _encoded(_after(self._prefix))}
        told = _good(await self._http.ask("POST", "/v3/kv/range", body=body)).json()
        values: dict[str, str] = {}
        revisions = dict.fromkeys(_WATCHED, 0)
        for one in member(told, "kvs") or ():
            name = _decoded(member(one, "key")).removeprefix(self._prefix)
            values[name] = _decoded(member(one, "value"))
            if name in revisions:
                revisions[name] = int(member(one, "mod_revision") or 0)
        return _understood(values, revisions)

    def _key(self, name: str) -> str:
        return _encoded(self._prefix + name)


def _understood(values: Mapping[str, str], revisions: Mapping[str, int]) -> _Seen:
    if _RECORD in values:
        try:
            told = json.loads(values[_RECORD])
        except ValueError:
            raise NoAnswer(f"{_RECORD} in etcd is no JSON") from None
        if count(member(told, _DECISION)) is None and member(told, _DECISION) != _UNSET:
            raise NoAnswer(f"{_RECORD} in etcd has no {_DECISION}")
    else:
        names = (_DECISION, *_NUMBERS.values())
        told = {name: _whole(values[name]) for name in names if name in values}
    numbers = {role: count(member(told, name)) for role, name in _NUMBERS.items()}
    decision = member(told, _DECISION)
    ours = {role: _remembered(values.get(f"{_OURS}_{role}", "")) for role in _ROLES}
    return _Seen(
        {role: number for role, number in numbers.items() if number is not None},
        decision if isinstance(decision, int) else _UNSET,
        _whole(values.get(_SCALED, str(_UNSET))),
        ours,
        revisions,
    )


def _remembered(text: str) -> tuple[str, int | None]:
    """A decision of ours; what is not understood is none."""
    try:
        name, number = json.loads(text)
    except (ValueError, TypeError):
        return "", None
    return str(name), count(number)


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise NoAnswer(f"'{text[:40]}' in etcd is no number") from None


def _after(prefix: str) -> str:
    """The first key behind all that begin with the prefix."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")


def _decoded(told: Any) -> str:
    try:
        return base64.b64decode(str(told or ""), validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        raise NoAnswer("etcd answered with what is no base64") from None


def _token(token_file: str) -> Mapping[str, str]:
    """The bare token is what etcd wants, without the word Bearer."""
    return {name: value.removeprefix("Bearer ") for name, value in bearer(token_file).items()}


def _good(answer: Answer) -> Answer:
    if answer.good:
        return answer
    why = f"etcd: {answer.status} {answer.text}"
    if answer.status in (400, 401, 403):
        raise Refused(why)
    raise NoAnswer(why)
