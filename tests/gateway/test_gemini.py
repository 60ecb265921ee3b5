"""Gemini's own API on the socket of an agent whose provider is Gemini."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from runner.config.providers import PROVIDERS
from runner.contract.agent_socket import GEMINI_PATH
from runner.contract.status import AgentErrorType
from runner.gateway.books import Budget
from runner.gateway.budget import Limits
from runner.gateway.credentials import Credential
from runner.gateway.gemini import native_route
from runner.gateway.routes import Route, build_route
from tests.gateway.gemini_server import TEXTS, GeminiServer, gemini_server
from tests.gateway.serving import KEY, MODEL, Answer, Container, Served, agent_at, run, served

WHOLE = f"{GEMINI_PATH}/{MODEL}:generateContent"
STREAMED = f"{GEMINI_PATH}/{MODEL}:streamGenerateContent?alt=sse"
SMALL: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "What is the answer?"}]}]}
BUDGET = Budget(Limits(tokens=1_000_000))


class Scene(NamedTuple):
    it: Served
    agent: Container
    server: GeminiServer

    async def ask(self, path: str, body: dict[str, Any]) -> Answer:
        return await self.agent.request("POST", path, json.dumps(body).encode())


def gemini_route(root: str) -> Route:
    credential = Credential(KEY, variable="TEST_KEY", source="the environment")
    url = f"{root}/v1beta/openai"
    row = PROVIDERS["gemini"]
    return build_route("agent_a", row, model=MODEL, base_url=url, credential=credential)


@asynccontextmanager
async def scene(directory: Path, **money: Any) -> AsyncIterator[Scene]:
    """Serve an agent of Gemini's, whose provider says everything at once."""
    async with (
        gemini_server() as server,
        served(directory, gemini_route(server.url), **money) as it,
        agent_at(it) as agent,
    ):
        server.release()
        yield Scene(it, agent, server)


@pytest.mark.parametrize(
    ("path", "upstream"),
    [
        (WHOLE, f"/v1beta/models/{MODEL}:generateContent"),
        (STREAMED, f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse"),
        (WHOLE.replace("v1beta", "v1"), f"/v1beta/models/{MODEL}:generateContent"),
    ],
)
def test_a_call_is_passed_on_and_counted(tmp_path: Path, path: str, upstream: str) -> None:
    """The answer arrives whole, thoughts count as output, and the key is the host's."""

    async def scenario() -> None:
        async with scene(tmp_path) as on:
            headers = {"x-goog-api-key": "placeholder", "x-goog-api-client": "placeholder"}
            body = json.dumps(SMALL).encode()
            answer = await on.agent.request("POST", path, body, headers)
            usage = on.it.gateway.usage()
            [record] = on.it.records()
            [(asked, seen, sent)] = on.server.requests
        assert answer.status == 200
        assert TEXTS[0].encode() in answer.body
        assert (asked, sent) == (upstream, SMALL)
        assert seen["x-goog-api-key"] == KEY
        assert "placeholder" not in repr(seen)
        assert "Authorization" not in seen
        assert (usage.calls, usage.input_tokens, usage.output_tokens) == (1, 300, 27)
        assert (usage.cached_tokens, usage.reasoning_tokens) == (100, 7)
        assert (record["agent_id"], record["end"], record["estimated"]) == (
            "agent_a",
            "complete",
            False,
        )

    run(scenario())


def test_a_piece_arrives_before_the_next_one_is_sent(tmp_path: Path) -> None:
    """Each piece of a stream is with the program while the provider holds the next one back."""

    async def scenario() -> None:
        async with gemini_server() as server:
            server.gates[0].set()  # the answer's headers come with its first piece
            async with (
                served(tmp_path, gemini_route(server.url)) as it,
                agent_at(it) as agent,
                agent.session.post(f"http://agent{STREAMED}", json=SMALL) as response,
            ):
                for text, gate in zip(TEXTS, server.gates, strict=True):
                    gate.set()
                    assert text.encode() in await response.content.readuntil(b"\r\n\r\n")

    run(scenario())


def test_a_stream_that_is_cut_is_estimated(tmp_path: Path) -> None:
    """A program that hangs up half-way has its call counted by what came until then."""

    async def scenario() -> dict[str, Any]:
        async with gemini_server() as server:
            server.gates[0].set()
            async with served(tmp_path, gemini_route(server.url)) as it, agent_at(it) as agent:
                post = agent.session.post(f"http://agent{STREAMED}", json=SMALL)
                async with post as response:
                    await response.content.readuntil(b"\r\n\r\n")
                    response.close()
                while not it.records():  # the limit is run()'s
                    await asyncio.sleep(0.01)
                return it.records()[0]

    record = run(scenario())
    assert (record["end"], record["estimated"]) == ("cancelled", True)
    assert record["input_tokens"] == 300
    assert record["output_tokens"] > 0


def test_a_budget_limits_the_reply(tmp_path: Path) -> None:
    """A reply without a limit gets one where a budget depends on it; one that is there stays."""

    async def scenario() -> list[dict[str, Any]]:
        async with scene(tmp_path, budget=BUDGET) as on:
            limited = {"generationConfig": {"maxOutputTokens": 77, "temperature": 0.5}}
            for body in (SMALL, SMALL | {"generationConfig": {"topK": 3}}, SMALL | limited):
                assert (await on.ask(WHOLE, body)).status == 200
            return [sent["generationConfig"] for _, _, sent in on.server.requests]

    first, second, third = run(scenario())
    assert list(first) == ["maxOutputTokens"]
    assert first["maxOutputTokens"] > 16
    assert second == {"topK": 3, "maxOutputTokens": first["maxOutputTokens"]}
    assert third == {"maxOutputTokens": 77, "temperature": 0.5}


def test_a_call_that_does_not_fit_is_not_made(tmp_path: Path) -> None:
    """The most that a call can take has to be left, in Gemini's own API as in the others."""

    async def scenario() -> tuple[Answer, int]:
        async with scene(tmp_path, budget=Budget(Limits(tokens=1000))) as on:
            return await on.ask(WHOLE, SMALL), len(on.server.requests)

    answer, asked = run(scenario())
    assert (answer.status, answer.error.type, asked) == (402, AgentErrorType.BUDGET, 0)


def contents(part: dict[str, Any]) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [part]}]}


@pytest.mark.parametrize(
    "body",
    [
        SMALL | {"tools": [{"googleSearch": {}}]},
        SMALL | {"tools": [{"functionDeclarations": [], "codeExecution": {}}]},
        SMALL | {"cachedContent": "cachedContents/1"},
        SMALL | {"generationConfig": {"responseModalities": ["AUDIO"]}},
        SMALL | {"serviceTier": "priority"},
        SMALL | {"systemInstruction": {"parts": [{"fileData": {"fileUri": "https://x"}}]}},
        contents({"inlineData": {"mimeType": "image/png", "data": "AA=="}}),
        contents({"inline_data": {"mimeType": "image/png", "data": "AA=="}}),
        contents({"functionResponse": {"name": "f", "parts": [{"inlineData": {}}]}}),
    ],
    ids=str,
)
def test_what_has_no_known_cost_needs_a_run_without_a_budget(
    tmp_path: Path, body: dict[str, Any]
) -> None:
    """Google's own tools and media are refused in a run with a budget, and passed on in others."""

    async def scenario(**money: Any) -> tuple[int, int]:
        async with scene(tmp_path, **money) as on:
            return (await on.ask(WHOLE, body)).status, len(on.server.requests)

    assert run(scenario(budget=BUDGET)) == (402, 0)
    (tmp_path / "agent_a").rmdir()
    assert run(scenario()) == (200, 1)


def test_tools_of_the_programs_own_are_taken_in_a_run_with_a_budget(tmp_path: Path) -> None:
    """Functions, their calls and results are text, which has a known limit."""
    body = {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            *SMALL["contents"],
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "f", "description": "It helps."}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}},
    }

    async def scenario() -> int:
        async with scene(tmp_path, budget=BUDGET) as on:
            return (await on.ask(WHOLE, body)).status

    assert run(scenario()) == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        (f"{GEMINI_PATH}/gemini-dear:generateContent", SMALL, 403, f"ask for '{MODEL}'"),
        (f"{GEMINI_PATH}/{MODEL}:countTokens", SMALL, 404, f"{MODEL}:generateContent"),
        (f"{GEMINI_PATH}/{MODEL}:streamGenerateContent", SMALL, 400, "?alt=sse"),
        (WHOLE, SMALL | {"model": "models/gemini-dear"}, 400, "the path names the model"),
        (WHOLE, SMALL | {"generation_config": {}}, 400, "write 'generationConfig'"),
        (WHOLE, SMALL | {"generationConfig": []}, 400, "not a JSON object"),
        (WHOLE, SMALL | {"generationConfig": {"candidateCount": 2}}, 400, "candidateCount"),
        (WHOLE, SMALL | {"generationConfig": {"candidateCount": [1]}}, 400, "candidateCount"),
        (
            WHOLE,
            SMALL | {"generationConfig": {"max_output_tokens": 9}},
            400,
            "write 'maxOutputTokens'",
        ),
        (WHOLE, SMALL | {"generationConfig": {"maxOutputTokens": "9"}}, 400, "no whole number"),
    ],
)
def test_what_is_refused_says_what_to_do(
    tmp_path: Path, path: str, body: dict[str, Any], status: int, says: str
) -> None:
    """Another model, and whatever could be read in two ways, is not passed on."""

    async def scenario() -> tuple[Answer, int]:
        async with scene(tmp_path) as on:
            return await on.ask(path, body), len(on.server.requests)

    answer, asked = run(scenario())
    assert (answer.status, asked) == (status, 0)
    assert says in answer.error.message


def test_the_models_are_listed_as_google_lists_them(tmp_path: Path) -> None:
    """The list has the agent's model, under the name that calls take."""

    async def scenario() -> Answer:
        async with scene(tmp_path) as on:
            return await on.agent.request("GET", GEMINI_PATH)

    [model] = json.loads(run(scenario()).body)["models"]
    assert model["name"] == f"models/{MODEL}"


def test_the_address_is_that_of_the_configuration() -> None:
    """Calls go beside the endpoint of Chat Completions, on the same host."""
    route = gemini_route("https://gemini.example:8443")._replace(model="models/a b")
    expected = "https://gemini.example:8443/v1beta/models/a%20b:generateContent"
    assert expected == native_route(route, stream=False).url
