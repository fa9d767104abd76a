"""Requests that make no sense have rows: what is known of them, nothing else, and not too many."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.request_rows.fields import checked
from controller.gateway.doubles.engine import Engine, running
from controller.gateway.rows import SPAN_FIELDS, Marks, row_of
from controller.gateway.turned_away import MOST_MODELS, ROWS_PER_SECOND, FewRows

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}
LENGTHS = ("input_tokens", "output_tokens", "predicted_output_tokens", "queue_seconds")


def told(attempt):
    """The row as the store takes it."""
    row = row_of(attempt, "gate", Marks())
    plain = {name: value for name, value in row.items() if name not in SPAN_FIELDS}
    checked(plain, attempt.arrived_at.replace(tzinfo=None))
    return row


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"{", 400, "invalid_json"),
        (b'{"model": 7, "messages": []}', 400, "invalid_type"),
        (b'{"model": "huge", "messages": [], "user": "acme"}', 404, "model_not_found"),
        (b"x" * 2_000, 413, "body_too_large"),
    ],
)
async def test_what_makes_no_sense_has_a_row(gateway, body, status, reason):
    """Refused, with its reason; of its sizes what could be read."""
    async with running(Engine()) as engine, gateway(engine, body_bytes=1_000) as one:
        client = await one.talk()
        client.post_raw(body, x_request_id="mine")
        assert (await client.answer()).status == status
        (attempt,) = await one.kept.until(1)
    row = told(attempt)
    assert (row["status"], row["admission_reason"], attempt.http_status) == (
        "refused", reason, status,
    )  # fmt: skip
    assert (row["route"], attempt.request_id) == ("chat/completions", "mine")
    assert row.get("model") == ("huge" if status == 404 else None)
    assert row["tenant"] == ("acme" if status == 404 else "anonymous")
    assert ("input_tokens" in row) is (status == 404)
    assert not [name for name in LENGTHS[1:] if name in row]
    assert "instance" not in row
    assert row["is_counted"] is False, "neither demand nor a miss of an objective"


async def test_a_key_that_nobody_has_has_a_row_without_a_tenant(gateway, tmp_path):
    """Nobody knows whose it is: it is not held against the anonymous ones, nor is it in a class."""
    file = tmp_path / "tenants.toml"
    file.write_text("[tenant.a]\nkeys = ['sha256:" + "0" * 64 + "']\n")
    async with running(Engine()) as engine, gateway(engine, tenants_file=str(file)) as one:
        client = await one.talk()
        client.post(CHAT, authorization="Bearer nobodys")
        assert (await client.answer()).status == 401
        client.post_raw(b"{", authorization="Bearer nobodys")
        assert (await client.answer()).status == 400
        attempts = await one.kept.until(2)
    rows = [told(attempt) for attempt in attempts]
    assert [row["admission_reason"] for row in rows] == ["invalid_api_key", "invalid_json"]
    for name in ("tenant", "slo_class", "tenant_weight"):
        assert not [row for row in rows if name in row]
    assert rows[0]["model"] == "tiny"
    assert "nobodys" not in str(rows)


async def test_a_flood_of_nonsense_keeps_few_rows_and_counts_all(gateway):
    """Clients are answered, the spool stays small, and metrics say how many have no row."""
    count = round(3 * ROWS_PER_SECOND)
    async with running(Engine()) as engine, gateway(engine) as one:
        few = one.made.proxy.turned_away._few
        few.takes = FewRowsThatNeverRefills().takes
        client = await one.talk()
        for _ in range(count):
            client.post_raw(b"{")
            assert (await client.answer()).status == 400
        client.get("/metrics")
        page = (await client.answer()).body.decode()
        client.post(CHAT)
        assert (await client.answer()).status == 200
        attempts = await one.kept.until(round(ROWS_PER_SECOND) + 1)
    assert len(attempts) == ROWS_PER_SECOND + 1
    assert f'servescope_gateway_turned_away_total{{reason="invalid_json"}} {count}.0' in page
    assert f"turned_away_without_row_total {count - ROWS_PER_SECOND}" in page


class FewRowsThatNeverRefills:
    """As on a machine that is infinitely quick."""

    def __init__(self):
        self._few = FewRows()

    def takes(self, now):
        return self._few.takes(0.0)


async def test_names_that_clients_make_up_are_bounded(gateway):
    """Models and paths become labels in the store, of which a flood must not make many."""
    async with running(Engine()) as engine, gateway(engine) as one:
        one.made.proxy.turned_away._few.takes = lambda now: True
        client = await one.talk()
        for number in range(MOST_MODELS + 3):
            client.post({**CHAT, "model": f"made-up-{number}" + "x" * 1_000}, f"/v1/{number}")
            assert (await client.answer()).status == 404
        attempts = await one.kept.until(MOST_MODELS + 3)
    rows = [told(attempt) for attempt in attempts]
    assert len({row.get("model") for row in rows}) == MOST_MODELS + 1
    assert max(len(row.get("model", "")) for row in rows) == 256
    assert {row.get("route") for row in rows} == {None}


@given(st.lists(st.floats(0, 5), max_size=200))
def test_a_second_has_so_many_rows_and_no_more(pauses):
    """Over any stretch: a second's worth at once, and the rate after it."""
    few, now, taken = FewRows(3.0), 0.0, []
    for pause in pauses:
        now += pause / 20
        if few.takes(now):
            taken.append(now)
    for start, first in enumerate(taken):
        for end in range(start, len(taken)):
            assert end - start + 1 <= 3.0 + 3.0 * (taken[end] - first) + 1e-6
