"""The vendors' own SDKs, unchanged, through a forwarder and an agent's socket."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from runner.config.providers import PROVIDERS
from runner.contract.agent_socket import AGENT_SOCKET_NAME, Forward
from runner.contract.spec import Dialect
from runner.host.agent_environment import agent_environment
from runner.tools.forwarder import forwarding
from tests.gateway.serving import KEY, MODEL, agent_at, route_to, run, served
from tests.support.provider import Provider, Script, Silence, Status, Text, Tokens

PROVIDER_OF: dict[Dialect, str] = {"chat": "openai", "messages": "claude"}
ANSWER = Text("forty-two, as always", tokens_per_chunk=1, usage=Tokens(300, 20))


@contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """Have these variables, and no other of the vendors, while in the block."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("OPENAI_", "ANTHROPIC_")) or name.lower().endswith("_proxy"):
            del os.environ[name]
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@asynccontextmanager
async def inside(directory: Path, dialect: Dialect, provider: Provider) -> AsyncIterator[None]:
    """Have what a program in the container of `agent_a` has: the forwarder and its variables."""
    async with served(directory, route_to(provider.url, dialect)) as it, agent_at(it):
        forward = Forward(0, str(directory / "agent_a" / AGENT_SOCKET_NAME))
        async with forwarding([forward]) as [port]:
            row = PROVIDERS[PROVIDER_OF[dialect]]
            with environment(agent_environment(row, agent_url=f"http://127.0.0.1:{port}")):
                yield
        assert all(record["agent_id"] == "agent_a" for record in it.records())


QUESTION: Any = [{"role": "user", "content": "What is the answer?"}]


def test_openai(tmp_path: Path) -> None:
    """OpenAI's SDK lists the model, and gets a whole answer with its usage."""

    async def scenario(provider: Provider) -> None:
        async with inside(tmp_path, "chat", provider), openai.AsyncOpenAI() as client:
            assert [model.id async for model in client.models.list()] == [MODEL]
            answer = await client.chat.completions.create(model=MODEL, messages=QUESTION)
        assert answer.choices[0].message.content == ANSWER.text
        assert answer.usage
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (300, 20)

    with Provider(Script.always(ANSWER), expect_key=KEY) as provider:
        run(scenario(provider))


def test_openai_streaming(tmp_path: Path) -> None:
    """OpenAI's SDK gets a streamed answer piece by piece."""

    async def scenario(provider: Provider) -> list[str]:
        async with inside(tmp_path, "chat", provider), openai.AsyncOpenAI() as client:
            stream = await client.chat.completions.create(
                model=MODEL,
                messages=QUESTION,
                stream=True,
            )
            return [chunk.choices[0].delta.content or "" async for chunk in stream]

    with Provider(Script.always(ANSWER), expect_key=KEY) as provider:
        pieces = run(scenario(provider))
    assert "".join(pieces) == ANSWER.text
    assert len(pieces) > 4


def test_anthropic(tmp_path: Path) -> None:
    """Anthropic's SDK lists the model, and gets a whole answer with its usage."""

    async def scenario(provider: Provider) -> None:
        async with (
            inside(tmp_path, "messages", provider),
            anthropic.AsyncAnthropic() as client,
        ):
            assert [model.id async for model in client.models.list()] == [MODEL]
            answer = await client.messages.create(model=MODEL, max_tokens=100, messages=QUESTION)
        assert answer.content[0].text == ANSWER.text  # type: ignore[union-attr]
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (300, 20)

    with Provider(Script.always(ANSWER), expect_key=KEY) as provider:
        run(scenario(provider))


def test_anthropic_streaming(tmp_path: Path) -> None:
    """Anthropic's SDK gets a streamed answer piece by piece."""

    async def scenario(provider: Provider) -> list[str]:
        async with (
            inside(tmp_path, "messages", provider),
            anthropic.AsyncAnthropic() as client,
            client.messages.stream(model=MODEL, max_tokens=100, messages=QUESTION) as stream,
        ):
            return [text async for text in stream.text_stream]

    with Provider(Script.always(ANSWER), expect_key=KEY) as provider:
        pieces = run(scenario(provider))
    assert "".join(pieces) == ANSWER.text
    assert len(pieces) > 4


@pytest.mark.parametrize("pieces", [1, 2, 5])
def test_a_token_arrives_before_the_next_one_is_sent(tmp_path: Path, pieces: int) -> None:
    """Each token is with the program while the provider holds the next one back."""

    async def scenario(provider: Provider) -> None:
        async with inside(tmp_path, "chat", provider), openai.AsyncOpenAI() as client:
            stream = await client.chat.completions.create(
                model=MODEL,
                messages=QUESTION,
                stream=True,
            )
            chunks = [await anext(stream) for _ in range(1 + pieces)]  # the first names the role
            assert all(chunk.choices[0].delta.content for chunk in chunks[1:])
            await stream.close()

    with Provider(Script.always(Silence(after_chunks=1 + pieces))) as provider:
        run(scenario(provider))


def test_a_refusal_is_an_error_that_says_why(tmp_path: Path) -> None:
    """The SDKs raise their own errors, with the gateway's sentence in them."""

    async def scenario(provider: Provider) -> tuple[str, str]:
        async with inside(tmp_path, "chat", provider), openai.AsyncOpenAI() as client:
            with pytest.raises(openai.PermissionDeniedError) as wrong_model:
                await client.chat.completions.create(model="gpt-dear", messages=QUESTION)
            with pytest.raises(openai.NotFoundError) as wrong_path:
                await client.responses.create(model=MODEL, input="What is the answer?")
        return str(wrong_model.value), str(wrong_path.value)

    with Provider() as provider:
        wrong_model, wrong_path = run(scenario(provider))
        assert not provider.requests
    assert f"ask for {MODEL!r}" in wrong_model
    assert "POST /v1/chat/completions" in wrong_path


def test_an_error_of_the_provider_reaches_the_program(tmp_path: Path) -> None:
    """What the provider refuses, the program sees as refused, with the provider's words."""

    async def scenario(provider: Provider) -> str:
        async with (
            inside(tmp_path, "messages", provider),
            anthropic.AsyncAnthropic() as client,
        ):
            with pytest.raises(anthropic.BadRequestError) as refused:
                await client.messages.create(model=MODEL, max_tokens=100, messages=QUESTION)
        return str(refused.value)

    with Provider(Script.always(Status(400, times=9))) as provider:
        assert "Scripted error 400." in run(scenario(provider))
