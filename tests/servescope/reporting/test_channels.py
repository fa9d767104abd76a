"""Channels against real sockets: what arrives, what is refused, what is never told."""

import email
import email.policy
import json
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest

from servescope.reporting.channels import sigv4
from servescope.reporting.channels.base import File, Letter, Parcel
from servescope.reporting.channels.registry import KINDS, channels
from store.clock import VirtualClock
from store.errors import ConfigError, InputError

NOW = datetime(2026, 11, 16, 7, 0, tzinfo=UTC)
TLS = Path(__file__).parents[2] / "data" / "tls"
KEY, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
PAGE = File("weekly 2026-W46.html", "text/html; charset=utf-8", b"<h1>all</h1>")
PARCEL = Parcel(
    key="weekly.2026-W46.1/x", schedule="weekly", period="2026-W46",
    subject="Weekly report,\nweek 46", lines=["a < b & c", "two", "three", "four", "five", "six"],
    link="https://servescope.example.org/ui/",
    letter=Letter("all is well\n", '<html><body><img src="cid:c.png"></body></html>',
                  [File("c.png", "image/png", b"\x89PNG")]),
    files=[PAGE, File("r.pdf", "application/pdf", b"%PDF-")], facts={"charts": 4},
)  # fmt: skip


def made(table, clock=None):
    return channels([{"name": "x", **table}], clock or VirtualClock(NOW))["x"]


def mailbox(post, **more):
    return made(
        {
            "kind": "email",
            "host": "127.0.0.1",
            "port": post.port,
            "security": "none",
            "from": "servescope <reports@example.org>",
            "to": ["team@example.org"],
            **more,
        }
    )


def read(letter):
    return email.message_from_bytes(letter, policy=email.policy.default)


# E-mail


def test_a_letter_has_text_pictures_inside_and_the_report_attached(doubles):
    """As a mail client sees it."""
    with doubles.Post() as post:
        answer = mailbox(post).send(PARCEL)
        ((to, body),) = post.letters
    assert (answer.state, to) == ("acknowledged", ("team@example.org",))
    letter = read(body)
    assert letter["subject"] == "Weekly report, week 46"
    assert letter["date"] == format_datetime(NOW)
    assert letter.get_body(("plain",)).get_content().splitlines() == ["all is well"]
    assert "cid:c.png" in letter.get_body(("html",)).get_content()
    pictures = [part for part in letter.walk() if part.get_content_type() == "image/png"]
    assert [part["content-id"] for part in pictures] == ["<c.png>"]
    attached = {part.get_filename(): part.get_content() for part in letter.iter_attachments()}
    assert attached == {"weekly 2026-W46.html": "<h1>all</h1>", "r.pdf": b"%PDF-"}


def test_every_attempt_is_the_same_letter(doubles):
    """A server that answered too late can see that it has it."""
    with doubles.Post() as post:
        for _ in range(2):
            mailbox(post).send(PARCEL)
        numbers = {read(body)["message-id"] for _, body in post.letters}
    assert len(numbers) == 1


def test_what_is_too_large_stays_behind_and_is_said_so(doubles):
    """The letter itself is sent."""
    with doubles.Post() as post:
        mailbox(post, most_bytes=10).send(PARCEL)
        letter = read(post.letters[0][1])
    assert list(letter.iter_attachments()) == []
    assert "too large to attach" in letter.get_body(("plain",)).get_content()
    assert "too large to attach" in letter.get_body(("html",)).get_content()


@pytest.mark.parametrize(("security", "wraps"), [("starttls", False), ("tls", True)])
def test_it_speaks_tls_and_logs_in(doubles, security, wraps, tmp_path, monkeypatch):
    """The password comes from a file and is read at every attempt."""
    (tmp_path / "password").write_text("old\n")
    login = {"user": "env:MAIL_USER", "password": f"file:{tmp_path / 'password'}"}
    monkeypatch.setenv("MAIL_USER", "reports")
    tls = doubles.server_tls(TLS)
    with doubles.Post(tls=tls, wraps=wraps, login=("reports", "new")) as post:
        box = mailbox(post, security=security, ca_file=str(TLS / "ca.pem"), **login)
        first = box.send(PARCEL)
        (tmp_path / "password").write_text("new\n")
        second = box.send(PARCEL)
    assert (first.state, second.state) == ("refused", "acknowledged")
    assert first.text == "535 no such login ***", "the server's words repeat the password"
    assert post.secured == 2


def test_a_certificate_that_nobody_knows_is_not_spoken_to(doubles):
    """Nothing of the letter or of the login goes out."""
    with doubles.Post(tls=doubles.server_tls(TLS), login=("a", "b")) as post:
        answer = mailbox(post, security="starttls", user="a", password="b").send(PARCEL)
    assert answer.state == "failed"
    assert (post.logins, post.letters) == ([], [])


def test_a_server_without_starttls_is_not_spoken_to_in_the_clear(doubles):
    """A password never goes where everybody can read it."""
    with doubles.Post(login=("a", "b")) as post:
        answer = mailbox(post, security="starttls", user="a", password="b").send(PARCEL)
    assert answer.state == "refused"
    assert (post.logins, post.letters) == ([], [])


def test_refusals_of_servers_are_told_apart(doubles):
    """4xx may pass, 5xx stays; some who get it and some who never will is partly."""
    with doubles.Post(answers=["451 later", "554 never"], refuses={"gone@example.org"}) as post:
        box = mailbox(post, to=["team@example.org"], allow=["*@example.org"])
        states = [box.send(PARCEL).state, box.send(PARCEL).state]
        both = Parcel(**{**_fields(PARCEL), "recipients": ("team@example.org", "gone@example.org")})
        some = box.send(both)
        none = box.send(Parcel(**{**_fields(PARCEL), "recipients": ("gone@example.org",)}))
    assert states == ["failed", "refused"]
    assert (some.state, none.state) == ("partly", "refused")
    assert some.text == "taken for 1 of 2; gone@example.org: 550 unknown here"
    nobody = mailbox(post, port=1).send(PARCEL)
    assert nobody.state == "failed"


def _fields(parcel):
    return {name: getattr(parcel, name) for name in parcel.__slots__}


@pytest.mark.parametrize(
    "address",
    ["boss@example.com", "a@example.org.evil.com", "x", "", "a@example.org\nBcc: b@evil.com",
     "A <a@example.org>", "@example.org", "a@b@example.org,c@evil.com"],
)  # fmt: skip
def test_it_writes_only_to_whom_it_may(doubles, address):
    """Whatever a schedule names: the configuration decides, before anything is sent."""
    with doubles.Post() as post:
        box = mailbox(post, allow=["*@example.org"])
        with pytest.raises(InputError, match="may not write to"):
            box.check([address])
        if address:
            answer = box.send(Parcel(**{**_fields(PARCEL), "recipients": (address,)}))
            assert answer.state == "refused"
        assert post.letters == []
        box.check(["anybody@example.org", "team@example.org"])


# Chats and webhooks


def test_each_chat_gets_its_own_form(doubles):
    """At most five lines and a link, in what Slack, Teams and Mattermost read."""
    with doubles.Web() as web:
        for kind in ("slack", "teams", "mattermost", "webhook"):
            answer = made({"kind": kind, "webhook": f"{web.url}/hook/{kind}"}).send(PARCEL)
            assert answer.state == "acknowledged"
        slack, teams, mattermost, other = web.bodies()
        assert {one["headers"]["idempotency-key"] for one in web.got} == {PARCEL.key}
        assert {one["headers"]["content-type"] for one in web.got} == {"application/json"}
    assert "a &lt; b &amp; c" in slack["text"]
    assert [block["type"] for block in slack["blocks"]] == ["header", "section", "section"]
    assert slack["blocks"][1]["text"]["text"].count("\n") == 4, "five lines"
    (card,) = teams["attachments"]
    assert card["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert [one["text"] for one in card["content"]["body"]][1:] == list(PARCEL.lines[:5])
    assert card["content"]["actions"][0]["url"] == PARCEL.link
    assert mattermost["text"].endswith(f"[Open the report]({PARCEL.link})")
    assert "six" not in json.dumps([slack, teams, mattermost])
    assert other["schema"] == "servescope.report.sent/1"
    assert (other["period"], other["charts"]) == ("2026-W46", 4)


@pytest.mark.parametrize(
    ("status", "headers", "state", "wait"),
    [
        (204, {}, "acknowledged", None),
        (429, {"Retry-After": "17"}, "failed", 17.0),
        (503, {"Retry-After": "Mon, 16 Nov 2026 07:02:00 GMT"}, "failed", 120.0),
        (503, {"Retry-After": "soon"}, "failed", None),
        (500, {}, "failed", None),
        (404, {}, "refused", None),
        (410, {}, "refused", None),
        (401, {}, "refused", None),
        (302, {"Location": "http://127.0.0.1:1/elsewhere"}, "refused", None),
    ],
)
def test_what_a_status_means(doubles, status, headers, state, wait):
    """Later, never, or there; and a redirect is not followed."""
    with doubles.Web((status, headers, b"")) as web:
        answer = made({"kind": "slack", "webhook": web.url}).send(PARCEL)
        assert len(web.got) == 1
    assert (answer.state, answer.wait_seconds) == (state, wait)


def test_no_secret_is_repeated(doubles, tmp_path):
    """Not in the answer that is kept, not in the place that is shown, not in what went wrong."""
    (tmp_path / "hook").write_text("TOP-SECRET-TOKEN")
    table = {"kind": "webhook", "token": f"file:{tmp_path / 'hook'}"}
    with doubles.Web((500, {}, b"bad token TOP-SECRET-TOKEN for /T0/PATH-SECRET")) as web:
        channel = made({**table, "webhook": f"{web.url}/T0/PATH-SECRET"})
        told = [channel.send(PARCEL).text, channel.place()]
        assert web.got[0]["headers"]["authorization"] == "Bearer TOP-SECRET-TOKEN"
    told.append(channel.send(PARCEL).text)  # nobody listens any more
    for text in told:
        assert "SECRET" not in text, text
        assert "127.0.0.1" in text or "HTTP 500" in text


def test_a_secret_that_is_not_there_may_come(monkeypatch):
    """It is read at every attempt; until then the attempt has failed, and says what is missing."""
    monkeypatch.delenv("NO_SUCH_HOOK", raising=False)
    channel = made({"kind": "slack", "webhook": "env:NO_SUCH_HOOK"})
    answer = channel.send(PARCEL)
    assert (answer.state, "NO_SUCH_HOOK" in answer.text) == ("failed", True)
    assert "NO_SUCH_HOOK" in channel.place()


# S3


def test_signatures_are_those_of_the_specification():
    """The two examples that AWS publishes, to the last digit."""
    keys, at = sigv4.Keys(KEY, SECRET, "us-east-1"), datetime(2013, 5, 24, tzinfo=UTC)
    host = {"Host": "examplebucket.s3.amazonaws.com"}
    got = sigv4.signed("GET", "/test.txt", {**host, "Range": "bytes=0-9"}, b"", at, keys)
    assert got["authorization"].endswith(
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )
    more = {**host, "Date": "Fri, 24 May 2013 00:00:00 GMT",
            "x-amz-storage-class": "REDUCED_REDUNDANCY"}  # fmt: skip
    path = sigv4.path_of("test$file.text")
    put = sigv4.signed("PUT", path, more, b"Welcome to Amazon S3.", at, keys)
    assert put["authorization"].endswith(
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
    )


def test_objects_are_put_under_names_that_last(doubles, monkeypatch):
    """A server that checks the signature takes every file; a wrong key is refused for good."""
    monkeypatch.setenv("S3_SECRET", SECRET)
    check = doubles.signature_checker(KEY, SECRET, "eu-central-1")
    with doubles.Web(check=check) as web:
        table = {"kind": "s3", "endpoint": web.url, "bucket": "reports", "prefix": "a b/c",
                 "region": "eu-central-1", "access_key": KEY,
                 "secret_key": "env:S3_SECRET"}  # fmt: skip
        answer = made(table).send(PARCEL)
        assert answer.state == "acknowledged", answer.text
        assert [(one["method"], one["path"]) for one in web.got] == [
            ("PUT", "/reports/a%20b/c/weekly/2026-W46/weekly%202026-W46.html"),
            ("PUT", "/reports/a%20b/c/weekly/2026-W46/r.pdf"),
        ]
        assert web.got[0]["body"] == PAGE.content
        wrong = made({**table, "secret_key": "something else"}).send(PARCEL)
    assert (wrong.state, "SignatureDoesNotMatch" in wrong.text) == ("refused", True)
    assert web.url in made(table).place()


# Folder


def test_a_folder_gets_whole_files(tmp_path):
    """Under the name of the schedule and the period; nothing half is left."""
    channel = made({"kind": "file", "folder": str(tmp_path)})
    for _ in range(2):
        assert channel.send(PARCEL).state == "acknowledged"
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*"))
    assert found == ["weekly/2026-W46/r.pdf", "weekly/2026-W46/weekly 2026-W46.html"]


def test_a_folder_that_is_not_there_is_not_made(tmp_path):
    """A mount that is missing is no reason to fill the disk below it."""
    answer = made({"kind": "file", "folder": str(tmp_path / "mnt")}).send(PARCEL)
    assert (answer.state, (tmp_path / "mnt").exists()) == ("failed", False)


# Configuration


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"kind": "slak", "webhook": "x"}, "no kind 'slak'"),
        ({"kind": "slack"}, "webhook is needed"),
        ({"kind": "slack", "webhook": 7}, "must be a text"),
        ({"kind": "slack", "webhook": "x", "chanel": "y"}, "no setting chanel"),
        ({"kind": "email", "host": "h", "from": "a@b"}, "`to` or `allow`"),
        ({"kind": "email", "host": "h", "from": "a@b", "to": "c@d"}, "a list of texts"),
        (
            {"kind": "email", "host": "h", "from": "a@b", "to": ["c@d"], "security": "ssl"},
            "security",
        ),
        ({"kind": "email", "host": "h", "from": "a@b", "to": ["c@d"], "port": "25"}, "a number"),
        ({"kind": "s3", "endpoint": "s3.example.org", "bucket": "b"}, "endpoint is an address"),
        ({"kind": "file", "folder": "/x", "name": "No!"}, "lower-case"),
    ],
)
def test_a_channel_with_a_mistake_is_refused_at_the_start(table, said):
    """Naming the table and the key."""
    with pytest.raises(ConfigError, match=said) as told:
        made(table)
    assert told.value.where.startswith("reports.channel")


def test_every_kind_is_written_about():
    """In the docs, with every key that it has."""
    text = (Path(__file__).parents[3] / "docs" / "reports.md").read_text("utf-8")
    for name, kind in KINDS.items():
        assert name in text
        for key in (*kind.needs, *kind.may):
            assert key in text, f"{name}: {key}"
