"""The picture of `servescope top` in the documentation: the program itself, over made-up rows."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from playwright.sync_api import sync_playwright

from store.clock import VirtualClock

TERMINAL = Path(__file__).parents[1] / "servescope" / "terminal"
# Wide enough for every line; as high as its longest table.
SIZE = (164, 12)


def beside(name: str) -> ModuleType:
    """A module of the tests of the terminal, loaded by its path: tests are no package."""
    spec = importlib.util.spec_from_file_location(f"top_{name}", TERMINAL / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


async def screen() -> str:
    """What a terminal shows, as SVG."""
    conftest, made = beside("conftest"), beside("test_app")
    asked = made.Asked(conftest.document.__wrapped__())
    app = made.Top(asked, VirtualClock(made.NOW), 2.0)
    async with app.run_test(size=SIZE) as pilot:
        await made.settle(pilot)
        return app.export_screenshot(title="servescope top")


def take_top(conftest: ModuleType, file: Path) -> None:
    """Draw it into a file, by the browser of the other pictures."""
    # Playwright has an event loop of its own in this thread: first the screen, then the browser.
    drawn = asyncio.run(screen())
    with sync_playwright() as tool:
        browser = tool.chromium.launch(
            executable_path=conftest.chromium_path(), args=list(conftest.FLAGS)
        )
        page = browser.new_page(viewport={"width": 1500, "height": 900})
        page.set_content(f"<style>svg {{ width: 1440px }}</style>{drawn}")
        page.locator("svg").screenshot(path=file, omit_background=True)
        browser.close()
