"""How well a pace that is learnt live tells what comes next, beside one mean for each token.

One simulated replica, half quiet and half busy, a minute each. Before each request is learnt from,
it is told how long both of its stretches should have taken, by the pace learnt so far (`pace_fit`)
and by the mean seconds of a prompt token and of an output token, forgotten as fast. Both see the
same rows. Writes a table to docs/routing.md.

    python benchmarks/gateway_pace.py [--seconds 600] [--seeds 3] [--no-write]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from controller.gateway.ask import Ask
from controller.gateway.fleet import Pace
from controller.gateway.gate import Policies
from controller.gateway.pace_book import PaceBook
from controller.gateway.pace_fit import PaceLimits
from controller.gateway.pace_terms import Work, seconds_of
from controller.gateway.queueing.fcfs import Fcfs
from controller.gateway.routing.registry import make
from controller.gateway.trial.requests import Requests
from controller.gateway.trial.trial import ReplicaPlan, trial
from controller.profiles import find

PAGE = Path(__file__).parents[1] / "docs" / "routing.md"
BEGIN, END = "<!-- pace: begin -->", "<!-- pace: end -->"
PROFILE, SEATS = "llama-3.1-70b-fp8-vllm-2-x-h100", 64
QUIET, BUSY, TURN_SECONDS = 0.5, 3.5, 60.0
WARM = 30
RATES = {"quiet and busy in turns": (QUIET, BUSY), "quiet": (QUIET, QUIET), "busy": (BUSY, BUSY)}


class Means:
    """Seconds of a prompt token and of an output token, forgotten by half as fast as the pace."""

    def __init__(self, limits: PaceLimits) -> None:
        self._limits, self._at = limits, 0.0
        self._sums = np.zeros((2, 2))

    def told(self, which: int, count: float) -> float:
        """So many tokens take so long; NaN before any."""
        seconds, tokens = self._sums[which]
        return float(count * seconds / tokens) if tokens else float("nan")

    def saw(self, which: int, count: float, seconds: float, now: float) -> None:
        """A stretch is over."""
        passed = min(now - self._at, self._limits.most_idle_seconds)
        self._sums *= 0.5 ** (passed / self._limits.half_life_seconds)
        self._at = now
        self._sums[which] += (seconds, count)


class Judged(PaceBook):
    """Foretells each request before it learns from it."""

    def __init__(self) -> None:
        super().__init__()
        self.means = Means(PaceLimits())
        self.errors: list[tuple[int, float, float]] = []
        self._seen = 0

    def ended(self, ask: Ask, now: float, *, is_failed: bool) -> None:
        """Foretell, then learn."""
        replica = self._replicas[ask.instance]
        self._seen += 1
        for which, work in enumerate(replica.ledger.works(ask, now)[:2]):
            if work is not None:
                self._judge(which, work, replica.fit.pace, now)
        super().ended(ask, now, is_failed=is_failed)

    def _judge(self, which: int, work: Work, pace: Pace | None, now: float) -> None:
        count = work.prompt_tokens if which == 0 else work.steps
        naive = self.means.told(which, count)
        if pace is not None and self._seen > WARM:
            learnt = seconds_of(pace, work)
            errors = (abs(learnt / work.seconds - 1), abs(naive / work.seconds - 1))
            self.errors.append((which, *errors))
        self.means.saw(which, count, work.seconds, now)


def requests(rates: tuple[float, float], seconds: float, seed: int) -> Requests:
    """Poisson, the rate changes every minute; lengths as in chats."""
    dice = np.random.default_rng(seed)
    at, now = [], 0.0
    while now < seconds:
        now += dice.exponential(1 / rates[int(now // TURN_SECONDS) % 2])
        at.append(now)
    n = len(at)
    prompt = np.clip(dice.lognormal(6.3, 0.9, n), 32, 6_000).astype(int)
    output = np.clip(dice.lognormal(5.0, 0.8, n), 2, 1_500).astype(int)
    return Requests.of(at, ["t"] * n, prompt, output)


def errors(rates: tuple[float, float], seconds: float, seeds: int) -> np.ndarray:
    """(rows, 3): which stretch, error of the pace, error of the means."""
    found = []
    for seed in range(seeds):
        book = Judged()
        plan = ReplicaPlan("a", find(PROFILE), SEATS, knows_pace=False)
        policies = Policies(Fcfs(), make("least-outstanding"))
        trial(requests(rates, seconds, seed), policies, [plan], paces=book)
        found += book.errors
    return np.array(found)


def main() -> int:
    """Run it, print it, write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--no-write", dest="write", action="store_false")
    given = parser.parse_args()
    titles = ("load", "time to", "requests", "learnt pace: median error", "p90",
              "mean of a token: median", "p90")  # fmt: skip
    lines = [f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}"]
    for name, rates in RATES.items():
        rows = errors(rates, given.seconds, given.seeds)
        for which, text in enumerate(("the first token", "each token after")):
            mine = rows[rows[:, 0] == which, 1:]
            half, most = np.quantile(mine, (0.5, 0.9), axis=0)
            cells = (f"{100 * value:.0f} %" for value in (half[0], most[0], half[1], most[1]))
            lines.append(f"| {name} | {text} | {len(mine):,} | {' | '.join(cells)} |")
    print("\n".join(lines))
    if given.write:
        text = PAGE.read_text()
        head, tail = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
        PAGE.write_text("\n".join([head, "", *lines, "", tail]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
