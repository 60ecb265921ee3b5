"""Requests as agents make them, and a reader of event streams. Runs on: host."""

import http.client
import json
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.support.provider import Provider

ANSWER = {"type": "object", "properties": {"content": {"type": "string"}}, "required": ["content"]}
ANTHROPIC = {"anthropic-version": "2023-06-01"}


def vote_schema(*labels: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "agent_id": {"type": "string", "enum": list(labels)},
            "reason": {"type": "string", "maxLength": 400},
        },
        "required": ["agent_id", "reason"],
        "additionalProperties": False,
    }


def chat_tools(*labels: str) -> list[dict[str, Any]]:
    """Tools of a turn: new_answer, and vote where there are labels to vote for."""
    named = {"new_answer": ANSWER} | ({"vote": vote_schema(*labels)} if labels else {})
    return [
        {"type": "function", "function": {"name": name, "description": name, "parameters": schema}}
        for name, schema in named.items()
    ]


def messages_tools(*labels: str) -> list[dict[str, Any]]:
    return [
        {"name": tool["function"]["name"], "input_schema": tool["function"]["parameters"]}
        for tool in chat_tools(*labels)
    ]


def chat(**fields: Any) -> dict[str, Any]:
    question = [{"role": "user", "content": "What is the question?"}]
    return {"model": "test-model", "messages": question} | fields


def messages(**fields: Any) -> dict[str, Any]:
    return chat(max_tokens=100) | fields


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def data(self) -> list[Any]:
        """The data of each event, parsed; `[DONE]` as that text."""
        lines = [line[6:] for line in self.body.splitlines() if line.startswith(b"data: ")]
        return ["[DONE]" if line == b"[DONE]" else json.loads(line) for line in lines]

    @property
    def events(self) -> list[str]:
        return [line[7:].decode() for line in self.body.splitlines() if line.startswith(b"event: ")]


def post(
    provider: Provider, path: str, body: Any, headers: dict[str, str] | None = None
) -> Response:
    """Send one request over a connection of its own; http.client's errors are raised."""
    connection = http.client.HTTPConnection(urlsplit(provider.url).netloc, timeout=20)
    try:
        connection.request("POST", path, json.dumps(body), headers or {})
        response = connection.getresponse()
        return Response(response.status, dict(response.getheaders()), response.read())
    finally:
        connection.close()


def ask_chat(provider: Provider, **fields: Any) -> Response:
    return post(provider, "/v1/chat/completions", chat(**fields))


def ask_messages(provider: Provider, **fields: Any) -> Response:
    return post(provider, "/v1/messages", messages(**fields), ANTHROPIC)
