"""Signatures of requests to S3 and what speaks like it.

Source: AWS, "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)".
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Keys:
    """Who signs, for where.

    Attributes:
        access_key: name of the key.
        secret_key: the key.
        region: such as eu-central-1.
        service: s3.
    """

    access_key: str
    secret_key: str
    region: str
    service: str = "s3"


def path_of(*parts: str) -> str:
    """A path of an object as it is signed and sent: every part percent-encoded, slashes kept."""
    return "/" + "/".join(quote(part, safe="/-_.~") for part in parts)


def signed(
    method: str, path: str, headers: Mapping[str, str], body: bytes, at: datetime, keys: Keys
) -> dict[str, str]:
    """The headers with date, digest and signature.

    Args:
        method: GET or PUT.
        path: as `path_of` gives it; there is no query.
        headers: with `host`; all of them are signed.
        body: all of it.
        at: aware UTC.
        keys: who signs.
    """
    stamp = at.strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    whole = {
        **{name.lower(): " ".join(value.split()) for name, value in headers.items()},
        "x-amz-content-sha256": digest,
        "x-amz-date": stamp,
    }
    names = ";".join(sorted(whole))
    listed = "".join(f"{name}:{whole[name]}\n" for name in sorted(whole))
    request = "\n".join((method, path, "", listed, names, digest))
    scope = f"{stamp[:8]}/{keys.region}/{keys.service}/aws4_request"
    hashed = hashlib.sha256(request.encode()).hexdigest()
    text = "\n".join((_ALGORITHM, stamp, scope, hashed))
    signature = hmac.new(_key(keys, stamp[:8]), text.encode(), hashlib.sha256).hexdigest()
    whole["authorization"] = (
        f"{_ALGORITHM} Credential={keys.access_key}/{scope},"
        f"SignedHeaders={names},Signature={signature}"
    )
    return whole


def _key(keys: Keys, day: str) -> bytes:
    key = f"AWS4{keys.secret_key}".encode()
    for part in (day, keys.region, keys.service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
