"""What programs and browsers show at the door: long random words, of which only a hash is kept.

They hold 256 random bits, so a plain SHA-256 is enough: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass

SECRET_BYTES = 32
PREFIX = "ss"
_SHAPE = re.compile(rf"{PREFIX}_([0-9a-f]{{12}})_([\w-]{{43}})")


@dataclass(frozen=True, slots=True)
class Key:
    """A new token, as it is shown once.

    Attributes:
        token_id: the public part.
        text: all of it, `ss_…_…`; scanners for leaked secrets know such words by their start.
        digest: what is kept.
    """

    token_id: str
    text: str
    digest: str


def new_key() -> Key:
    """A token that nobody had before."""
    token_id, secret = secrets.token_hex(6), secrets.token_urlsafe(SECRET_BYTES)
    return Key(token_id, f"{PREFIX}_{token_id}_{secret}", digest(secret))


def new_secret() -> str:
    """What a browser, or a command of the server's own user, holds."""
    return secrets.token_urlsafe(SECRET_BYTES)


def parts(text: str) -> tuple[str, str] | None:
    """Public part and secret of a token; None when it is none."""
    found = _SHAPE.fullmatch(text)
    return (found[1], found[2]) if found else None


def digest(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def same(one: str, other: str) -> bool:
    """Whether two digests are equal; takes the same time however much of them is."""
    return secrets.compare_digest(one.encode(), other.encode())
