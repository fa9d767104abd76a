"""What serving a token is worth: weights, as SQL. Settings need it, so it loads no frames."""

from __future__ import annotations

from dataclasses import dataclass

from store.queries.scope import IS_COUNTED


def double(value: float) -> str:
    """A number as SQL that computes in floating point."""
    # A bare literal would be a DECIMAL, whose arithmetic overflows.
    return f"{float(value)!r}::DOUBLE"


@dataclass(frozen=True, slots=True)
class Cost:
    """Service of one token.

    Attributes:
        input_weight: of a prompt token that was computed.
        output_weight: of a token of the answer.
        cached_weight: of a prompt token that was found in the engine's cache.
    """

    input_weight: float = 1.0
    output_weight: float = 2.0
    cached_weight: float = 1.0

    def sql(self) -> str:
        """The service of a row of `request`; NULL where a length is not known.

        An attempt that another followed counts as far as it produced something.
        """
        cached = "least(coalesce(r.cached_tokens, 0), r.input_tokens)"
        first = (
            f"{double(self.input_weight)} * r.input_tokens"
            if self.cached_weight == self.input_weight
            else f"({double(self.input_weight)} * (r.input_tokens - {cached})"
            f" + {double(self.cached_weight)} * {cached})"
        )
        service = f"({first} + {double(self.output_weight)} * r.output_tokens)"
        return f"CASE WHEN {IS_COUNTED} OR r.output_tokens > 0 THEN {service} END"
