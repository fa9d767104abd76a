"""From what is discovered to what is scraped: rules, sources as they are written, graces."""

import asyncio
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.discovery.follow import Follower, JobBook
from collector.discovery.jobs import Job, jobs
from collector.discovery.kubernetes import KubernetesDiscovery
from collector.discovery.listed import FileDiscovery
from collector.discovery.model import DiscoveredTarget
from collector.discovery.names import DnsDiscovery
from collector.discovery.relabel import Found, Relabel, found_of
from collector.discovery.settings import DiscoverySettings
from collector.discovery.web import HttpDiscovery
from collector.http_access import OPEN, Access
from store.clock import VirtualClock
from store.errors import ConfigError

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("address", "labels", "url"),
    [
        ("a:8000", {}, "http://a:8000/metrics"),
        ("a:8000", {"__scheme__": "https"}, "https://a:8000/metrics"),
        ("a:8000", {"__metrics_path__": "/m"}, "http://a:8000/m"),
        ("a", {"__param_x": "y z"}, "http://a/metrics?x=y%20z"),
        ("[fd00::7]:1", {}, "http://[fd00::7]:1/metrics"),
        ("https://a:1/x", {}, "https://a:1/x"),
    ],
)
def test_addresses_are_written_as_prometheus_writes_them(address, labels, url):
    """Scheme, path and parameters stand in labels with two underscores."""
    assert Relabel().apply(DiscoveredTarget(address, labels)).url == url


def test_rules_keep_drop_and_rename():
    """Patterns match whole values; meta labels are seen only under a name of ours."""
    rules = Relabel(
        keep={"env": re.compile("prod|stage")},
        drop={"rack": re.compile("b.*")},
        labels={"team": "__meta_team"},
    )
    kept = DiscoveredTarget(
        "a:1", {"env": "prod", "rack": "a1", "__meta_team": "x", "__meta_y": "z"}
    )
    assert rules.apply(kept) == Found(
        "http://a:1/metrics", {"env": "prod", "rack": "a1", "team": "x"}
    )
    assert rules.apply(DiscoveredTarget("a:1", {"env": "production"})) is None
    assert rules.apply(DiscoveredTarget("a:1", {"env": "prod", "rack": "b7"})) is None
    assert rules.apply(DiscoveredTarget("a:1", {})) is None


def test_an_address_that_is_none_leaves_the_others_alone():
    """It is one line for people; a target named twice is one."""
    listed = [DiscoveredTarget(text) for text in ("a:1", "ftp://b", "a:1", "x y")]
    found, problems = found_of(Relabel(), tuple(listed))
    assert list(found) == ["http://a:1/metrics"]
    assert len(problems) == 2


@given(st.text(max_size=40), st.dictionaries(st.text(max_size=15), st.text(max_size=15)))
def test_whatever_is_discovered_nothing_raises(address, labels):
    """Labels come from strangers."""
    found_of(Relabel(), (DiscoveredTarget(address, labels),))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("file:/etc/x/*.yml", FileDiscovery),
        ("https://inventory/targets", HttpDiscovery),
        ("dns:_metrics._tcp.x", DnsDiscovery),
        ("dns:a:vllm.llm.svc:8000", DnsDiscovery),
        ("dns:srv:_m._tcp.x", DnsDiscovery),
        ("kubernetes:pod", KubernetesDiscovery),
        ("kubernetes:endpointslice/llm", KubernetesDiscovery),
    ],
)
def test_sources_as_they_are_written(text, kind):
    """One text says everything that a plain source needs."""
    (job,) = jobs(DiscoverySettings(sources=(text,)))
    assert isinstance(job.discovery, kind)
    assert job.name == text


@pytest.mark.parametrize(
    "text",
    ["", "ftp://x", "file:", "dns:a:host", "dns:srv:", "dns:srv:x:1", "kubernetes:service", "x"],
)
def test_a_source_that_is_none_is_refused_at_the_start(text):
    """Before anything runs, with what there is."""
    with pytest.raises(ConfigError) as refused:
        jobs(DiscoverySettings(sources=(text,)))
    assert "file:PATH" in refused.value.hint or "dns:" in refused.value.hint


def test_a_file_of_sources_gives_rules_and_secrets(tmp_path):
    """Sources and single targets, each with what it asks for."""
    file = tmp_path / "discovery.toml"
    file.write_text(
        """
        [[source]]
        from = "kubernetes:pod/llm"
        label_selector = "app=vllm"
        keep = { __meta_kubernetes_pod_ready = "true" }
        labels = { team = "__meta_kubernetes_pod_label_team" }
        [[target]]
        url = "https://gpu-3:8000"
        labels = { rack = "a7" }
        access = { ca_file = "/etc/ca.pem", bearer_token_file = "/run/token" }
        """
    )
    cluster, single = jobs(DiscoverySettings(file=str(file)))
    assert cluster.relabel.labels["team"] == "__meta_kubernetes_pod_label_team"
    assert cluster.relabel.labels["pod"] == "__meta_kubernetes_pod_name"
    assert single.access == Access(ca_file="/etc/ca.pem", bearer_token_file="/run/token")


@pytest.mark.parametrize(
    "text",
    [
        "[[source]]",
        '[[source]]\nfrom = "file:x"\nkepe = {}',
        '[[source]]\nfrom = "file:x"\nkeep = { a = "(" }',
        '[[source]]\nfrom = "file:x"\nlabels = { a = 1 }',
        '[[source]]\nfrom = "file:x"\nrefresh_seconds = 0',
        '[[source]]\nfrom = "file:x"\nscheme = "ftp"',
        '[[source]]\nfrom = "file:x"\nlabel_selector = "a=b"',
        '[[source]]\nfrom = "file:x"\naccess = { password = "x" }',
        '[[source]]\nfrom = "file:x"\naccess = { username = "x" }',
        '[[source]]\nfrom = "file:x"\naccess = { insecure_skip_verify = "yes" }',
        '[[source]]\nfrom = "file:x"\n[[source]]\nfrom = "file:x"',
        '[[target]]\nlabels = { a = "b" }',
        "target = 5",
        "[nothing]",
        "= 1",
    ],
)
def test_mistakes_in_the_file_are_one_clear_line(tmp_path, text):
    """Where and what; a secret in the file is refused, and not repeated."""
    file = tmp_path / "discovery.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        jobs(DiscoverySettings(file=str(file)))
    assert "\n" not in refused.value.message


class Book:
    """Notes what comes and goes; a double of what scrapes."""

    def __init__(self):
        self.targets = {}
        self.broken = False

    async def appear(self, url, labels, access):
        if self.broken:
            raise RuntimeError("the store is busy")
        self.targets[url] = dict(labels)

    async def vanish(self, url):
        if self.broken:
            raise RuntimeError("the store is busy")
        self.targets.pop(url, None)


class Listed:
    """A discovery whose list a test changes."""

    refresh_seconds = 10.0
    problem = None

    def __init__(self, *addresses, **labels):
        self.addresses, self.labels = addresses, labels

    async def targets(self):
        return tuple(DiscoveredTarget(address, self.labels) for address in self.addresses)

    async def aclose(self):
        """Nothing to close."""


def follower(book, clock, *listed):
    sources = [Job(f"source{n}", one) for n, one in enumerate(listed)]
    return Follower(sources, book, clock, 60.0), sources


async def test_a_target_that_vanishes_gets_a_grace():
    """It is removed after a minute, not before, and not when it comes back meanwhile."""
    clock, book, listed = (
        VirtualClock(NOON),
        Book(),
        Listed("a:1", "b:1"),
    )
    following, (job,) = follower(book, clock, listed)
    await following.ask(job)
    assert book.targets["http://a:1/metrics"] == {"discovered_by": "source0"}
    listed.addresses = ("b:1",)
    for seconds, there in ((0, True), (59, True), (2, False)):
        clock.advance(seconds)
        await following.ask(job)
        assert ("http://a:1/metrics" in book.targets) is there
    assert "http://b:1/metrics" in book.targets


async def test_a_source_that_hangs_keeps_its_targets():
    """Whatever it waits for, it is given up for this round, and how it stands says so."""
    clock, book, listed = VirtualClock(NOON), Book(), Listed("a:1")
    job = Job("source0", listed)
    following = Follower([job], book, clock, 60.0, answer_seconds=0.05)
    await following.ask(job)
    listed.targets = asyncio.Event().wait
    for _ in range(3):
        clock.advance(100)
        await following.ask(job)
    assert list(book.targets) == ["http://a:1/metrics"]
    (state,) = following.states()
    assert state.target_count == 1
    assert "no answer within 0.05 s" in state.problem


async def test_a_target_that_two_sources_name_stays_until_both_are_through():
    """One source forgetting it is not enough."""
    clock, book = VirtualClock(NOON), Book()
    one, two = Listed("a:1"), Listed("a:1")
    following, (first, second) = follower(book, clock, one, two)
    for job in (first, second):
        await following.ask(job)
    one.addresses = ()
    await following.ask(first)
    clock.advance(100)
    await following.ask(first)
    assert "http://a:1/metrics" in book.targets


async def test_new_labels_are_passed_on():
    """A pod that got another team shows it."""
    clock, book, listed = (
        VirtualClock(NOON),
        Book(),
        Listed("a:1", team="x"),
    )
    following, (job,) = follower(book, clock, listed)
    await following.ask(job)
    listed.labels = {"team": "y"}
    await following.ask(job)
    assert book.targets["http://a:1/metrics"]["team"] == "y"


async def test_a_busy_store_is_asked_again():
    """What could not be noted is noted in the next round."""
    clock, book, listed = VirtualClock(NOON), Book(), Listed("a:1")
    following, (job,) = follower(book, clock, listed)
    book.broken = True
    await following.ask(job)
    book.broken = False
    await following.ask(job)
    assert "http://a:1/metrics" in book.targets


async def passing(clock, seconds):
    """Let time pass, and those who wait for it have their turn."""
    await settled()
    clock.advance(seconds)
    await settled()


async def settled():
    for _ in range(20):
        await asyncio.sleep(0)  # noqa: TID251 - one round of the loop, no waiting


async def test_targets_from_before_a_restart_stay_for_the_grace():
    """Those that are named again stay, the others go, also when their source is gone."""
    clock, book, listed = VirtualClock(NOON), Book(), Listed("a:1")
    following, _ = follower(book, clock, listed)
    for url, source in (("http://a:1/metrics", "source0"), ("http://old:1/metrics", "source0"),
                        ("http://gone:1/metrics", "nobody")):  # fmt: skip
        book.targets[url] = {}
        following.known(url, {"discovered_by": source})
    assert following.access({"discovered_by": "source0"}) == OPEN
    await following.start()
    await passing(clock, 5)
    assert len(book.targets) == 3
    for _ in range(8):
        await passing(clock, 10)
    assert set(book.targets) == {"http://a:1/metrics"}
    await following.aclose()
    await following.aclose()


@given(st.lists(st.sets(st.sampled_from("abcd")), max_size=12))
def test_what_is_scraped_is_what_was_named_within_the_grace(lists):
    """Whatever the order of lists, ten seconds apart."""
    book, there, named_at = JobBook(25.0), set(), {}
    for step, names in enumerate(lists):
        now = 10.0 * step
        changes = book.told({name: Found(name, {}) for name in names}, now)
        there |= {one.url for one in changes.appear}
        there -= set(changes.vanish)
        named_at |= dict.fromkeys(names, now)
        # Missing is noticed at the first list without it, up to ten seconds after the last with it.
        assert {name for name, at in named_at.items() if now - at <= 30} == there


@pytest.mark.parametrize(
    "address", ["me:s3cret@a:1", "http://me:s3cret@a:1/m", "me:s3cret@", "http://s3cret@a:1"]
)
def test_credentials_in_a_found_address_are_shown_to_nobody(address):
    """The target is left out, and the problem is shown and logged without them."""
    found, [problem] = found_of(Relabel(), (DiscoveredTarget(address, {}),))
    assert found == {}
    assert "s3cret" not in problem


@pytest.mark.parametrize("source", ["http://me:s3cret@a/sd", "https://s3cret@a"])
def test_credentials_in_the_address_of_a_source_are_refused(source):
    """It would be the source's name, which is shown, logged and stored with every target."""
    with pytest.raises(ConfigError, match="do not belong into an address") as refused:
        jobs(DiscoverySettings(sources=(source,)))
    assert "s3cret" not in str(refused.value)


def test_credentials_in_the_address_of_a_single_target_are_refused(tmp_path):
    """The same for a target of the file."""
    file = tmp_path / "d.toml"
    file.write_text('[[target]]\nurl = "http://me:s3cret@a:1"\n', "utf-8")
    with pytest.raises(ConfigError, match="do not belong into an address") as refused:
        jobs(DiscoverySettings(file=str(file)))
    assert "s3cret" not in str(refused.value)
