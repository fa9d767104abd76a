"""E-mail by SMTP: numbers as text, pictures inside, the report attached."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from hashlib import sha256

from servescope.reporting.channels.base import TIMEOUT_SECONDS, Answer, Parcel, one_line
from servescope.reporting.channels.secrets import secret
from store.clock import Clock
from store.errors import ConfigError, InputError

KIND = "email"
SECURITIES = ("starttls", "tls", "none")
MOST_RECIPIENTS = 50
_PORTS = {"starttls": 587, "tls": 465, "none": 25}


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A server that takes e-mail for us.

    Attributes:
        name: of the channel.
        host: of the server.
        sender: whom it is from.
        clock: dates letters.
        to: who gets it when a schedule names nobody.
        allow: whom schedules may name besides: addresses, or `*@example.org`.
        port: 0 takes the usual one.
        security: starttls, tls or none.
        user: empty logs in as nobody.
        password: of the user.
        most_bytes: of attachments; larger ones stay behind, and the letter says so.
        ca_file: certificates to trust besides those of the system.
    """

    name: str
    host: str
    sender: str
    clock: Clock
    to: Sequence[str] = ()
    allow: Sequence[str] = ()
    port: int = 0
    security: str = "starttls"
    user: str = ""
    password: str = ""
    most_bytes: int = 10 << 20
    ca_file: str = ""
    kind: str = KIND

    def place(self) -> str:
        """Server and sender."""
        return f"{self.host}:{self.port or _PORTS[self.security]} from {self.sender}"

    def check(self, recipients: Sequence[str]) -> None:
        """Refuse addresses that this channel is not configured for.

        Raises:
            InputError: naming the first.
        """
        if len(recipients) > MOST_RECIPIENTS:
            raise InputError(
                f"{len(recipients)} recipients; at most {MOST_RECIPIENTS} get a report"
            )
        for address in recipients:
            if not self._may_reach(address):
                raise InputError(
                    f"the channel {self.name} may not write to '{address}'",
                    hint="its `to` and `allow` in servescope.toml say whom, such as *@example.org",
                )

    def send(self, parcel: Parcel) -> Answer:
        """Hand it to the server once."""
        hidden: list[str] = []
        try:
            to = list(parcel.recipients or self.to)
            self.check(to)
            if not to:
                return Answer("refused", "nobody is named: set `to` of the channel, or recipients")
            message = letter(parcel, self, to)
            where = f"reports.channel {self.name}"
            user = secret(self.user, f"{where}: user")
            password = secret(self.password, f"{where}: password")
            hidden.append(password)
            with self._connected() as server:
                if user:
                    server.login(user, password)
                refused = server.send_message(message, self.sender, to)
        except (ConfigError, InputError) as error:
            return Answer("failed" if isinstance(error, ConfigError) else "refused", str(error))
        except smtplib.SMTPException as error:
            return _told(error, hidden)
        except (OSError, ssl.SSLError) as error:
            text = f"{self.host}: {type(error).__name__}: {error}"
            return Answer("failed", one_line(text, hidden))
        return _taken(to, refused, hidden)

    def _may_reach(self, address: str) -> bool:
        name, domain = parseaddr(address)[1].rpartition("@")[::2]
        if not name or not domain or parseaddr(address)[1] != address or not address.isprintable():
            return False
        known = {one.lower() for one in (*self.to, *self.allow)}
        return address.lower() in known or f"*@{domain.lower()}" in known

    def _connected(self) -> smtplib.SMTP:
        port = self.port or _PORTS[self.security]
        trust = ssl.create_default_context()
        if self.ca_file:
            trust.load_verify_locations(self.ca_file)
        if self.security == "tls":
            return smtplib.SMTP_SSL(self.host, port, timeout=TIMEOUT_SECONDS, context=trust)
        server = smtplib.SMTP(self.host, port, timeout=TIMEOUT_SECONDS)
        if self.security == "starttls":
            try:
                server.starttls(context=trust)
            except BaseException:
                server.close()
                raise
        return server


def letter(parcel: Parcel, mailbox: Mailbox, to: Sequence[str]) -> EmailMessage:
    """A parcel as a message: text, HTML with its pictures inside, files attached."""
    message = EmailMessage()
    message["From"], message["To"] = mailbox.sender, ", ".join(to)
    message["Subject"] = " ".join(parcel.subject.split())
    message["Date"] = format_datetime(mailbox.clock.now())
    # The same for every attempt: who has it already can see that it is the same letter.
    domain = parseaddr(mailbox.sender)[1].rpartition("@")[2] or "servescope"
    message["Message-ID"] = f"<{sha256(parcel.key.encode()).hexdigest()[:32]}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    left_out = parcel.size_bytes > mailbox.most_bytes
    note = _left_out(parcel) if left_out else ""
    message.set_content(parcel.letter.text + note)
    if parcel.letter.html:
        _add_html(message, parcel, note)
    for file in () if left_out else parcel.files:
        kind, _, subkind = file.media_type.partition(";")[0].partition("/")
        message.add_attachment(file.content, maintype=kind, subtype=subkind, filename=file.name)
    return message


def _add_html(message: EmailMessage, parcel: Parcel, note: str) -> None:
    html = parcel.letter.html
    if note:
        html = html.replace("</body>", f"<p>{note.strip()}</p></body>")
    message.add_alternative(html, subtype="html")
    page = message.get_body(("html",))
    if page is None:
        raise TypeError("a letter with HTML has an HTML part")
    for image in parcel.letter.images:
        kind, _, subkind = image.media_type.partition("/")
        page.add_related(
            image.content, maintype=kind, subtype=subkind, cid=f"<{image.name}>",
            filename=image.name, disposition="inline",
        )  # fmt: skip


def _left_out(parcel: Parcel) -> str:
    there = f": open it at {parcel.link}" if parcel.link else ""
    return f"\nThe report itself ({parcel.size_bytes:,} bytes) is too large to attach{there}.\n"


def _told(error: smtplib.SMTPException, hidden: Sequence[str]) -> Answer:
    """What a server's refusal means: 5xx stays, 4xx may pass. Source: RFC 5321, 4.2.1."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = [code for code, _ in error.recipients.values()]
        text = _refusals(error.recipients)
        is_for_good = all(code >= 500 for code in codes)
    elif isinstance(error, smtplib.SMTPResponseException):
        said = error.smtp_error
        words = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        text, is_for_good = f"{error.smtp_code} {words}", error.smtp_code >= 500
    else:
        # Such as a server without STARTTLS, or one that hung up.
        text = f"{type(error).__name__}: {error}"
        is_for_good = isinstance(error, smtplib.SMTPNotSupportedError)
    return Answer("refused" if is_for_good else "failed", one_line(text, hidden))


def _taken(
    to: Sequence[str], refused: dict[str, tuple[int, bytes]], hidden: Sequence[str]
) -> Answer:
    if not refused:
        people = "one address" if len(to) == 1 else f"{len(to)} addresses"
        return Answer("acknowledged", f"taken for {people}")
    text = f"taken for {len(to) - len(refused)} of {len(to)}; {_refusals(refused)}"
    return Answer("partly", one_line(text, hidden))


def _refusals(refused: dict[str, tuple[int, bytes]]) -> str:
    return "; ".join(
        f"{address}: {code} {said.decode('utf-8', 'replace')}"
        for address, (code, said) in refused.items()
    )
