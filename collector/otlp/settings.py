"""Settings of what is taken by OTLP."""

from __future__ import annotations

from dataclasses import dataclass

from collector.otlp.attributes import (
    ROUTE_ATTRIBUTES,
    SESSION_ATTRIBUTES,
    SLO_CLASS_ATTRIBUTES,
    TENANT_ATTRIBUTES,
)


@dataclass(frozen=True, slots=True)
class OtlpSettings:
    """Table `[otlp]`: spans and metrics that exporters and collectors send.

    Attributes:
        listen: one more HOST:PORT to take them on, such as 127.0.0.1:4318, the standard port; the
            server's own address takes them in any case. Empty means none.
        most_body_bytes: largest export, as sent and after unpacking.
        most_waiting_requests: exports taken in at the same time; more are told to come again (429).
        body_seconds: how long the body of one export may take.
        tenant_attributes: span or resource attributes that name the tenant, the first found counts.
        session_attributes: the same for the session.
        route_attributes: the same for the route.
        slo_class_attributes: the same for the class of service.
        caller_spans: what becomes of spans of those who call a model: `auto` takes one unless the
            server that answered tells of the same request, `drop` takes none.
    """

    listen: str = ""
    most_body_bytes: int = 64 << 20
    most_waiting_requests: int = 64
    body_seconds: float = 60.0
    tenant_attributes: tuple[str, ...] = TENANT_ATTRIBUTES
    session_attributes: tuple[str, ...] = SESSION_ATTRIBUTES
    route_attributes: tuple[str, ...] = ROUTE_ATTRIBUTES
    slo_class_attributes: tuple[str, ...] = SLO_CLASS_ATTRIBUTES
    caller_spans: str = "auto"

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            ValueError: naming the setting.
        """
        for name in ("most_body_bytes", "most_waiting_requests", "body_seconds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"otlp.{name} must be above 0")
        if self.caller_spans not in {"auto", "drop"}:
            raise ValueError("otlp.caller_spans must be auto or drop")
