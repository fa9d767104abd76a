"""A picture of every page, light and dark, over the made-up data of the tests.

    make pictures
    python tests/browser/pictures.py [--out build/pictures] [--match slo] [--width 1440]

Each is named after its page and theme, such as `slo-detail-dark.png`. They are for eyes and for the
documentation; no test compares them.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
THEMES = ("light", "dark")


def beside(name: str) -> ModuleType:
    """A module of this folder, loaded by its path: tests are no package."""
    spec = importlib.util.spec_from_file_location(f"pictures_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def take(out: Path, match: str, width: int) -> int:
    """Take them; gives how many."""
    conftest, pages = beside("conftest"), beside("test_pages").PAGES
    taken = 0
    serving = conftest.served.__wrapped__()
    served = next(serving)
    with sync_playwright() as tool:
        browser = tool.chromium.launch(
            executable_path=conftest.chromium_path(), args=list(conftest.FLAGS)
        )
        for theme in THEMES:
            visitor = conftest.Visitor(browser, served, theme)
            visitor.page.set_viewport_size({"width": width, "height": 900})
            for name, address in pages.items():
                if match not in name:
                    continue
                visitor.open(address)
                file = out / f"{name.lower().replace(' ', '-')}-{theme}.png"
                visitor.page.screenshot(path=file, full_page=True)
                taken += 1
            visitor.close()
        browser.close()
    next(serving, None)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("build/pictures"))
    parser.add_argument("--match", default="", help="only pages whose name holds this")
    parser.add_argument("--width", type=int, default=1440)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    print(f"{take(given.out, given.match, given.width)} pictures in {given.out}")


if __name__ == "__main__":
    main()
