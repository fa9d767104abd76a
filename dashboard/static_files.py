"""Compressed answers: static files once and for good, callback answers on the way out."""

from __future__ import annotations

import gzip
import threading
import zlib
from dataclasses import dataclass, field

from flask import Flask, Request, Response, request

# Files whose address changes with their content (Dash puts a version or a stamp into it).
_STATIC_MARKS = ("/_dash-component-suites/", "/assets/")
_TEXT_TYPES = ("javascript", "json", "css", "html", "svg", "text/")
_SMALLEST_BYTES = 1024
_STATIC_LEVEL, _ANSWER_LEVEL = 9, 4
_KEPT_FILES = 200


@dataclass(slots=True)
class Compressor:
    """Gzips what Flask answers; a static file is compressed once and kept.

    Compressing on the fly costs a quarter of a second of CPU per cold client for Plotly alone, so
    the compressed form of each static address is kept (a few hundred kilobytes in all).
    """

    _kept: dict[tuple[str, int], bytes] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def install(self, server: Flask) -> None:
        """Let every answer of `server` pass through here."""
        server.after_request(self.compress)

    def compress(self, response: Response) -> Response:
        """One answer, compressed when the client takes gzip and it is worth it."""
        if response.status_code == 200 and "/assets/" in request.path and "m" in request.args:
            # Dash puts the file's time of change into the address: a new file is a new address.
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        if not _wanted(request, response):
            return response
        static = any(mark in request.path for mark in _STATIC_MARKS)
        response.direct_passthrough = False
        body = response.get_data()
        response.close()  # the file behind it has been read to its end
        if len(body) < _SMALLEST_BYTES:
            return response
        packed = self._static(request.path, body) if static else gzip.compress(body, _ANSWER_LEVEL)
        response.set_data(packed)
        response.headers["Content-Encoding"] = "gzip"
        response.headers["Content-Length"] = str(len(packed))
        response.headers.add("Vary", "Accept-Encoding")
        return response

    def _static(self, path: str, body: bytes) -> bytes:
        key = (path, zlib.crc32(body))
        with self._lock:
            known = self._kept.get(key)
        if known is not None:
            return known
        packed = gzip.compress(body, _STATIC_LEVEL)
        with self._lock:
            if len(self._kept) < _KEPT_FILES:
                self._kept[key] = packed
        return packed


def _wanted(asked: Request, response: Response) -> bool:
    return (
        response.status_code == 200
        and "gzip" in asked.headers.get("Accept-Encoding", "").lower()
        and "Content-Encoding" not in response.headers
        and any(kind in (response.content_type or "") for kind in _TEXT_TYPES)
    )
