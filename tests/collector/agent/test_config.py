"""What the agent's settings are before anybody sets them."""

from collector.agent.agent import Agent, Sources
from collector.agent.config import MOST_PAGE_SAMPLES, load
from collector.http_source import HttpCollector
from store.clock import WallClock


def test_the_agent_takes_smaller_pages_than_the_server_unless_told(tmp_path, monkeypatch):
    """A label that holds ids must not cost the node its agent; what is remembered follows."""
    monkeypatch.chdir(tmp_path)
    usual = load(None, {}, {}).collector
    assert usual.most_page_samples == MOST_PAGE_SAMPLES
    assert HttpCollector(WallClock(), usual).cache("").most_texts == MOST_PAGE_SAMPLES
    told = load(None, {}, {"SERVESCOPE_COLLECTOR__MOST_PAGE_SAMPLES": "70000"})
    assert told.collector.most_page_samples == 70_000


def test_what_a_page_loses_is_counted_by_the_agent(tmp_path):
    """Lines that cannot be read are told to the server like every other loss."""
    told = {"server": "http://127.0.0.1:1", "gpu": False, "spool_folder": str(tmp_path / "spool")}
    config = load(None, told, {})
    clock = WallClock()
    sources = Sources(config, clock)
    agent = Agent(config, clock, "1", sources)
    assert sources.http.drops is agent.drops
    agent.spool.close()
