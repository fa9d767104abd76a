"""Routes whose JSON bodies hold nothing that could not be written down again.

Python's own reader takes NaN, and half of a surrogate pair as a text of its own; neither is JSON
nor UTF-8, and a store, an answer or a log fails at it long after the request was accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute


class _StrictRequest(Request):
    """A request whose JSON is read by the letter of RFC 8259."""

    async def json(self) -> Any:
        """The decoded body.

        Raises:
            json.JSONDecodeError: it is no JSON; answered as 422.
        """
        if not hasattr(self, "_json"):
            self._json = orjson.loads(await self.body())
        return self._json


class JsonRoute(APIRoute):
    """A route that reads JSON bodies so; every router of the API uses it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The usual handler, given the stricter request."""
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handle(_StrictRequest(request.scope, request.receive))

        return strict
