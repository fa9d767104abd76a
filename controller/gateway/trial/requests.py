"""What comes to a trial: requests as arrays, and what is known of each when it arrives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

from controller.gateway.ask import PREFIX_BLOCK_TOKENS, Ask, SloClass
from controller.numbers import Floats
from controller.simulator.fine import Job
from controller.simulator.state import NOBODY
from controller.simulator.workload import Workload
from store.errors import ControllerError

Wholes = npt.NDArray[np.int64]
MODEL = "model"


@dataclass(frozen=True, slots=True)
class Requests:
    """n requests by arrival; make them with `of`.

    Attributes:
        arrived: (n,) seconds, rising.
        tenant: (n,) names.
        prompt: (n,) tokens, at least 1.
        output: (n,) tokens they will have, at least 1.
        expected: (n,) tokens, the mean that was predicted.
        likely: (n,) tokens, the 0.9 quantile that was predicted.
        most_output: (n,) tokens that the client allows; 0 is unknown.
        session: (n,) names, "" is none.
        group: (n,) what shares a beginning; NOBODY shares none.
        shared: (n,) tokens of that beginning.
        slo: (n,) classes.
        patience_seconds: (n,) after which the client is gone, if it still waits.
        weights: share of a tenant; 1 where none is given.
    """

    arrived: Floats
    tenant: tuple[str, ...]
    prompt: Wholes
    output: Wholes
    expected: Floats
    likely: Floats
    most_output: Wholes
    session: tuple[str, ...]
    group: Wholes
    shared: Wholes
    slo: tuple[SloClass, ...]
    patience_seconds: Floats
    weights: Mapping[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.arrived)

    @classmethod
    def of(
        cls,
        arrived: npt.ArrayLike,
        tenant: npt.ArrayLike,
        prompt: npt.ArrayLike,
        output: npt.ArrayLike,
        *,
        expected: npt.ArrayLike | None = None,
        likely: npt.ArrayLike | None = None,
        most_output: npt.ArrayLike | None = None,
        session: Sequence[str] | None = None,
        group: npt.ArrayLike | None = None,
        shared: npt.ArrayLike | None = None,
        slo: tuple[SloClass, ...] | SloClass | None = None,
        patience_seconds: npt.ArrayLike | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> Self:
        """(n,) arrays in any order, sorted by arrival.

        Args:
            arrived: seconds, 0 or more.
            tenant: names.
            prompt: tokens.
            output: tokens.
            expected: predicted mean; by default everybody expects the mean of all outputs.
            likely: predicted 0.9 quantile; by default 1.5 times what is expected.
            most_output: `max_tokens`; 0 where the client did not say.
            session: names.
            group: numbers of what shares a beginning.
            shared: tokens of it.
            slo: a class each, or one for all.
            patience_seconds: as in the attributes.
            weights: by tenant.

        Raises:
            ControllerError: not equally many, or a time or a size is out of range.
        """
        at, outputs = np.asarray(arrived, np.float64), np.asarray(output, np.int64)
        n = len(at)
        hoped = _numbers(expected, n, float(outputs.mean()) if n else 1.0)
        high = np.maximum(1.5 * hoped if likely is None else _numbers(likely, n, 0.0), hoped)
        who, sessions = (
            np.asarray(tenant, np.str_),
            np.asarray([""] * n if session is None else session, np.str_),
        )
        prompts, most = np.asarray(prompt, np.int64), _wholes(most_output, n, 0)
        groups, beginnings = _wholes(group, n, NOBODY), _wholes(shared, n, 0)
        patience = _numbers(patience_seconds, n, math.inf)
        classes = (slo or SloClass(),) * n if slo is None or isinstance(slo, SloClass) else slo
        columns = (who, prompts, outputs, hoped, most, sessions, groups, beginnings, patience)
        _check(at, prompts, outputs, [len(one) for one in (*columns, classes)])
        order = np.argsort(at, kind="stable")
        return cls(
            at[order], tuple(map(str, who[order])), prompts[order], outputs[order], hoped[order],
            high[order], most[order], tuple(map(str, sessions[order])), groups[order],
            beginnings[order], tuple(classes[index] for index in order), patience[order],
            dict(weights or {}),
        )  # fmt: skip

    @classmethod
    def of_workload(cls, workload: Workload) -> Self:
        """What the simulator replays."""
        return cls.of(
            workload.arrived, [f"t{number}" for number in workload.tenant], workload.prompt,
            workload.output, group=workload.group, shared=workload.shared,
        )  # fmt: skip

    def ask(self, number: int, now: float) -> Ask:
        """Request `number` as the gateway sees it when it comes (again)."""
        most = int(self.most_output[number])
        likely, expected = float(self.likely[number]), float(self.expected[number])
        if most:
            likely, expected = min(likely, most), min(expected, most)
        tenant = self.tenant[number]
        return Ask(
            number, now, tenant, MODEL, int(self.prompt[number]), max(expected, 1.0),
            max(likely, 1.0), most or None, self.weights.get(tenant, 1.0), self.slo[number],
            self.session[number], self._prefix(number),
            float(self.arrived[number] + self.patience_seconds[number]),
        )  # fmt: skip

    def job(self, number: int, now: float) -> Job:
        """The same as a replica sees it."""
        return Job(
            number, now, int(self.prompt[number]), int(self.output[number]),
            int(self.group[number]), int(self.shared[number]),
        )  # fmt: skip

    def _prefix(self, number: int) -> tuple[int, ...]:
        """Hashes of its blocks.

        A conversation's next turn begins with all of this prompt; what only shares a system prompt
        goes on otherwise.
        """
        group = int(self.group[number])
        if group == NOBODY:
            return ()
        is_turn = bool(self.session[number])
        tokens = int(self.prompt[number] if is_turn else self.shared[number])
        return tuple(hash((group, block)) for block in range(tokens // PREFIX_BLOCK_TOKENS))


def predicted(output: npt.ArrayLike, off_ratio: float, seed: int = 0) -> Floats:
    """(n,) lengths as a predictor tells them: off by up to `off_ratio`, evenly.

    Source: the "±50 %" predictor of VTC's artifact, 0.5 here.
    """
    true = np.asarray(output, np.float64)
    off = np.random.default_rng(seed).uniform(1 - off_ratio, 1 + off_ratio, len(true))
    return np.maximum(true * off, 1.0)


def _check(at: Floats, prompts: Wholes, outputs: Wholes, lengths: list[int]) -> None:
    n = len(at)
    if any(length != n for length in lengths):
        raise ControllerError("arrivals, tenants, sizes and classes are not equally many")
    if n and (not np.isfinite(at).all() or at.min() < 0):
        raise ControllerError("requests arrive at 0 seconds or later")
    if n and (prompts.min() < 1 or outputs.min() < 1):
        raise ControllerError("prompts and outputs have at least 1 token")


def _numbers(told: npt.ArrayLike | None, n: int, usual: float) -> Floats:
    return np.full(n, usual) if told is None else np.asarray(told, np.float64)


def _wholes(told: npt.ArrayLike | None, n: int, usual: int) -> Wholes:
    return np.full(n, usual, np.int64) if told is None else np.asarray(told, np.int64)
