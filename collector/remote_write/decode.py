"""Bodies of remote-write -> columns: number of the series, value, time.

Nearly every body of version 1.0 has one sample a series and label bytes that are known already: it
is walked without decoding a text. Everything else goes through the generated messages.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from collector.remote_write import labels as wire
from collector.remote_write.proto import v1_pb2, v2_pb2
from collector.remote_write.series import SeriesTable

STALE_BITS = 0x7FF0000000000002
"""The NaN by which Prometheus says that a series has ended."""
V1 = "prometheus.WriteRequest"
V2 = "io.prometheus.write.v2.Request"

# A sample on the wire: 12 10 09 <8 bytes> 10 <6 bytes>; a value of 0 is left out: 12 07 10 <6>.
_SAMPLE_BYTES = 18
_ZERO_SAMPLE_BYTES = 9
_SERIES_TAG = 0x0A
_ZERO_LENGTH = 7

Numbers = npt.NDArray[np.int64]


class BadBody(ValueError):
    """A body that is not a message of the version it claims to be."""


@dataclass(slots=True)
class Columns:
    """What a body holds.

    Attributes:
        numbers: series, by `SeriesTable`.
        values: as sent.
        at_ms: milliseconds since 1970.
        histogram_count: native histograms, which are not taken.
        exemplar_count: exemplars, which are not taken.
    """

    numbers: Numbers
    values: npt.NDArray[np.float64]
    at_ms: Numbers
    histogram_count: int = 0
    exemplar_count: int = 0

    @property
    def is_stale(self) -> npt.NDArray[np.bool_]:
        """Where a series has ended."""
        ended: npt.NDArray[np.bool_] = self.values.view(np.uint64) == STALE_BITS
        return ended


class Decoder:
    """Decodes bodies against one table of series."""

    def __init__(self, table: SeriesTable) -> None:
        self._table = table
        self._by_texts: dict[bytes, int] = {}

    def decode(self, body: bytes, message: str) -> Columns:
        """The columns of an unpacked body.

        Args:
            body: the bytes of the message.
            message: `V1` or `V2`; a body of the other one decodes to nothing, by its design.

        Raises:
            BadBody: it is no such message.
        """
        try:
            if message == V2:
                return self._decode_v2(v2_pb2.Request.FromString(body))
            known = walk(body, self._table.number_of)
            if known is not None:
                return known
            return self._decode_v1(v1_pb2.WriteRequest.FromString(body))
        except DecodeError as error:
            raise BadBody(f"the body is no {message}") from error

    def _decode_v1(self, request: v1_pb2.WriteRequest) -> Columns:
        sink = _Sink()
        types = v1_pb2.MetricMetadata.MetricType
        self._table.learn_types(
            {told.metric_family_name: _type_name(types, told.type) for told in request.metadata}
        )
        number_of = self._table.number_of
        for series in request.timeseries:
            told = tuple((label.name, label.value) for label in series.labels)
            key = wire.encoded(told)
            number = number_of.get(key)
            sink.add(self._table.learn(key, told) if number is None else number, series)
        return sink.columns()

    def _decode_v2(self, request: v2_pb2.Request) -> Columns:
        symbols = list(request.symbols)
        if not symbols or symbols[0]:
            raise BadBody("the first symbol of the table must be an empty text")
        sink = _Sink()
        packed = [_prefixed(symbol) for symbol in symbols]
        for series in request.timeseries:
            refs = series.labels_refs[:]  # a third of the time of list()
            try:
                texts = b"".join([packed[ref] for ref in refs])
            except IndexError:
                raise BadBody("a label refers to a symbol that is not in the table") from None
            number = self._by_texts.get(texts)
            if number is None:
                number = self._learn_v2(series, [symbols[ref] for ref in refs])
                self._by_texts[texts] = number
            sink.add(number, series)
        return sink.columns()

    def _learn_v2(self, series: v2_pb2.TimeSeries, texts: list[str]) -> int:
        if len(texts) % 2:
            raise BadBody("a label has a name and no value")
        told = tuple(zip(texts[::2], texts[1::2], strict=True))
        declared = _type_name(v2_pb2.Metadata.MetricType, series.metadata.type)
        if declared:
            self._table.learn_types({dict(told).get(wire.NAME, ""): declared})
        key = wire.encoded(told)
        number = self._table.number_of.get(key)
        return self._table.learn(key, told) if number is None else number


def walk(body: bytes, number_of: dict[bytes, int]) -> Columns | None:
    """The columns of a body of version 1.0 in which every series is known and has one sample.

    The bytes of known labels were decoded when they were learned, so what follows them begins a
    field; it must be one whole sample. None when anything is otherwise.
    """
    numbers: list[int] = []
    ends: list[int] = []
    position, size = 0, len(body)
    try:
        while position < size:
            if body[position] != _SERIES_TAG:
                return None
            length = body[position + 1]
            if length < 128:
                position += 2
            else:
                high = body[position + 2]
                if high > 127:
                    return None
                length += (high - 1) << 7
                position += 3
            end = position + length
            is_zero = body[end - 8] == _ZERO_LENGTH
            cut = end - _ZERO_SAMPLE_BYTES if is_zero else end - _SAMPLE_BYTES
            numbers.append(number_of[body[position:cut]])
            ends.append(end)
            position = end
    except (KeyError, IndexError):
        return None
    return _tails(body, numbers, ends) if position == size and numbers else None


def _tails(body: bytes, numbers: list[int], ends: list[int]) -> Columns | None:
    """Values and times of the samples that end at `ends`; None when they have another form."""
    raw = np.frombuffer(body, np.uint8)
    stop = np.array(ends, np.int64)
    tail = raw[stop[:, None] + np.arange(-_SAMPLE_BYTES, 0)]
    is_zero = tail[:, 10] == _ZERO_LENGTH
    good = tail[:, 11] == 0x10
    good &= np.where(is_zero, tail[:, 9] == 0x12, tail[:, 0] == 0x12)
    good &= is_zero | ((tail[:, 1] == 16) & (tail[:, 2] == 0x09))
    digits = tail[:, 12:]
    good &= (digits[:, :5] >= 128).all(axis=1) & (digits[:, 5] < 128)
    if not good.all():
        return None
    shifts = np.array([0, 7, 14, 21, 28, 35], np.int64)
    at_ms = ((digits & 0x7F).astype(np.int64) << shifts).sum(axis=1)
    values = np.ascontiguousarray(tail[:, 3:11]).view("<f8").ravel()
    values[is_zero] = 0.0
    return Columns(np.array(numbers, np.int64), values, at_ms)


class _Sink:
    """Collects samples of decoded messages."""

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._values: list[float] = []
        self._at_ms: list[int] = []
        self._histograms = 0
        self._exemplars = 0

    def add(self, number: int, series: v1_pb2.TimeSeries | v2_pb2.TimeSeries) -> None:
        for sample in series.samples:
            self._numbers.append(number)
            self._values.append(sample.value)
            self._at_ms.append(sample.timestamp)
        self._histograms += len(series.histograms)
        self._exemplars += len(series.exemplars)

    def columns(self) -> Columns:
        return Columns(
            np.array(self._numbers, np.int64),
            np.array(self._values, np.float64),
            np.array(self._at_ms, np.int64),
            self._histograms,
            self._exemplars,
        )


def _prefixed(text: str) -> bytes:
    told = text.encode()
    return len(told).to_bytes(4, "little") + told


def _type_name(types: object, number: int) -> str:
    """The TYPE as an exposition page writes it; empty when it is not known."""
    try:
        name: str = types.Name(number).lower()  # type: ignore[attr-defined]
    except ValueError:
        return ""
    return "" if name in ("unknown", "unspecified") else name
