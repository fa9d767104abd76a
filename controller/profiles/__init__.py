"""Profiles by name: those that are shipped, and the user's own files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from controller.profile import Profile
from store.errors import ControllerError

SUFFIX = ".json"
_ODD = re.compile(r"[^a-z0-9.]+")


def shipped() -> Mapping[str, Profile]:
    """File name without its ending -> profile fitted to public measurements."""
    return read(Path(str(resources.files(__name__))))


def read(folder: Path) -> Mapping[str, Profile]:
    """The profiles of a folder by file name; none where there is no folder.

    Raises:
        ControllerError: a file is no profile.
    """
    if not folder.is_dir():
        return {}
    return {path.stem: Profile.load(path) for path in sorted(folder.glob(f"*{SUFFIX}"))}


def find(name: str, folder: Path | None = None) -> Profile:
    """The profile that somebody means: a file, one of the folder, or a shipped one.

    Args:
        name: a path that ends in .json, the name of a file, or the name inside one.
        folder: of the user's own profiles.

    Raises:
        ControllerError: there is none, or it is none.
    """
    if name.endswith(SUFFIX):
        return Profile.load(Path(name))
    known = {**shipped(), **({} if folder is None else read(folder))}
    for key in (name, slug(name)):
        if key in known:
            return known[key]
    named = [profile for profile in known.values() if profile.name == name]
    if named:
        return named[-1]
    raise ControllerError(
        f"there is no profile '{name}'",
        hint=f"a file, or one of: {', '.join(sorted(known)) or 'none'}",
    )


def slug(name: str) -> str:
    """A file name for a profile."""
    return _ODD.sub("-", name.lower()).strip("-") or "profile"
