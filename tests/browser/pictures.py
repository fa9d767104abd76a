"""A picture of every page, light and dark, over the made-up data of the tests.

    make pictures
    python tests/browser/pictures.py [--out DIR] [--docs DIR] [--match slo] [--width 1440]

Each is named after its page and theme, such as `slo-detail-dark.png`. They are for eyes; no test
compares them. With `--docs` those of the documentation are renewed as well: what a screen shows of
each page, in few colours; that of Workload is of the built-in trace, from `servescope demo`, and
`top` is the terminal.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

from PIL import Image
from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
THEMES = ("light", "dark")
# Pages of the documentation by the name of their file; made-up data but for that of `REAL`.
DOCUMENTED = {
    "fleet": "fleet", "slo-detail": "slo", "latency": "latency", "alerts": "alerts",
    "fairness": "fairness", "cold-starts": "cold-starts", "degradation": "degradation",
    "predictors": "predictors", "controller": "controller", "what-if": "whatif", "cost": "cost",
    "reports": "reports", "admin": "admin",
}  # fmt: skip
REAL, TERMINAL = "workload", "top"
# Where another address shows more of a page than the one that is tested.
INSTEAD = {"latency": "/ui/latency"}
DOCS_HEIGHT = 1000


def beside(name: str) -> ModuleType:
    """A module of this folder, loaded by its path: tests are no package."""
    spec = importlib.util.spec_from_file_location(f"pictures_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def visitors(conftest: ModuleType, served: SimpleNamespace, width: int) -> Iterator:
    """Somebody in each theme."""
    with sync_playwright() as tool:
        browser = tool.chromium.launch(
            executable_path=conftest.chromium_path(), args=list(conftest.FLAGS)
        )
        for theme in THEMES:
            visitor = conftest.Visitor(browser, served, theme)
            visitor.page.set_viewport_size({"width": width, "height": DOCS_HEIGHT})
            yield theme, visitor
            visitor.close()
        browser.close()


def take(given: argparse.Namespace) -> int:
    """Take them over made-up data; gives how many."""
    conftest, pages = beside("conftest"), beside("test_pages").PAGES
    taken = 0
    serving = conftest.served.__wrapped__()
    served = next(serving)
    for theme, visitor in visitors(conftest, served, given.width):
        for name, address in pages.items():
            if given.match not in name:
                continue
            visitor.open(address)
            file = given.out / f"{name.lower().replace(' ', '-')}-{theme}.png"
            visitor.page.screenshot(path=file, full_page=True)
            if given.docs and name in DOCUMENTED:
                if name in INSTEAD:
                    visitor.open(INSTEAD[name])
                document(visitor.page, given.docs, DOCUMENTED[name], theme)
            taken += 1
    next(serving, None)
    return taken


def take_real(given: argparse.Namespace) -> None:
    """The page Workload as `servescope demo` shows it."""
    conftest, end_to_end = beside("conftest"), beside("test_end_to_end")
    with tempfile.TemporaryDirectory() as home:
        serving = end_to_end.demo.__wrapped__(SimpleNamespace(mktemp=lambda name: Path(home)))
        served = next(serving)
        for theme, visitor in visitors(conftest, served, given.width):
            visitor.page.goto(f"{served.url}/ui/workload")
            end_to_end.drawn(visitor)
            document(visitor.page, given.docs, REAL, theme)
        next(serving, None)


def document(page: object, folder: Path, name: str, theme: str) -> None:
    """What the screen shows, small: light under the page's name, dark with `-dark`."""
    file = folder / f"{name}{'-dark' if theme == 'dark' else ''}.png"
    page.screenshot(path=file)
    few_colours(file)


def few_colours(file: Path) -> None:
    """Make a picture small."""
    # The other methods drop the colour of a dot that is all there is of it.
    octree = Image.Quantize.FASTOCTREE
    few = Image.open(file).convert("RGB").quantize(256, octree, dither=Image.Dither.NONE)
    few.save(file, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("build/pictures"))
    parser.add_argument("--match", default="", help="only pages whose name holds this")
    parser.add_argument("--width", type=int, default=1440)
    parser.add_argument("--docs", type=Path, help="renew the pictures of the documentation there")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    print(f"{take(given)} pictures in {given.out}")
    if given.docs and given.match in REAL:
        take_real(given)
    if given.docs and given.match in TERMINAL:
        file = given.docs / f"{TERMINAL}.png"
        beside("terminal_picture").take_top(beside("conftest"), file)
        few_colours(file)


if __name__ == "__main__":
    main()
