"""Passwords: hashed by Argon2id, checked without telling who exists."""

from __future__ import annotations

from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from store.errors import InputError

LEAST_CHARACTERS = 12
MOST_CHARACTERS = 1_000
"""A longer one would be work for us and no safer. Source: NIST SP 800-63B 5.1.1.2 asks to take 64 at least."""  # noqa: E501


# RFC 9106's second recommended choice: 64 MiB, three passes; about 50 ms of a core.
_HASHER = PasswordHasher()


def checked(password: str) -> str:
    """A password that may be used.

    Raises:
        InputError: too short or too long.
    """
    if not LEAST_CHARACTERS <= len(password) <= MOST_CHARACTERS:
        raise InputError(
            f"a password has {LEAST_CHARACTERS} to {MOST_CHARACTERS:,} characters",
            hint="several words are easier to keep than signs",
        )
    return password


def hashed(password: str) -> str:
    """What is kept of a password, as a PHC string; takes about 50 ms of a core."""
    return _HASHER.hash(checked(password))


def fits(password: str, kept: str | None) -> bool:
    """Whether a password is the one that was hashed.

    Args:
        password: what was typed.
        kept: its hash; None when there is no such user, which takes as long to refuse.
    """
    if len(password) > MOST_CHARACTERS:
        return False
    try:
        return _HASHER.verify(kept or _nobodys(), password) and kept is not None
    except (VerificationError, InvalidHashError):
        return False


@cache
def _nobodys() -> str:
    return _HASHER.hash("of nobody at all")
