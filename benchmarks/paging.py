"""How soon a page comes, and how many come for nothing, beside simpler ways to alert.

    python benchmarks/paging.py [--seeds 20] [--days 30]

The rules, the states and the groups are those of the server, on a simulated clock. Peers in the
same run: one hour's burn above 14.4 (a single window), the workbook's windows as Prometheus has
them (no minimum of events, no rule for outages), and more than 5 % errors over five minutes.

Outages: everything fails from a moment on, or one of four models does; by traffic and target; until
the receiver is told. Noise: `--days` days of traffic with empty nights whose attainment is exactly
the objective, errors in clusters. Exit 1 when an outage of at least ten requests in four minutes
takes five minutes, or noise pages.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from analysis.alerts.grouping import Sent, key_text
from analysis.alerts.machine import step
from analysis.alerts.model import Alert, Asked, Reading
from analysis.alerts.rules import RULES
from analysis.alerts.rules_outage import judged
from analysis.burn import default_alerts, reachable_alerts
from analysis.slo import rule_state
from analysis.slo_counts import Tally
from analysis.slo_model import Slo
from servescope.alerting.outbox import Outbox
from servescope.alerting.settings import AlertSettings

START = datetime(2026, 3, 1, tzinfo=UTC)
WINDOW = 30 * 86_400.0
LIMITS = {name: limit.value for name, limit in RULES["outage"].limits.items()}
SETTINGS = AlertSettings()
WAY_SECONDS = 5.0
"""A message is looked for this often."""
BURST_SECONDS = 600
DAY = 86_400


class Counts:
    """Requests in bins, looked at from a moment; as `Counted`, without a frame."""

    def __init__(self, all_: np.ndarray, bad: np.ndarray, width_seconds: int) -> None:
        self.width_seconds = width_seconds
        self._all = [0, *np.cumsum(all_).tolist()]
        self._bad = [0, *np.cumsum(bad).tolist()]
        self.at = 0
        self.blind = False

    def of(self, seconds: float) -> tuple[int, int]:
        """Bad requests and all, of the last seconds."""
        first = max(self.at - max(1, round(seconds / self.width_seconds)), 0)
        return self._bad[self.at] - self._bad[first], self._all[self.at] - self._all[first]

    def window(self, seconds: float, ago_seconds: float = 0.0) -> Tally:
        """See `Counted.window`."""
        bad, count = self.of(seconds)
        return Tally(count - bad, count - bad, count)


def slo_of(target: float) -> Slo:
    """An objective with the usual table."""
    rules = reachable_alerts(default_alerts(WINDOW), target)
    return Slo("chat", "availability", target, WINDOW, alerts=rules)


@dataclass
class Server:
    """Rules, states and one receiver over counted requests.

    Attributes:
        whole: all requests.
        models: those of each model.
        slo: the objective.
        told: (seconds from the start, severity) of all that the receiver was told.
    """

    whole: Counts
    models: dict[str, Counts]
    slo: Slo
    told: list[tuple[float, str]] = field(default_factory=list)
    held: dict[str, Alert] = field(default_factory=dict)
    ended: dict[str, Alert] = field(default_factory=dict)
    sent: dict[tuple[str, str], Sent] = field(default_factory=dict)
    box: Outbox = field(default_factory=lambda: Outbox("x", (), SETTINGS.group_by, SETTINGS.timing))

    def look(self, at: int, every: float) -> None:
        """Ask the rules at the end of a bin, and tell until they are asked again."""
        for counts in (self.whole, *self.models.values()):
            counts.at = at
        seconds = float(at * self.whole.width_seconds)
        now = START + timedelta(seconds=seconds)
        asked = dict(_asked(self.slo, self.whole, self.models))
        is_quiet = not any(one.active for answer in asked.values() for one in answer.readings)
        if is_quiet and not self.held and not self.ended:
            return
        self.held, changes = step(self.held, asked, now)
        self.ended |= {one.episode: one for one in changes if one.state == "resolved"}
        for late in np.arange(0.0, every, WAY_SECONDS):
            self._tell(now + timedelta(seconds=float(late)), seconds + float(late))
        kept = timedelta(hours=1)
        self.ended = {k: one for k, one in self.ended.items() if now - one.changed_at < kept}

    def _tell(self, now: datetime, seconds: float) -> None:
        for notice in self.box.due(self.held, self.ended, {}, self.sent, now):
            self.box.done(notice.key, now)
            place = ("x", key_text(notice.key))
            known = self.sent[place].firing if place in self.sent else frozenset()
            self.sent[place] = Sent(now, notice.known)
            news = [one for one in notice.firing if one.episode not in known]
            self.told += [(seconds, one.severity) for one in news]


def _asked(slo: Slo, whole: Counts, models: dict[str, Counts]) -> Iterator[tuple[str, Asked]]:
    window = LIMITS["window_seconds"]
    readings = [
        Reading({"model": name}, judged(c.of(window), c.of(2 * window), LIMITS).is_out, name)
        for name, c in models.items()
    ]
    yield "outage", Asked("page", 0.0, RULES["outage"].keep_seconds, readings, is_whole=False)
    for name, severity in (("slo-burn-fast", "page"), ("slo-burn-slow", "ticket")):
        firing = any(
            rule_state(slo, whole, rule)[2] for rule in slo.alerts if rule.severity == severity
        )
        reading = Reading({"slo": slo.name}, firing, name)
        yield name, Asked(severity, 0.0, RULES[name].keep_seconds, [reading])


# Peers, each a row of booleans by bin.
def rolled(values: np.ndarray, width: int, seconds: float) -> np.ndarray:
    """Sums over the last seconds, by bin."""
    total = np.concatenate([[0], np.cumsum(values)])
    first = np.maximum(np.arange(1, len(total)) - max(1, round(seconds / width)), 0)
    return total[1:] - total[first]


def burn(
    all_: np.ndarray, bad: np.ndarray, width: int, seconds: float, target: float
) -> np.ndarray:
    """Burn by bin; 0 where nothing came."""
    count = rolled(all_, width, seconds)
    return rolled(bad, width, seconds) / np.maximum(count, 1) / (1 - target)


PEERS: dict[str, Callable[[np.ndarray, np.ndarray, int, float], np.ndarray]] = {
    "burn 1 h > 14.4": lambda n, b, w, t: burn(n, b, w, 3600, t) > 14.4,
    "workbook, plain": lambda n, b, w, t: (
        ((burn(n, b, w, 3600, t) > 14.4) & (burn(n, b, w, 300, t) > 14.4))
        | ((burn(n, b, w, 21_600, t) > 6) & (burn(n, b, w, 1800, t) > 6))
    ),
    "5 min > 5 % errors": lambda n, b, w, t: burn(n, b, w, 300, t) * (1 - t) > 0.05,
}


def rising(fires: np.ndarray) -> np.ndarray:
    """Bins in which it begins to fire."""
    return np.flatnonzero(fires & ~np.concatenate([[False], fires[:-1]]))


def outage(rate: float, target: float, seed: int, share: float = 1.0) -> dict[str, float | None]:
    """Seconds until somebody is told, by way: after two good days a model fails for good.

    Args:
        rate: requests per second of the fleet.
        target: of the objective.
        seed: of the traffic.
        share: of the traffic that is to the model.
    """
    width, before, after = 15, 2 * DAY, 7200
    rng = np.random.default_rng(seed)
    bins, began = (before + after) // width, before // width
    late = rng.uniform(0, width)  # it begins where it likes
    models, alls, bads = {}, np.zeros(bins, int), np.zeros(bins, int)
    for name, part in (("a", share), ("b", 1.0 - share)):
        n = rng.poisson(rate * part * width, bins)
        bad = rng.binomial(n, (1 - target) * 0.3)
        if name == "a":
            bad[began] = rng.binomial(n[began], 1 - late / width)
            bad[began + 1 :] = n[began + 1 :]
        models[name] = Counts(n, bad, width)
        alls, bads = alls + n, bads + bad
    server = Server(Counts(alls, bads, width), models, slo_of(target))
    for at in range(began - 60, bins):
        server.look(at, width)
        if any(seconds > before and severity == "page" for seconds, severity in server.told):
            break
    told = [seconds for seconds, severity in server.told if severity == "page"]
    found = {"servescope": _first(told, before + late)}
    for name, peer in PEERS.items():
        fired = [(at + 1) * width for at in rising(peer(alls, bads, width, target))]
        found[name] = _first(fired, before + late)
    return found


def _first(times: list[float], began: float) -> float | None:
    later = [at - began for at in times if at >= began]
    return min(later) if later else None


def noise(target: float, days: int, seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Requests and bad ones by minute: busy days, nearly empty nights, errors in clusters.

    The share of bad ones over the whole time is exactly what the objective allows.
    """
    rng, width = np.random.default_rng(seed), 60
    minute = np.arange(days * DAY // width)
    wave = 0.5 - 0.5 * np.cos(2 * np.pi * minute * width / DAY)
    rate = 0.01 + 3.0 * wave**4 * np.where((minute * width // DAY) % 7 < 5, 1.0, 0.4)
    n = rng.poisson(rate * width)
    blocks = len(minute) * width // BURST_SECONDS + 1
    harm = np.repeat(rng.gamma(0.5, 2.0, blocks), BURST_SECONDS // width)[: len(minute)]
    bad = rng.binomial(n, np.minimum((1 - target) * harm, 1.0))
    missing = round((1 - target) * n.sum()) - bad.sum()
    while missing:  # to the very request
        at = rng.choice(len(n), size=abs(missing), p=n / n.sum())
        np.add.at(bad, at, int(np.sign(missing)))
        bad = np.clip(bad, 0, n)
        missing = round((1 - target) * n.sum()) - bad.sum()
    return n, bad, width


def false_pages(target: float, days: int, seed: int) -> dict[str, int]:
    """Pages (and our tickets) over days in which the objective is just met."""
    n, bad, width = noise(target, days, seed)
    counts = Counts(n, bad, width)
    server = Server(counts, {"a": Counts(n, bad, width)}, slo_of(target))
    for at in range(1, len(n) + 1):
        server.look(at, width)
    severities = [severity for _, severity in server.told]
    found = {"servescope": severities.count("page"), "our tickets": severities.count("ticket")}
    for name, peer in PEERS.items():
        found[name] = len(rising(peer(n, bad, width, target)))
    return found


def slow_burn(times: float, target: float, seed: int) -> dict[str, float | None]:
    """Hours until a ticket and a page, of a burn that goes on after a quiet week."""
    width, before = 60, 7 * DAY
    rng = np.random.default_rng(seed)
    bins = (before + 4 * DAY) // width
    n = rng.poisson(2.0 * width, bins)
    part = np.where(np.arange(bins) * width < before, 0.2, times) * (1 - target)
    bad = rng.binomial(n, part)
    server = Server(Counts(n, bad, width), {"a": Counts(n, bad, width)}, slo_of(target))
    for at in range(before // width - 60, bins):
        server.look(at, width)
    first = {
        kind: _first([at for at, severity in server.told if severity == kind], before)
        for kind in ("ticket", "page")
    }
    return {kind: None if at is None else at / 3600 for kind, at in first.items()}


def said(values: list[float | None]) -> str:
    """Median and worst, in seconds."""
    if any(value is None for value in values):
        # What rings already, for nothing, does not ring again.
        return f"no new page in {sum(value is None for value in values)} of {len(values)}"
    return f"{np.median(values):,.0f} s, at most {max(values):,.0f} s"


def print_outages(seeds: range) -> Iterator[str]:
    """Gives what was not reached."""
    print(f"Until the receiver is told of an outage ({len(seeds)} seeds):")
    for words, rate, target, share in OUTAGES:
        runs = [outage(rate, target, seed, share) for seed in seeds]
        print(f"  {words}, {rate:g}/s, target {target:.4g}")
        for way in ("servescope", *PEERS):
            print(f"    {way:20} {said([run[way] for run in runs])}")
        if any(run["servescope"] is None or run["servescope"] >= 300 for run in runs):
            yield words


def print_slow_burns() -> None:
    print("Until a ticket or a page for a burn that goes on:")
    for times in (1.5, 4.0, 8.0):
        run = slow_burn(times, 0.99, 1)
        words = [f"{kind} {'never' if h is None else f'{h:.1f} h'}" for kind, h in run.items()]
        print(f"  burn {times:g}: {', '.join(words)}")


def print_noise(seeds: range, days: int) -> Iterator[str]:
    """Gives what was not reached."""
    print(f"Pages over {days} days that just meet the objective ({len(seeds)} seeds):")
    for target in (0.99, 0.999):
        runs = [false_pages(target, days, seed) for seed in seeds]
        for way in ("servescope", *PEERS, "our tickets"):
            counts = [run[way] for run in runs]
            print(f"  target {target:<6g} {way:20} {sum(counts)} in all, at most {max(counts)}")
        if any(run["servescope"] for run in runs):
            yield f"noise at {target}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--days", type=int, default=30)
    options = parser.parse_args()
    seeds = range(options.seeds)
    failed = list(print_outages(seeds))
    print_slow_burns()
    failed += print_noise(seeds, options.days)
    if failed:
        sys.exit("not reached: " + "; ".join(failed))


OUTAGES = (
    ("everything fails", 10.0, 0.999, 1.0),
    ("everything fails", 10.0, 0.99, 1.0),
    ("everything fails", 10.0, 0.95, 1.0),
    ("everything fails at night", 0.1, 0.99, 1.0),
    ("one of several models fails", 4.0, 0.99, 0.25),
)

if __name__ == "__main__":
    main()
