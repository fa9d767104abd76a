"""Other names for tenants, the same every time, that tell nothing of the name."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

from store.database import Database
from store.errors import StoreError
from store.lake_secret import shared_secret
from store.lake_tables import LakeTables

SECRET_BYTES = 32
_LETTERS = 8
PREFIX = "tenant-"
_SHAPE = re.compile(rf"{PREFIX}[a-z2-7]{{{_LETTERS}}}")


def secret_path(store: Path) -> Path:
    """Where the secret of a store lies."""
    return store.with_name(store.name + ".secret")


def secret_of(store: Path | None) -> bytes:
    """The secret of a store, made when it is first asked for; a new one for a store in memory.

    It lies beside the store, readable for its owner only, not in it: whoever may ask the store
    questions must not find what would undo the pseudonyms.

    Raises:
        StoreError: it can neither be read nor made, or is damaged.
    """
    if store is None:
        return secrets.token_bytes(SECRET_BYTES)
    path = secret_path(store)
    try:
        _make(path)
        found = bytes.fromhex(path.read_text("ascii").strip())
    except OSError as error:
        text = f"the secret of the store cannot be used ({error.strerror})"
        raise StoreError(text, where=str(path), hint="make its folder writable") from error
    except ValueError:
        found = b""
    if len(found) < SECRET_BYTES:
        hint = "remove it: tenants get other pseudonyms then"
        raise StoreError("the secret of the store is damaged", where=str(path), hint=hint)
    return found


def secret_for(database: Database) -> bytes:
    """The secret of an open store: servers of a lake share one.

    Raises:
        StoreError: see `secret_of`; or what a lake's servers share cannot be asked.
    """
    lake = database.lake
    if lake is None or not lake.address.is_shared:
        return secret_of(database.path)
    tables = LakeTables(lake.address)
    try:
        return bytes.fromhex(shared_secret(tables, "pseudonyms"))
    finally:
        tables.close()


def _make(path: Path) -> None:
    """Write a new secret unless there is one; never a part of one, whoever else does the same."""
    if path.exists():
        return
    part = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(SECRET_BYTES) + "\n")
        try:
            os.link(part, path)
        except FileExistsError:
            return
    finally:
        part.unlink(missing_ok=True)


def is_pseudonym(text: str) -> bool:
    """Whether a text looks like one, of whatever store."""
    return _SHAPE.fullmatch(text) is not None


def pseudonym(secret: bytes, name: str) -> str:
    """`tenant-` and eight letters: HMAC-SHA-256 of the name, cut to 40 bits.

    Args:
        secret: of the store.
        name: of the tenant.
    """
    digest = hmac.new(secret, name.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
    return PREFIX + base64.b32encode(digest)[:_LETTERS].decode("ascii").lower()
