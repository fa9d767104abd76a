"""The official `openai` client, unchanged, at a gateway before real engines."""

from __future__ import annotations

import time
from typing import Any

from live_gateway_checks import Check
from live_gateway_fleet import EMBEDDINGS, OTHERS, Stage

MESSAGES: list[Any] = [{"role": "user", "content": "the queue of a busy engine"}]


def check(stage: Stage) -> Check:
    """(c) each call; the first that does not work is named."""
    try:
        import openai
    except ImportError:
        return Check("c the openai client", None, "not looked at: pip install openai")
    done: list[str] = []
    try:
        client = openai.OpenAI(base_url=f"{stage.gateway}/v1", api_key=_key("measure"))
        _answers(client, done)
        _streams(client, done)
        _errors(openai, stage, done)
        _limits(openai, stage, done)
    except (AssertionError, openai.OpenAIError) as error:
        return Check("c the openai client", False, f"after {', '.join(done)}: {error!r}")
    return Check("c the openai client", True, f"version {openai.__version__}: {', '.join(done)}")


def _answers(client: Any, done: list[str]) -> None:
    assert {one.id for one in client.models.list()} == {"tiny", EMBEDDINGS}
    done.append("models")
    chat = client.chat.completions.create(model="tiny", messages=MESSAGES, max_tokens=8)
    assert chat.choices[0].message.content is not None
    assert chat.usage.completion_tokens <= 8
    done.append("chat")
    text = client.completions.create(model="tiny", prompt="the queue", max_tokens=8)
    assert text.usage.completion_tokens <= 8
    done.append("completions")
    vectors = client.embeddings.create(model=EMBEDDINGS, input=["the queue", "an engine"])
    assert len(vectors.data) == 2
    assert len(vectors.data[0].embedding) == len(vectors.data[1].embedding) > 0
    done.append("embeddings")


def _streams(client: Any, done: list[str]) -> None:
    stream = client.chat.completions.create(
        model="tiny", messages=MESSAGES, max_tokens=16, stream=True,
        stream_options={"include_usage": True}, extra_body={"ignore_eos": True},
    )  # fmt: skip
    chunks = list(stream)
    assert chunks[-1].usage.completion_tokens == 16
    assert any(one.choices and one.choices[0].finish_reason == "length" for one in chunks)
    done.append("chat, streamed")
    stream = client.completions.create(model="tiny", prompt="the queue", max_tokens=8, stream=True)
    assert any(one.choices and one.choices[0].finish_reason for one in stream)
    done.append("completions, streamed")


def _errors(openai: Any, stage: Stage, done: list[str]) -> None:
    for key, model, expected, code in (
        ("sk-wrong", "tiny", openai.AuthenticationError, "invalid_api_key"),
        (_key("measure"), "huge", openai.NotFoundError, "model_not_found"),
    ):
        client = openai.OpenAI(base_url=f"{stage.gateway}/v1", api_key=key, max_retries=0)
        error = _refused(client, expected, model)
        assert error is not None, f"{code} was served"
        assert error.code == code
        done.append(f"{code}: {expected.__name__}")


def _limits(openai: Any, stage: Stage, done: list[str]) -> None:
    """One that comes again by itself after the time that it is told."""
    told = {"base_url": f"{stage.gateway}/v1", "api_key": _key("small")}
    impatient = openai.OpenAI(**told, max_retries=0)
    tries = (_refused(impatient, openai.RateLimitError) for _ in range(100))
    error = next((one for one in tries if one is not None), None)
    assert error is not None, "the limit was never reached"
    headers = error.response.headers
    wait = float(headers["retry-after-ms"]) / 1000
    assert 0 < wait <= float(headers["retry-after"]) < wait + 1.001
    done.append("limit: RateLimitError")
    patient, begun = openai.OpenAI(**told, max_retries=1), time.monotonic()
    answer = patient.chat.completions.with_raw_response.create(
        model="tiny", messages=MESSAGES, max_tokens=1
    )
    took = time.monotonic() - begun
    assert answer.retries_taken == 1, f"{answer.retries_taken} retries"
    done.append(f"its one retry came after {took:.1f} s as told, and was let in")


def _refused(client: Any, expected: type[Any], model: str = "tiny") -> Any:
    """The error; None where it was served."""
    try:
        client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=1)
    except expected as error:
        return error
    return None


def _key(name: str) -> str:
    return next(one.key for one in OTHERS if one.name == name)
