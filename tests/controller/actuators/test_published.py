"""Numbers that others read: as a gauge, as JSON, and over gRPC to KEDA."""

import asyncio
import contextlib
import socket
from importlib.util import find_spec

import pytest

from controller.actuators.careful import Careful
from controller.actuators.check import World, check_actuator
from controller.actuators.desired_gauge import DesiredGauge, GaugePool, GaugeSettings
from controller.actuators.keda_external import SERVICE, KedaExternal, KedaPool, KedaSettings
from controller.actuators.published import Board
from store.clock import WallClock
from store.errors import ControllerError

needs_grpc = pytest.mark.skipif(find_spec("grpc") is None, reason="pip install 'servescope[keda]'")


async def test_the_gauge_keeps_the_contract(tmp_path):
    """Kept in a file, so a restarted controller goes on from what it published."""
    file = tmp_path / "desired.json"
    settings = GaugeSettings({"chat": GaugePool()}, str(file))

    def make():
        return Careful(DesiredGauge(settings, WallClock()), WallClock())

    def told():
        found = DesiredGauge(settings, WallClock()).published()
        return found[0].replicas if found else None

    assert set(await check_actuator(make, World("chat", told))) == {
        "applies",
        "refuses_nonsense",
        "leaves_replicas",
    }


async def test_a_number_published_while_one_looks_is_not_missed():
    """Whoever waits for the next change takes it before reading."""
    board = Board(("chat",), WallClock(), None)
    changed = board.next_change()
    board.put("chat", 1, "d1")
    assert changed.is_set()
    assert not board.next_change().is_set()


async def test_there_is_no_number_before_a_decision():
    """Absent, never 0: a reader that sees 0 would scale down."""
    gauge = DesiredGauge(
        GaugeSettings({"chat": GaugePool({"namespace": "llm"}), "code": GaugePool()}), WallClock()
    )
    assert gauge.published() == ()
    assert gauge.document() == {"pools": {}}
    assert (await gauge.read("chat")).wanted is None
    made = await Careful(gauge, WallClock()).apply("chat", 0, "d1")
    assert made.outcome == "applied"
    (point,) = gauge.published()
    assert point.replicas == 0
    assert dict(point.labels) == {"pool": "chat", "namespace": "llm"}
    assert gauge.document()["pools"]["chat"]["desired_replicas"] == 0
    assert gauge.document()["pools"]["chat"]["decision_id"] == "d1"


async def test_a_damaged_file_is_told_and_not_overwritten(tmp_path):
    """Nothing is published over numbers that could not be read."""
    file = tmp_path / "desired.json"
    file.write_text("{")
    actuator = Careful(DesiredGauge(GaugeSettings({"a": GaugePool()}, str(file)), WallClock()),
                       WallClock())  # fmt: skip
    with pytest.raises(ControllerError, match=r"desired\.json.*mend it, or remove it"):
        await actuator.read("a")
    assert (await actuator.apply("a", 1, "d")).outcome == "failed"
    assert file.read_text() == "{"


@contextlib.asynccontextmanager
async def keda(settings=None):
    """A scaler that listens, and what a client calls it with."""
    import grpc

    from controller.actuators.keda_proto import scaler_pb2 as messages

    given = settings or KedaSettings(
        {"chat": KedaPool("llm/chat"), "code": KedaPool()}, listen="127.0.0.1:0"
    )
    scaler = KedaExternal(given, WallClock())
    await scaler.read("chat")
    answers = {
        "IsActive": messages.IsActiveResponse,
        "StreamIsActive": messages.IsActiveResponse,
        "GetMetricSpec": messages.GetMetricSpecResponse,
        "StreamMetricSpec": messages.GetMetricSpecResponse,
        "GetMetrics": messages.GetMetricsResponse,
    }
    async with grpc.aio.insecure_channel(f"127.0.0.1:{scaler.port}") as channel:

        def ask(method, message):
            kind = channel.unary_stream if method.startswith("Stream") else channel.unary_unary
            return kind(
                f"/{SERVICE}/{method}",
                request_serializer=lambda sent: sent.SerializeToString(),
                response_deserializer=answers[method].FromString,
            )(message, timeout=20)

        try:
            yield scaler, ask, messages
        finally:
            await scaler.aclose()


@needs_grpc
async def test_keda_is_told_as_many_replicas_as_are_wanted():
    """Whole and real number, a target of 1, active when above zero."""
    async with keda() as (scaler, ask, messages):
        ref = messages.ScaledObjectRef(name="chat", namespace="llm")
        actuator = Careful(scaler, WallClock())
        made = await actuator.apply("chat", 7, "d1")
        assert made.outcome == "applied"
        assert "KEDA has not asked" in made.text
        assert (await ask("IsActive", ref)).result is True
        (spec,) = (await ask("GetMetricSpec", ref)).metric_specs
        assert (spec.target_size, spec.target_size_float) == (1, 1.0)
        asked = messages.GetMetricsRequest(scaled_object_ref=ref, metric_name=spec.metric_name)
        (value,) = (await ask("GetMetrics", asked)).metric_values
        assert (value.metric_name, value.metric_value, value.metric_value_float) == (
            spec.metric_name,
            7,
            7.0,
        )
        assert "KEDA asked 0 s ago" in (await actuator.apply("chat", 0, "d2")).text
        assert (await ask("IsActive", ref)).result is False


@needs_grpc
async def test_keda_holds_until_something_was_decided():
    """UNAVAILABLE, so that KEDA keeps what it has."""
    import grpc

    async with keda() as (_, ask, messages):
        ref = messages.ScaledObjectRef(name="chat", namespace="llm")
        for method, message in (
            ("IsActive", ref),
            ("GetMetrics", messages.GetMetricsRequest(scaled_object_ref=ref)),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as told:
                await ask(method, message)
            assert told.value.code() == grpc.StatusCode.UNAVAILABLE


@needs_grpc
async def test_keda_is_woken_by_push():
    """The stream tells at once when a pool leaves zero, and when it goes back."""
    async with keda() as (scaler, ask, messages):
        ref = messages.ScaledObjectRef(name="any", scaler_metadata={"pool": "code"})
        actuator = Careful(scaler, WallClock())
        await actuator.apply("code", 0, "d1")
        stream = ask("StreamIsActive", ref)
        assert (await stream.read()).result is False
        waiting = asyncio.create_task(stream.read())
        await actuator.apply("code", 3, "d2")
        assert (await asyncio.wait_for(waiting, 20)).result is True
        await actuator.apply("code", 5, "d3")  # still active: nothing to tell
        await actuator.apply("code", 0, "d4")
        assert (await stream.read()).result is False
        specs = ask("StreamMetricSpec", ref)
        assert (await specs.read()).metric_specs[0].target_size == 1
        stream.cancel()
        specs.cancel()


@needs_grpc
async def test_an_object_that_nobody_named_is_refused():
    """With what to do about it."""
    import grpc

    async with keda() as (_, ask, messages):
        for ref in (
            messages.ScaledObjectRef(name="other", namespace="llm"),
            messages.ScaledObjectRef(
                name="chat", namespace="llm", scaler_metadata={"pool": "typo"}
            ),
        ):
            with pytest.raises(grpc.aio.AioRpcError, match="unknown pool") as told:
                await ask("GetMetricSpec", ref)
            assert told.value.code() == grpc.StatusCode.INVALID_ARGUMENT


@needs_grpc
async def test_the_scaler_keeps_the_contract(tmp_path):
    """A port of its own for each restart; the numbers are kept in a file."""
    settings = KedaSettings(
        {"chat": KedaPool()}, listen="127.0.0.1:0", file=str(tmp_path / "desired.json")
    )
    made = []

    def make():
        made.append(KedaExternal(settings, WallClock()))
        return Careful(made[-1], WallClock())

    def told():
        found = made[-1]._board.get("chat")
        return None if found is None else found.replicas

    assert "applies" in await check_actuator(make, World("chat", told))


@needs_grpc
async def test_with_tls_only_known_clients_are_answered(certificate):
    """A client without a certificate of the CA gets nothing."""
    import grpc

    from controller.actuators.keda_proto import scaler_pb2 as messages

    (key, server), (client_key, client) = (certificate(n) for n in ("server", "keda"))
    settings = KedaSettings(
        {"chat": KedaPool()}, "0.0.0.0:0", str(server), str(key), client_ca_file=str(client)
    )
    scaler = KedaExternal(settings, WallClock())
    await Careful(scaler, WallClock()).apply("chat", 2, "d1")
    ref = messages.ScaledObjectRef(scaler_metadata={"pool": "chat"})

    async def ask(*pair):
        trust = grpc.ssl_channel_credentials(server.read_bytes(), *pair)
        place = f"localhost:{scaler.port}"
        async with grpc.aio.secure_channel(place, trust) as channel:
            call = channel.unary_unary(
                f"/{SERVICE}/IsActive",
                request_serializer=lambda sent: sent.SerializeToString(),
                response_deserializer=messages.IsActiveResponse.FromString,
            )
            return (await call(ref, timeout=20)).result

    assert await ask(client_key.read_bytes(), client.read_bytes()) is True
    with pytest.raises(grpc.aio.AioRpcError):
        await ask()
    await scaler.aclose()


@needs_grpc
async def test_a_taken_port_is_told():
    """Two controllers on one port would answer in turns."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        actuator = Careful(KedaExternal(KedaSettings({"a": KedaPool()}, listen), WallClock()),
                           WallClock())  # fmt: skip
        with pytest.raises(ControllerError, match="cannot listen on"):
            await actuator.read("a")
        await actuator.aclose()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"listen": "9771"}, "HOST:PORT"),
        ({"listen": "0.0.0.0:9771"}, "beyond loopback"),
        ({"certificate_file": "a"}, "belong together"),
        ({"client_ca_file": "a"}, "needs certificate_file"),
    ],
)
def test_settings_that_cannot_work_are_told(wrong, told):
    """Before anything listens."""
    with pytest.raises(ValueError, match=told):
        KedaSettings(**wrong)


def test_labels_that_cannot_be_are_told():
    """A gauge with such a label would break the whole page."""
    with pytest.raises(ValueError, match="no name of a label"):
        GaugePool({"a-b": "c"})
