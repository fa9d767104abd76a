"""A receiver of one's own: signed questions, answers that must say what they are about."""

import pytest

from controller.actuators import registry
from controller.actuators.careful import Careful, Patience
from controller.actuators.check import World, check_actuator
from controller.actuators.doubles.receiver import FakeReceiver
from controller.actuators.webhook import Webhook, WebhookPool, WebhookSettings, signature
from store.clock import WallClock
from store.errors import ControllerError

HASTY = Patience(limit_seconds=2.0, told_back_seconds=0.3, pause_seconds=0.02)
SECRET = b"sixteen bytes or more"


@pytest.fixture
def receiver():
    """A receiver that knows the secret."""
    with FakeReceiver(SECRET) as found:
        yield found


@pytest.fixture
async def make(receiver, tmp_path):
    """Makes actuators of it, and closes them."""
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET + b"\n")
    all_made = []

    def made():
        settings = WebhookSettings(
            f"{receiver.web.url}/scale", str(secret), {"chat": WebhookPool()}, 20.0
        )
        all_made.append(Careful(Webhook(settings, WallClock()), WallClock(), HASTY))
        return all_made[-1]

    yield made
    for one in all_made:
        await one.aclose()


async def test_it_keeps_the_contract(receiver, make):
    """Every promise, over a real socket."""
    world = World(
        "chat",
        lambda: receiver.wanted,
        by_others=receiver.change,
        refuses=lambda on: setattr(receiver, "refuses", on),
        hangs=receiver.web.hang,
        lies=lambda on: setattr(receiver, "lies", on),
        unreadable=lambda on: setattr(receiver, "status", 502 if on else 200),
    )
    assert len(await check_actuator(make, world)) == 8


async def test_an_answer_that_does_not_repeat_the_decision_is_not_believed(receiver, make):
    """A login page answers 200 as well."""
    receiver.forgets = True
    made = await make().apply("chat", 3, "d1")
    assert made.outcome == "failed"
    assert "did not repeat" in made.text


async def test_who_does_not_know_the_secret_is_refused(receiver, make):
    """And without a secret nothing is sent at all."""
    receiver.secret = b"another secret of ours"
    made = await make().apply("chat", 3, "d1")
    assert made.outcome == "refused"
    assert "signature is wrong" in made.text
    settings = WebhookSettings(receiver.web.url, "/no/secret", {"chat": WebhookPool()})
    actuator = Careful(Webhook(settings, WallClock()), WallClock(), HASTY)
    with pytest.raises(ControllerError, match="/no/secret"):
        await actuator.read("chat")


def test_the_signature_covers_everything():
    """Another time, method, path or body has another signature."""
    signed = {
        signature(SECRET, *parts)
        for parts in (
            ("1", "POST", "/scale", b"{}"),
            ("2", "POST", "/scale", b"{}"),
            ("1", "GET", "/scale", b"{}"),
            ("1", "POST", "/scale?pool=a", b"{}"),
            ("1", "POST", "/scale", b"{ }"),
        )
    }
    assert len(signed) == 5


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"url": "http://example.com/scale"}, "https beyond loopback"),
        ({"url": "ftp://127.0.0.1/"}, "must begin with http"),
        ({"url": "http://127.0.0.1/?a=b"}, "no query"),
        ({"url": "http://127.0.0.1/", "secret": "x"}, "secret: unknown; did you mean secret_file"),
    ],
)
def test_settings_that_cannot_work_are_told(wrong, told):
    """Before anything is sent."""
    given = {"secret_file": "s", "pools": {"chat": {}}, **wrong}
    with pytest.raises(ControllerError, match=told):
        registry.create("webhook", given, WallClock())
