"""Which engine answers at an address, and what it says about itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

from collector.engines.adapter import Engine
from collector.engines.registry import ENGINES
from collector.exposition import Page
from collector.model import Sample, TargetFacts
from store.errors import CollectError

_METRICS_PATH = "/metrics"
_MODEL_FILE = ".gguf"
_ROLES = ("engine", "gateway", "exporter")
_PREFIXES = tuple(
    (prefix, engine) for engine in ENGINES.values() for prefix in engine.prefixes if prefix
)


def normalise_url(url: str) -> str:
    """The address of a metrics page from what people type; `host:8000` is enough.

    >>> normalise_url("host:8000")
    'http://host:8000/metrics'

    Raises:
        CollectError: not an http or https address of a host, or it holds a password.
    """
    text = url.strip()
    if "://" not in text:
        text = f"http://{text}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as why:
        raise _bad_url(url, f"not an address: {why}") from None
    if parts.scheme not in ("http", "https"):
        raise _bad_url(url, f"cannot scrape {parts.scheme}://")
    if not parts.hostname or not all(map(_is_visible, text)):
        raise _bad_url(url, "no host in it")
    if parts.username is not None:
        raise _bad_url(parts.hostname, "credentials do not belong into a target's address")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    netloc = host if port is None else f"{host}:{port}"
    path = parts.path if parts.path.strip("/") else _METRICS_PATH
    return urlunsplit((parts.scheme, netloc, path, _gently(parts.query), ""))


def _gently(query: str) -> str:
    """The query with which a look at a llama.cpp router changes nothing.

    A router loads the model whose page it is asked for, unless it is told not to.

    >>> _gently("model=tiny")
    'model=tiny&autoload=false'
    """
    named = parse_qs(query, keep_blank_values=True)
    return f"{query}&autoload=false" if "model" in named and "autoload" not in named else query


def _is_visible(sign: str) -> bool:
    return sign.isprintable() and not sign.isspace()


def _bad_url(where: str, message: str) -> CollectError:
    return CollectError(message, where=where, hint="write it like http://host:8000")


def base_url(metrics_url: str) -> str | None:
    """Address of the engine's other answers; None when the page does not end in /metrics.

    >>> base_url("http://host:8000/prometheus/metrics")
    'http://host:8000'
    """
    parts = urlsplit(metrics_url)
    path = parts.path.rstrip("/")
    if not path.endswith(_METRICS_PATH):
        return None
    # TensorRT-LLM serves its page one folder down.
    path = path.removesuffix(_METRICS_PATH).removesuffix("/prometheus")
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def engines_of(page: Page) -> tuple[Engine, ...]:
    """Whose names stand on the page; engines before gateways before exporters.

    Several share a page where a front end passes on what its workers tell.
    """
    found: dict[str, Engine] = {}
    for name in {series.name for series in page.values}:
        engine = engine_by_name(name)
        if engine is not None:
            found[engine.name] = engine
    return tuple(sorted(found.values(), key=_closeness))


def _closeness(engine: Engine) -> tuple[int, str]:
    return _ROLES.index(engine.role), engine.name


def engine_of(page: Page) -> Engine | None:
    """The engine closest to the work whose names stand on the page."""
    found = engines_of(page)
    return found[0] if found else None


@lru_cache(maxsize=100_000)
def engine_by_name(name: str) -> Engine | None:
    """The engine to which a metric name belongs, by the longest prefix.

    >>> engine_by_name("ray_vllm_num_requests_running").name
    'vllm'
    """
    best, length = None, 0
    for prefix, engine in _PREFIXES:
        if len(prefix) > length and name.startswith(prefix):
            best, length = engine, len(prefix)
    return best


def unsupported(page: Page) -> str:
    """One line about a metrics page of no engine that we can read."""
    known = ", ".join(sorted(ENGINES))
    first = next(iter(page.values)).name if page.values else "nothing"
    return f"no engine's metrics on the page, it begins with {first[:80]} (known: {known})"


def model_in_url(url: str) -> str | None:
    """The model that a page is asked about: a llama.cpp router serves one page for each.

    >>> model_in_url("http://host:8080/metrics?model=tiny")
    'tiny'
    """
    return next(iter(parse_qs(urlsplit(url).query).get("model", ())), None)


def model_of(samples: Iterable[Sample]) -> str | None:
    """The model that the samples name; None when they name none, or several."""
    import json

    named = {json.loads(labels).get("model") for labels in {sample.labels for sample in samples}}
    named.discard(None)
    return str(named.pop()) if len(named) == 1 else None


async def learn(
    engine: Engine, known: TargetFacts, get_json: Callable[[str], Awaitable[Any]]
) -> TargetFacts:
    """Ask the engine for what is not known yet.

    Args:
        engine: says where to ask.
        known: facts that need no asking.
        get_json: path -> decoded answer, None when there is none.
    """
    told = {"engine_version": known.engine_version, "model": known.model}
    answers: dict[str, Any] = {}
    for fact in engine.facts:
        if told[fact.about] is None:
            if fact.path not in answers:
                answers[fact.path] = await get_json(fact.path)
            told[fact.about] = _along(answers[fact.path], fact.keys)
    return TargetFacts(engine.name, told["engine_version"], _model_name(told["model"]))


def _model_name(told: str | None) -> str | None:
    """llama.cpp without an alias names its model by the path of the file: the stem says enough.

    >>> _model_name("/models/tiny-Q4_K_M.gguf")
    'tiny-Q4_K_M'
    """
    if told is None or not told.lower().endswith(_MODEL_FILE):
        return told
    name = told[: -len(_MODEL_FILE)].replace("\\", "/").rpartition("/")[2]
    return name or told


def _along(answer: Any, keys: tuple[str | int, ...]) -> str | None:
    for key in keys:
        try:
            answer = answer[key]
        except (KeyError, IndexError, TypeError):
            return None
    return answer[:200] if isinstance(answer, str) and answer else None
