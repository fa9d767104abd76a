"""KEDA asks us: an external scaler over gRPC, for triggers `external` and `external-push`.

The metric is the number of replicas itself, with a target of 1 (AverageValue), so the HPA that KEDA
makes wants exactly as many. Trap: the HPA ignores a change of less than its tolerance, 10 % unless
set, so 20 -> 21 does nothing; set `tolerance: 0` in both directions of its behaviour, or scale
through the scale subresource.

Until a first decision every question is answered UNAVAILABLE: KEDA then holds (or uses its
`fallback`), while a zero would scale down.

Source: KEDA, "External Scalers".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from controller.actuators.base import Scale
from controller.actuators.platform import NoAnswer
from controller.actuators.published import Board, Desired
from store.clock import Clock

if TYPE_CHECKING:
    from controller.actuators.keda_proto import scaler_pb2

SERVICE = "externalscaler.ExternalScaler"
METRIC = "servescope_desired_replicas"
_MOST_QUESTIONS = 256
_MESSAGE_BYTES = 64 << 10
_GRACE_SECONDS = 0.5
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True, slots=True)
class KedaPool:
    """One pool that KEDA scales.

    Attributes:
        scaled_object: NAMESPACE/NAME of the ScaledObject; "" when its trigger says `pool` in its
            metadata.
    """

    scaled_object: str = ""


@dataclass(frozen=True, slots=True)
class KedaSettings:
    """An external scaler.

    Attributes:
        pools: by name.
        listen: HOST:PORT; port 0 takes a free one.
        certificate_file: TLS certificate of this server, PEM; with `key_file`.
        key_file: key of that certificate.
        client_ca_file: only clients with a certificate of this CA are answered; "" answers all.
        open_to_all: listen beyond loopback without TLS and client certificates.
        file: keeps the numbers over a restart; "" answers UNAVAILABLE until the next decision.
    """

    pools: Mapping[str, KedaPool] = field(default_factory=dict)
    listen: str = "127.0.0.1:9771"
    certificate_file: str = ""
    key_file: str = ""
    client_ca_file: str = ""
    open_to_all: bool = False
    file: str = ""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            ValueError: naming the setting.
        """
        host, _, port = self.listen.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65_535:
            raise ValueError(f"listen is '{self.listen}', it must be HOST:PORT")
        if bool(self.certificate_file) != bool(self.key_file):
            raise ValueError("certificate_file and key_file belong together")
        if self.client_ca_file and not self.certificate_file:
            raise ValueError("client_ca_file needs certificate_file and key_file")
        if host not in _LOOPBACK and not (self.client_ca_file or self.open_to_all):
            raise ValueError(
                "listening beyond loopback needs client_ca_file, or open_to_all = true"
            )


class _Context(Protocol):
    """What is used of grpc.aio.ServicerContext."""

    def abort(self, code: Any, details: str) -> Awaitable[None]: ...


class KedaExternal:
    """The server; it listens from the first `read` on, so read once at the start.

    Args:
        settings: of the server.
        clock: the time.
    """

    def __init__(self, settings: KedaSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        file = Path(settings.file).expanduser() if settings.file else None
        self._board = Board(tuple(settings.pools), clock, file)
        self._server: Any = None
        self._asked_at: dict[str, float] = {}
        self.port = 0

    @property
    def name(self) -> str:
        """For people and records."""
        return f"keda external scaler {self._settings.listen}"

    @property
    def pools(self) -> tuple[str, ...]:
        """Of the settings."""
        return self._board.pools

    async def read(self, pool: str) -> Scale:
        """What KEDA is told; listens if it does not yet."""
        await self._listen()
        return self._board.scale(pool)

    async def write(self, pool: str, replicas: int, seen: Scale, decision_id: str) -> str:
        """Tell KEDA another number from now on."""
        self._board.put(pool, replicas, decision_id)
        asked = self._asked_at.get(pool)
        if asked is None:
            return "KEDA has not asked for it yet"
        return f"KEDA asked {self._clock.monotonic() - asked:.0f} s ago"

    async def aclose(self) -> None:
        """Stop listening; safe twice."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(_GRACE_SECONDS)

    async def _listen(self) -> None:
        if self._server is not None:
            return
        grpc = _grpc()
        # Two controllers on one port would answer in turns.
        options = [
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", _MESSAGE_BYTES),
        ]
        server = grpc.aio.server(options=options, maximum_concurrent_rpcs=_MOST_QUESTIONS)
        server.add_generic_rpc_handlers((self._handlers(grpc),))
        try:
            self.port = self._bind(grpc, server)
        except (RuntimeError, OSError) as error:
            await server.stop(None)
            raise NoAnswer(f"cannot listen on {self._settings.listen}: {error}") from None
        await server.start()
        self._server = server

    def _bind(self, grpc: Any, server: Any) -> int:
        given = self._settings
        if not given.certificate_file:
            port = server.add_insecure_port(given.listen)
        else:
            pair = (Path(given.key_file).read_bytes(), Path(given.certificate_file).read_bytes())
            trust = Path(given.client_ca_file).read_bytes() if given.client_ca_file else None
            credentials = grpc.ssl_server_credentials([pair], trust, trust is not None)
            port = server.add_secure_port(given.listen, credentials)
        if not port:
            raise OSError("the address is taken")
        return int(port)

    def _handlers(self, grpc: Any) -> Any:
        from controller.actuators.keda_proto import scaler_pb2 as messages

        ref, asked = messages.ScaledObjectRef, messages.GetMetricsRequest

        def one(answer: Any, kind: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(
                answer, kind.FromString, lambda message: message.SerializeToString()
            )

        def many(answer: Any) -> Any:
            return grpc.unary_stream_rpc_method_handler(
                answer, ref.FromString, lambda message: message.SerializeToString()
            )

        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "IsActive": one(self._is_active, ref),
                "StreamIsActive": many(self._stream_is_active),
                "GetMetricSpec": one(self._get_metric_spec, ref),
                "StreamMetricSpec": many(self._stream_metric_spec),
                "GetMetrics": one(self._get_metrics, asked),
            },
        )

    async def _is_active(
        self, ref: scaler_pb2.ScaledObjectRef, context: _Context
    ) -> scaler_pb2.IsActiveResponse:
        from controller.actuators.keda_proto import scaler_pb2 as messages

        desired = await self._desired(ref, context)
        return messages.IsActiveResponse(result=desired.replicas > 0)

    async def _stream_is_active(
        self, ref: scaler_pb2.ScaledObjectRef, context: _Context
    ) -> AsyncIterator[scaler_pb2.IsActiveResponse]:
        from controller.actuators.keda_proto import scaler_pb2 as messages

        pool, last = await self._pool(ref, context), None
        while True:
            changed = self._board.next_change()
            desired = self._board.get(pool)
            active = None if desired is None else desired.replicas > 0
            if active is not None and active != last:
                yield messages.IsActiveResponse(result=active)
                last = active
            await changed.wait()

    async def _get_metric_spec(
        self, ref: scaler_pb2.ScaledObjectRef, context: _Context
    ) -> scaler_pb2.GetMetricSpecResponse:
        await self._pool(ref, context)
        return _spec()

    async def _stream_metric_spec(
        self, ref: scaler_pb2.ScaledObjectRef, context: _Context
    ) -> AsyncIterator[scaler_pb2.GetMetricSpecResponse]:
        await self._pool(ref, context)
        yield _spec()
        # The target never changes; the stream stays open, or KEDA would ask again and again.
        await asyncio.get_running_loop().create_future()

    async def _get_metrics(
        self, asked: scaler_pb2.GetMetricsRequest, context: _Context
    ) -> scaler_pb2.GetMetricsResponse:
        from controller.actuators.keda_proto import scaler_pb2 as messages

        desired = await self._desired(asked.scaled_object_ref, context)
        value = messages.MetricValue(
            metric_name=asked.metric_name or METRIC,
            metric_value=desired.replicas,
            metric_value_float=float(desired.replicas),
        )
        return messages.GetMetricsResponse(metric_values=[value])

    async def _desired(self, ref: scaler_pb2.ScaledObjectRef, context: _Context) -> Desired:
        pool = await self._pool(ref, context)
        self._asked_at[pool] = self._clock.monotonic()
        found = self._board.get(pool)
        if found is None:
            await context.abort(
                _grpc().StatusCode.UNAVAILABLE, f"nothing was decided for '{pool}' yet"
            )
            raise AssertionError  # abort raises
        return found

    async def _pool(self, ref: scaler_pb2.ScaledObjectRef, context: _Context) -> str:
        """The pool that a ScaledObject means."""
        named = ref.scaler_metadata.get("pool", "")
        if named in self._settings.pools:
            return str(named)
        mine = f"{ref.namespace}/{ref.name}"
        for name, pool in self._settings.pools.items():
            if not named and pool.scaled_object == mine:
                return name
        why = f"unknown pool '{named or mine}': say `pool` in the trigger's metadata"
        await context.abort(_grpc().StatusCode.INVALID_ARGUMENT, why)
        raise AssertionError  # abort raises


def _spec() -> scaler_pb2.GetMetricSpecResponse:
    from controller.actuators.keda_proto import scaler_pb2 as messages

    spec = messages.MetricSpec(metric_name=METRIC, target_size=1, target_size_float=1.0)
    return messages.GetMetricSpecResponse(metric_specs=[spec])


def _grpc() -> Any:
    try:
        import grpc
        import grpc.aio
    except ImportError:
        raise NoAnswer("grpcio is not installed: pip install 'servescope[keda]'") from None
    return grpc
