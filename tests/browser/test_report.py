"""A report as a file, opened without a network and without scripts, in both themes."""

import importlib.util
from pathlib import Path

import axe_core_python
import pytest

from dashboard.report import render

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DOCUMENT = Path(__file__).parents[1] / "dashboard" / "report_document.py"
AXE = Path(axe_core_python.__file__).parent / "axe.min.js"
TOO_WIDE = """() => [document.documentElement, ...document.querySelectorAll('.tiles > div, figure')]
  .filter(part => part.scrollWidth > part.clientWidth + 1)
  .map(part => `${part.className} ${part.scrollWidth} > ${part.clientWidth}`)"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The made-up report as a file."""
    spec = importlib.util.spec_from_file_location("servescope_report_document", DOCUMENT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_bytes(render(module.DOCUMENT, "html").data)
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 800])
def test_it_reads_well_alone(chromium, file, scheme, width):
    """No request, no serious axe finding, nothing wider than the page."""
    context = chromium.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
    )
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    assert asked == [file.as_uri()]
    assert page.get_by_role("heading", level=1).inner_text().startswith("Week 46 of 2026")
    assert page.evaluate(TOO_WIDE) == []
    page.add_script_tag(path=str(AXE))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == []
    context.close()


def test_without_scripts_every_number_and_picture_is_there(chromium, file):
    """Mail and ticket systems take scripts away."""
    context = chromium.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(file.as_uri())
    assert page.get_by_text("97.30 %", exact=True).count() >= 1
    assert page.get_by_role("img", name="Requests a second lay between 0 and 27.").count() == 1
    context.close()
