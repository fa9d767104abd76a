"""The envelope of remote-write: which message it is, and how the snappy block is undone."""

from __future__ import annotations

from collector.remote_write.decode import V1, V2

MEDIA_TYPE = "application/x-protobuf"
MOST_BYTES = 16 << 20
_FRAMED = b"\xff\x06\x00\x00sNaPpY"
# A snappy block may only say so many bytes: its elements are at least 2 bytes for 64.
_MOST_RATIO = 64


class Unpackable(ValueError):
    """A body that is no snappy block."""


class TooLarge(ValueError):
    """More would come out than is taken."""


def message_of(content_type: str) -> str | None:
    """The message that a Content-Type names; None when it is not one that is read here.

    >>> message_of("application/x-protobuf")
    'prometheus.WriteRequest'
    >>> message_of('application/x-protobuf; proto="io.prometheus.write.v2.Request"')
    'io.prometheus.write.v2.Request'
    """
    media_type, *parameters = content_type.split(";")
    if media_type.strip().lower() != MEDIA_TYPE:
        return None
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "proto":
            proto = value.strip().strip('"')
            return proto if proto in (V1, V2) else None
    return V1


def unsnap(packed: bytes, most_bytes: int = MOST_BYTES) -> bytes:
    """Undo a snappy block; its length is asked for before anything is unpacked.

    Raises:
        Unpackable: it is no block, or it is in the framed form, which remote-write does not use.
        TooLarge: it says that more than `most_bytes` would come out.
    """
    import cramjam

    if packed.startswith(_FRAMED):
        raise Unpackable("the body is snappy in the framed form; remote-write uses the block form")
    try:
        size = cramjam.snappy.decompress_raw_len(packed)
        if size > most_bytes:
            raise TooLarge(f"the body would unpack to {size:,} bytes, more than {most_bytes:,}")
        if size > max(len(packed), 1) * _MOST_RATIO:
            raise Unpackable("the body claims more bytes than a snappy block of its size can hold")
        return bytes(cramjam.snappy.decompress_raw(packed))
    except cramjam.DecompressionError as error:
        raise Unpackable("the body is no sound snappy block") from error
