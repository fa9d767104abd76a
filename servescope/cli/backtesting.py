"""`servescope predictors backtest`: a predictor on rolling origins of the store's own rows."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from servescope.cli import access
from servescope.cli.data import configured
from servescope.cli.models import must_exist
from servescope.cli.output import Output
from servescope.config import Config, store_path
from servescope.documents import frame_rows

_SINCE = "now-14d"
"""Where nobody says from when, of live rows; a trace is taken whole."""
COLUMNS = {
    "ahead s": "horizon_seconds",
    "rows": "n",
    "loss": "pinball",
    "rival's": "rival_pinball",
    "yesterday's": "season_pinball",
    "skill": "skill_ratio",
    "low": "skill_low",
    "high": "skill_high",
    "below q90": "coverage_q90_ratio",
}


def run_backtest(
    name: str,
    windows: int,
    params: Mapping[str, str],
    store: Path | None,
    config_file: Path | None,
    *,
    as_json: bool,
) -> None:
    """Back-test here, or in the server that holds the store; then show it by horizon."""
    from predictors import catalog

    # What can be refused is refused before a store is opened: opening makes one.
    entry = catalog.entry(name)
    out = Output(as_json=as_json)
    config = configured(store, config_file)
    given = dict(params)
    if "from" not in given and given.get("source", "live") == "live":
        given["from"] = _SINCE
    out.note(f"back-testing {name} in {windows} windows")
    if entry.lighter:
        out.note("it learns once a window, so a lighter fit than the one that is served is judged")
    told = _told(out, config, name, windows, given)
    with access.opened(config) as way:
        view = way.view("predictors_backtest", {}, {"predictor": name})
    out.document("predictors.backtest", {"backtest": told, "view": view})
    for sentence in view["sentences"]:
        out.line(sentence)
    rows = frame_rows(view, "horizons")
    out.line()
    out.table(list(COLUMNS), [[row.get(key) for key in COLUMNS.values()] for row in rows])


def _told(
    out: Output, config: Config, name: str, windows: int, params: Mapping[str, str]
) -> Mapping[str, Any]:
    if access.server_of(store_path(config)) is not None:
        out.note("the server does the work; GET /api/v1/predictors shows how far it is")
        answer: Mapping[str, Any] = access.the_server(config).send(
            "POST", f"/predictors/{name}/backtest", json={**params, "windows": str(windows)},
            timeout=config.predict.train_limit_seconds + 60,
        )  # fmt: skip
        return answer
    from servescope.backtesting import backtest, source_text

    must_exist(config)
    with ExitStack() as stack:
        runtime = access.open_file(config, store_path(config), stack)
        scope = runtime.scope(params, shared=False)
        return backtest(
            *(runtime.database, runtime.clock, name, scope),
            source=source_text(runtime.catalog(), scope),
            windows=windows,
            told=lambda done: out.note(f"window {done} of {windows} is judged"),
        )
