"""A bucket that reports are put into: S3 and what speaks like it, with the bucket in the path."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from servescope.reporting.channels.base import Answer, Parcel
from servescope.reporting.channels.http import Ask, ask
from servescope.reporting.channels.secrets import secret
from servescope.reporting.channels.sigv4 import Keys, path_of, signed
from store.clock import Clock
from store.errors import ConfigError

KIND = "s3"


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket.

    Attributes:
        name: of the channel.
        endpoint: such as https://s3.eu-central-1.amazonaws.com.
        bucket: its name.
        clock: dates signatures.
        prefix: before the names of objects.
        region: that signatures are for.
        access_key: name of the key.
        secret_key: the key.
        ca_file: certificates to trust besides those of the system.
    """

    name: str
    endpoint: str
    bucket: str
    clock: Clock
    prefix: str = ""
    region: str = "us-east-1"
    access_key: str = "env:AWS_ACCESS_KEY_ID"
    secret_key: str = "env:AWS_SECRET_ACCESS_KEY"  # noqa: S105 - where it is read from
    ca_file: str = ""
    kind: str = KIND

    def place(self) -> str:
        """Endpoint, bucket and prefix."""
        return "/".join(filter(None, (self.endpoint.rstrip("/"), self.bucket, self.prefix)))

    def send(self, parcel: Parcel) -> Answer:
        """Put every file; one that is not taken ends the attempt. Putting twice is harmless."""
        where = f"reports.channel {self.name}"
        try:
            keys = Keys(
                secret(self.access_key, f"{where}: access_key"),
                secret(self.secret_key, f"{where}: secret_key"),
                self.region,
            )
        except ConfigError as error:
            return Answer("failed", str(error))
        folder = "/".join(filter(None, (self.prefix.strip("/"), parcel.schedule, parcel.period)))
        for file in parcel.files:
            told = self._put(f"{folder}/{file.name}", file.media_type, file.content, keys)
            if told.state != "acknowledged":
                return Answer(told.state, f"{file.name}: {told.text}", told.wait_seconds)
        return Answer("acknowledged", f"in {self.bucket}/{folder}")

    def _put(self, name: str, media_type: str, content: bytes, keys: Keys) -> Answer:
        base = self.endpoint.rstrip("/")
        path = path_of(self.bucket, name)
        headers = {"host": urlsplit(base).netloc, "content-type": media_type}
        told = signed("PUT", path, headers, content, self.clock.now(), keys)
        asked = Ask("PUT", f"{base}{path}", told, content, (keys.secret_key,), self.ca_file)
        return ask(asked, self.clock)
