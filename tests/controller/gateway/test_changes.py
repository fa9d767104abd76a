"""Limits that change while requests run: nobody gets a fresh bucket, nobody's day is forgotten."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.gateway.admission.base import Rule
from controller.gateway.admission.check import check_rule
from controller.gateway.admission.concurrency import Concurrency
from controller.gateway.admission.lasting import named, numbered, take_over
from controller.gateway.admission.registry import make_rule
from controller.gateway.admission.token_bucket import TokenBucket
from controller.gateway.ask import Ask
from controller.gateway.doubles.engine import Engine, running
from controller.gateway.fairness_watch import FairnessWatch
from controller.gateway.fleet import Sight
from controller.gateway.gate import Gate
from controller.gateway.quota_file import FILE, QuotaFile
from servescope.gateway import policy
from servescope.gateway.settings import GatewaySettings
from servescope.gateway.steering import Steering
from store.clock import VirtualClock

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}
BUCKET = "token-bucket"


def ask(number: int, tokens: int = 10, tenant: str = "a") -> Ask:
    return Ask(number, 0.0, tenant, "m", tokens, 0.0, 0.0)


def changed(rule: Rule, now: float, **limits: float) -> Rule:
    """The same rule with other limits."""
    after = make_rule(rule.spec.name, **limits)
    take_over({"x": after}, {"x": rule}, now)
    return after


STEPS = st.lists(
    st.tuples(
        st.sampled_from(("wait", "ask", "end", "change")),
        st.floats(0.01, 90.0),
        st.integers(1, 400),
    ),
    max_size=60,
)  # fmt: skip


@settings(max_examples=150)
@given(STEPS, st.integers(50, 1000))
def test_no_change_of_a_bucket_lets_more_in_than_its_limits(steps, limit):
    """Used and running tokens are at most the first fill and what the limits gave since."""
    rule: Rule = make_rule(BUCKET, tokens_per_minute=limit)
    now, allowed, used, inside, is_seen = 0.0, 0.0, 0.0, {}, False
    for number, (what, seconds, tokens) in enumerate(steps):
        if what == "wait":
            now, allowed = now + seconds, allowed + seconds * limit / 60
        elif what == "change":
            limit = 2 * tokens
            rule = changed(rule, now, tokens_per_minute=limit)
        elif what == "end" and inside:
            one = inside.pop(min(inside))
            one.started, one.output_tokens = now, 0
            one.told_input_tokens = min(tokens, one.input_tokens)
            used += one.told_input_tokens
            rule.ended(one, now)
        elif what == "ask" and rule.judge(ask(number, tokens), Sight(now, ())) is None:
            inside[number] = ask(number, tokens)
            allowed, is_seen = allowed if is_seen else float(limit), True
            rule.entered(inside[number], now)
            assert used + sum(one.input_tokens for one in inside.values()) <= allowed + 1e-6


class Taken:
    """What is taken of a limit, as its rule counts it."""

    def __init__(self, name: str) -> None:
        self.name, self.inside, self.spent = name, {}, {}

    def enters(self, one: Ask, window: int) -> float:
        """Gives what is taken with it: in its window, in its period, or at once."""
        self.inside[one.number] = one
        if self.name == "concurrency":
            return len(self.inside)
        if self.name == "fixed-window":
            self.spent[window] = self.spent.get(window, 0) + one.input_tokens
            return self.spent[window]
        return self.spent.get(window, 0) + sum(one.input_tokens for one in self.inside.values())

    def ends(self, window: int) -> Ask:
        """The oldest; a quota counts it when it was used, a window when it came."""
        one = self.inside.pop(min(self.inside))
        if self.name == "quota":
            self.spent[window] = self.spent.get(window, 0) + one.input_tokens
        return one


COUNTED = {
    "fixed-window": ("tokens", {"window_seconds": 60.0}),
    "quota": ("budget", {"period_seconds": 60.0}),
    "concurrency": ("requests_per_tenant", {}),
}


@settings(max_examples=150)
@given(STEPS, st.sampled_from(sorted(COUNTED)))
def test_no_change_of_a_count_lets_more_in_than_the_limit_in_force(steps, name):
    """In each window, and at each time, at most what was allowed when the last one came."""
    word, more = COUNTED[name]
    limit, now, taken = 500, 0.0, Taken(name)
    rule: Rule = make_rule(name, **{word: limit}, **more)
    for number, (what, seconds, tokens) in enumerate(steps):
        if what == "wait":
            now += seconds
        elif what == "change":
            limit = 1 + tokens % 5 if name == "concurrency" else tokens
            rule = changed(rule, now, **{word: limit}, **more)
        elif what == "end" and taken.inside:
            one = taken.ends(int(now // 60))
            one.started = now
            rule.ended(one, now)
        elif what == "ask" and rule.judge(ask(number, tokens), Sight(now, ())) is None:
            one = ask(number, tokens)
            rule.entered(one, now)
            assert taken.enters(one, int(now // 60)) <= limit


def test_a_bucket_keeps_its_level_cut_to_the_new_size():
    """A higher limit fills up at its own pace; a lower one is never more than full."""
    rule = make_rule(BUCKET, tokens_per_minute=600)
    rule.entered(ask(1, 500), 0.0)
    higher = changed(rule, 0.0, tokens_per_minute=6_000)
    assert higher.allowances("a", 0.0)[0].remaining == pytest.approx(100)
    assert higher.allowances("a", 10.0)[0].remaining == pytest.approx(1_100)
    lower = changed(rule, 0.0, tokens_per_minute=60)
    assert lower.allowances("a", 0.0)[0].remaining == pytest.approx(60)


def test_a_quota_counts_by_the_prices_in_force():
    """Books are in tokens; what was used in the period is worth what it costs now."""
    rule = make_rule("quota", budget=1_000)
    one = Ask(1, 0.0, "a", "m", 100, 50.0, 90.0, started=1.0, output_tokens=40)
    rule.entered(one, 0.0)
    rule.ended(one, 2.0)
    dearer = changed(rule, 3.0, budget=1_000, input_weight=1.0, output_weight=10.0)
    assert dearer.spent("a", 3.0) == pytest.approx(500)


def test_rules_that_forget_do_not_keep_the_contract():
    """The check finds a take-over that does nothing, and a rule with books that has none."""

    class Forgets(TokenBucket):
        def take_over(self, before, now):
            """Nothing."""

    with pytest.raises(AssertionError, match="forgets its books"):
        check_rule(lambda: Forgets(requests_per_minute=60))

    class Alone:
        """A rule with books, and no more than `Rule` asks for."""

        spec = Concurrency.spec

        def __init__(self):
            own = Concurrency(requests_per_tenant=4)
            self.judge, self.entered, self.ended = own.judge, own.entered, own.ended

    with pytest.raises(AssertionError, match="no take_over"):
        check_rule(Alone)


def test_rules_of_one_kind_are_told_apart():
    """A tenant's bucket never goes on from a policy's."""
    assert numbered(["quota", "always", "quota"]) == ("quota", "always", "quota#2")
    first, second = make_rule("quota", budget=5), make_rule("quota", budget=7)
    assert named([first, second]) == {"quota": first, "quota#2": second}
    asked = GatewaySettings(rules=(BUCKET,))
    made = policy.policies(asked, {BUCKET: {"tokens_per_minute": 5}})
    assert list(made.named_rules) == [BUCKET, f"tenants/{BUCKET}"]


def test_a_new_line_or_limit_keeps_what_is_known_of_the_rest():
    """Buckets outlive a new line; a line and a way that stay outlive a new limit."""
    asked = GatewaySettings(rules=({"name": BUCKET, "requests_per_minute": 2},))
    clock = VirtualClock(NOW)
    steering, gate = Steering(asked, clock), Gate(policy.policies(asked))
    steering.attach(gate, lambda: None)
    for number in range(2):
        assert gate.arrive(ask(number), clock.monotonic()) is None
    line, way = gate.policies.line, gate.policies.way
    steering.use_policy({"rules": [{"name": BUCKET, "requests_per_minute": 3}]})
    assert gate.policies.line is line
    assert gate.policies.way is way
    assert gate.arrive(ask(3), clock.monotonic()).code == "tenant_requests_per_minute"
    steering.use_policy({"line": "fcfs"})
    assert gate.policies.line is not line
    assert gate.arrive(ask(4), clock.monotonic()).code == "tenant_requests_per_minute"
    assert len(gate.waiting) == 2


def test_a_line_that_goes_on_is_measured_once():
    """However often limits change: a request counts once in the gap between tenants."""
    clock, asked = VirtualClock(NOW), GatewaySettings()
    steering, watch = Steering(asked, clock), FairnessWatch(clock)
    gate = Gate(watch.over(policy.policies(asked)))
    watch.attach(gate)
    steering.attach(gate, lambda: None, watch)
    line = gate.policies.line
    for most in (5, 6):
        steering.use_policy({"rules": [{"name": BUCKET, "requests_per_minute": most}]})
    assert gate.policies.line is line
    steering.use_policy({"line": "fcfs"})
    assert gate.policies.line is not line
    assert watch.state()["line"] == "fcfs"


async def test_a_file_of_tenants_that_changes_gives_no_fresh_bucket(gateway, tmp_path):
    """One request a minute stays used up when the limit of another is written down."""
    file = tmp_path / "tenants.toml"
    file.write_text("[tenant.a]\nrequests_per_minute = 1\n")
    async with running(Engine()) as engine, gateway(engine, tenants_file=str(file)) as one:
        client = await one.talk()
        said = []
        for text in ("", "[tenant.b]\nrequests_per_minute = 5\n"):
            file.write_text("[tenant.a]\nrequests_per_minute = 1\n" + text)
            await one.made.beside.watched.look()
            client.post({**CHAT, "user": "a"})
            said.append((await client.answer()).status)
        assert one.made.gate.policies.named_rules["tenants/token-bucket"].allowances("b", 0.0)
    assert said == [200, 429]


class Quotas:
    """One quota, and a file for it, in a process of its own."""

    def __init__(self, folder: Path, clock: VirtualClock, **limits: float) -> None:
        self.rule = make_rule("quota", **{"budget": 500, "period_seconds": 1000, **limits})
        self.file = QuotaFile(folder, clock, lambda: {"quota": self.rule})
        self.file.load()

    def uses(self, number: int, tokens: int, now: float) -> None:
        one = ask(number, tokens)
        one.started = now
        self.rule.entered(one, now)
        self.rule.ended(one, now)


async def test_a_restart_forgets_no_quota(tmp_path):
    """Used tokens, and when the period ends, are as they were; when it is over, all begin anew."""
    clock = VirtualClock(NOW)
    clock.advance(300)
    before = Quotas(tmp_path, clock)
    before.uses(1, 400, clock.monotonic())
    ends = before.rule.kept(clock.monotonic()).ends_in_seconds
    await before.file.aclose()
    clock.advance(100)
    after = Quotas(tmp_path, clock, period_began=77.0)
    now = clock.monotonic()
    assert after.rule.spent("a", now) == 400
    assert after.rule.kept(now).ends_in_seconds == pytest.approx(ends - 100)
    clock.advance(ends)
    late = Quotas(tmp_path, clock)
    assert late.rule.spent("a", clock.monotonic()) == 0
    assert late.rule.kept(clock.monotonic()).ends_in_seconds == pytest.approx(900)


@pytest.mark.parametrize(
    "told",
    [b"", b"no json", b"[]", b'{"at": 1}', b'{"at": 0, "quotas": {"quota": 7}}',
     b'{"at": 0, "quotas": {"quota": {"ends_in_seconds": 1e9, "tokens": {"a": [-1, "x"]}}}}'],
)  # fmt: skip
def test_a_damaged_file_is_as_none(tmp_path, told):
    """It starts, and everybody begins anew."""
    (tmp_path / FILE).write_bytes(told)
    clock = VirtualClock(NOW)
    assert Quotas(tmp_path, clock).rule.spent("a", clock.monotonic()) == 0


async def test_a_disk_that_is_full_is_told_and_tried_again(tmp_path):
    """The quota itself still counts."""
    clock = VirtualClock(NOW)
    quotas = Quotas(tmp_path / "x", clock)
    (tmp_path / "x").write_text("no folder")
    quotas.uses(1, 400, clock.monotonic())
    await quotas.file.aclose()
    assert "cannot be written" in quotas.file.problem
    (tmp_path / "x").unlink()
    await quotas.file.aclose()
    assert quotas.file.problem is None
    assert orjson.loads((tmp_path / "x" / FILE).read_bytes())["quotas"]["quota"]["tokens"] == {
        "a": [400.0, 0.0]
    }


async def test_a_gateway_keeps_quotas_where_its_spool_is(gateway, tmp_path):
    """Stopped and started again, it knows who has used up the day."""
    settings_told = {
        "spool_folder": str(tmp_path), "rules": ({"name": "quota", "budget": 300},),
    }  # fmt: skip
    said = []
    async with running(Engine()) as engine:
        for _ in range(2):
            async with gateway(engine, **settings_told) as one:
                client = await one.talk()
                for _ in range(3):
                    client.post({**CHAT, "max_tokens": 280, "user": "a"})
                    said.append((await client.answer()).status)
                rule = one.made.gate.policies.named_rules["quota"]
                used = rule.kept(one.made.clock.monotonic()).tokens
    assert used["a"] == (9.0 * said.count(200), 2.0 * said.count(200))
