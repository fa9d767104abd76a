"""Every page in a real browser: drawn in time, light on the wire, accessible, quiet."""

from __future__ import annotations

import time
from pathlib import Path

import axe_core_python
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TRACES = "?source=azure-2023-conv,azure-2023-code"
PAGES = {
    "fleet": "/ui/",
    "slo": "/ui/slo",
    "slo-detail": "/ui/slo/chat-ttft",
    "arrivals": f"/ui/workload{TRACES}",
    "burstiness": f"/ui/workload/burstiness{TRACES}",
    "lengths": f"/ui/workload/lengths{TRACES}",
    "clients": "/ui/workload/clients",
    "sessions": "/ui/workload/sessions?source=burst",
    "prefix": "/ui/workload/prefix",
    "failures": "/ui/workload/failures",
    "compare": f"/ui/workload/compare{TRACES}&against=azure-2023-code",
    "export": f"/ui/workload/export{TRACES}",
    "admin": "/ui/admin",
    "tables": f"/ui/workload{TRACES}&table=rate,gaps",
    "no-such-page": "/ui/nothing",
}
AXE = Path(axe_core_python.__file__).parent / "axe.min.js"

COLD_SECONDS = 3.0
COLD_BYTES = 1_200_000


def serious(page) -> list[str]:
    """What axe finds serious or critical."""
    page.add_script_tag(path=str(AXE))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    bad = [v for v in found if v["impact"] in ("serious", "critical")]
    return [
        f"{v['id']}: {node['target']} {node['failureSummary']}" for v in bad for node in v["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible_quiet_and_within_the_window(visit, name, scheme):
    """No serious axe finding, no console error, no foreign host, nothing wider than the screen."""
    visitor = visit(scheme)
    visitor.open(PAGES[name])
    assert serious(visitor.page) == []
    assert visitor.troubles == []
    assert visitor.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "kind", ["nothing_connected", "metric_absent", "outside_range", "no_traffic"]
)
def test_empty_states_are_accessible(visit, served, kind, scheme):
    """Pages without data hold the same bar."""
    from analysis.measure import Empty

    served.fake.empty = Empty(kind, "The reason in words.", served.fake.now)
    visitor = visit(scheme)
    visitor.open("/ui/")
    assert serious(visitor.page) == []
    assert visitor.troubles == []


@pytest.mark.parametrize("name", ["fleet", "slo-detail", "arrivals", "lengths"])
def test_a_cold_page_is_drawn_in_time_and_light(visit, name):
    """Empty cache: three seconds and 1.2 MB at most. The server has warmed up before."""
    visit().open(PAGES[name])
    visitor = visit()
    started = time.perf_counter()
    visitor.open(PAGES[name])
    seconds = time.perf_counter() - started
    print(f"{name}: {seconds:.2f} s, {visitor.wire_bytes / 1e6:.2f} MB")
    assert visitor.wire_bytes <= COLD_BYTES
    assert seconds <= COLD_SECONDS


def test_a_phone_can_read_it(visit):
    """At 390 pixels nothing is cut off and the navigation opens by its button."""
    visitor = visit(is_mobile=False)
    visitor.page.set_viewport_size({"width": 390, "height": 800})
    visitor.open("/ui/")
    assert visitor.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    visitor.page.get_by_role("button", name="Navigation").click()
    visitor.page.get_by_role("link", name="Admin").click()
    visitor.page.wait_for_url("**/ui/admin*")
