"""A fitted model on disk: `manifest.json` and `arrays.safetensors`. Data, never code.

Pickles would run whatever they carry, so trees, networks and tables are kept as plain arrays.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from predictors.base import Spec
from store.errors import PredictorError

MANIFEST, ARRAYS = "manifest.json", "arrays.safetensors"
FORMAT = 1
MOST_BYTES = 2 << 30

Arrays = Mapping[str, npt.NDArray[Any]]


def write(
    folder: Path, spec: Spec, model_id: str, arrays: Arrays, settings: Mapping[str, Any]
) -> str:
    """Write a model; whoever reads the folder sees the old model or the new one.

    Args:
        folder: made when missing.
        spec: whose model it is; its features are kept in order.
        model_id: of the fit.
        arrays: the learnt numbers.
        settings: what else `load` needs, as JSON.

    Returns:
        The hash of the arrays, as it stands in the manifest.
    """
    from safetensors.numpy import save

    folder.mkdir(parents=True, exist_ok=True)
    body = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    digest = hashlib.sha256(body).hexdigest()
    manifest = {
        "format": FORMAT,
        "predictor": spec.name,
        "model_id": model_id,
        "spec": _plain(spec),
        "arrays_sha256": digest,
        "settings": dict(settings),
    }
    manifest["manifest_sha256"] = _seal(manifest)
    _replace(folder / ARRAYS, body)
    _replace(folder / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True).encode())
    return digest


def read(folder: Path, spec: Spec) -> tuple[str, dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """(model_id, arrays, settings) of the model in `folder`.

    Raises:
        PredictorError: no model, another predictor, another feature list, another format, or bytes
            that are not those that were written.
    """
    from safetensors.numpy import load

    manifest = _manifest(folder)
    if manifest.get("predictor") != spec.name:
        raise PredictorError(
            f"the model is of {manifest.get('predictor')!r}, not of {spec.name!r}",
            where=str(folder),
        )
    if manifest.get("spec") != _plain(spec):
        raise PredictorError(
            f"the model was trained on other features than {spec.name} has now"
            f" ({_difference(manifest.get('spec'), spec)})",
            where=str(folder),
            hint="train it again: servescope train",
        )
    body = _bytes(folder / ARRAYS)
    if hashlib.sha256(body).hexdigest() != manifest.get("arrays_sha256"):
        raise _changed(folder / ARRAYS)
    return str(manifest["model_id"]), load(body), dict(manifest["settings"])


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(_bytes(path))
    except ValueError as error:
        raise _changed(path) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise PredictorError(
            "the model has a format that this version cannot read",
            where=str(path),
            hint="train it again: servescope train",
        )
    told = manifest.pop("manifest_sha256", None)
    if told != _seal(manifest):
        raise _changed(path)
    return manifest


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise PredictorError("larger than 2 GiB: no model of ours", where=str(path))
        return path.read_bytes()
    except OSError as error:
        raise PredictorError(
            f"no model can be read here: {error.strerror}",
            where=str(path),
            hint="train one: servescope train",
        ) from error


def _changed(path: Path) -> PredictorError:
    return PredictorError(
        "these are not the bytes that were written, so nothing is loaded",
        where=str(path),
        hint="restore the file or train again: servescope train",
    )


def _seal(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _plain(spec: Spec) -> dict[str, Any]:
    return dict(json.loads(json.dumps(asdict(spec))))


def _difference(old: Any, spec: Spec) -> str:
    before = {f.get("name") for f in (old or {}).get("features", [])}
    now = {feature.name for feature in spec.features}
    gone, new = sorted(before - now), sorted(now - before)
    told = [f"no longer {', '.join(gone)}"] * bool(gone) + [f"new {', '.join(new)}"] * bool(new)
    return "; ".join(told) or "same names, other kinds or limits"


def _replace(path: Path, body: bytes) -> None:
    draft = path.with_name(path.name + ".draft")
    draft.write_bytes(body)
    draft.replace(path)
