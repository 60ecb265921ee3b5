"""What the scripted provider does wrong, it does as told. Runs on: host."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.provider import (
    BrokenArguments,
    CloseAfter,
    Endless,
    Garbage,
    Hold,
    Html,
    Provider,
    Raw,
    RefuseConnection,
    Rule,
    Script,
    Silence,
    Status,
    Text,
    forever,
)
from tests.support_tests.requests import (
    ANTHROPIC,
    ask_chat,
    ask_messages,
    chat,
    chat_tools,
    messages,
    post,
)


def test_status_for_some_times(provider: Provider) -> None:
    """An error comes as often as scripted, with its headers and the dialect's body."""
    provider.always(Status(429, headers={"Retry-After": "1"}, times=2), Text("Now."))
    replies = [ask_chat(provider) for _ in range(4)]
    assert [reply.status for reply in replies] == [429, 429, 200, 200]
    assert replies[0].headers["Retry-After"] == "1"
    assert replies[0].json["error"]["code"] == "rate_limit_exceeded"


def test_status_for_ever_in_anthropic_shape(provider: Provider) -> None:
    """529 for ever is Anthropic's overloaded_error."""
    provider.always(forever(529))
    replies = [ask_messages(provider) for _ in range(3)]
    assert [reply.status for reply in replies] == [529] * 3
    assert replies[0].json["error"]["type"] == "overloaded_error"


def test_rules_are_tried_in_order(provider: Provider) -> None:
    """The first rule that fits decides; used up, it leaves the request to the next."""
    rules = (
        Rule((Text("once"),), model="a*", last_repeats=False),
        Rule((Text("marked"),), contains="[[b]]"),
        Rule((Text("rest"),)),
    )
    provider.play(Script(rules=rules))
    marked = [{"role": "user", "content": "x [[b]]"}]
    replies = [
        ask_chat(provider, model="a1"),
        ask_chat(provider, model="a1"),
        ask_chat(provider, model="b", messages=marked),
    ]
    texts = [reply.json["choices"][0]["message"]["content"] for reply in replies]
    assert texts == ["once", "rest", "marked"]


def test_credential_is_expected_in_the_right_header(provider: Provider) -> None:
    """401 unless the key comes as each protocol wants it."""
    provider.expect_key("k1")
    bearer, x_api_key = {"Authorization": "Bearer k1"}, {"x-api-key": "k1"}
    statuses = [
        ask_chat(provider).status,
        post(provider, "/v1/chat/completions", chat(), x_api_key).status,
        post(provider, "/v1/chat/completions", chat(), bearer).status,
        post(provider, "/v1/messages", messages(), ANTHROPIC | bearer).status,
        post(provider, "/v1/messages", messages(), ANTHROPIC | x_api_key).status,
    ]
    assert statuses == [401, 401, 200, 401, 200]


def test_half_an_answer(provider: Provider) -> None:
    """A cut stream ends without its terminator."""
    provider.always(CloseAfter(3))
    with pytest.raises(http.client.IncompleteRead) as cut:
        ask_chat(provider, stream=True)
    assert cut.value.partial.count(b"data: ") == 3
    assert b"[DONE]" not in cut.value.partial


@pytest.mark.parametrize("reply", [RefuseConnection(), Raw(b"SSH-2.0-OpenSSH_9.2\r\n")])
def test_no_http(provider: Provider, reply: RefuseConnection | Raw) -> None:
    """A reset connection and a server of another protocol are no HTTP responses."""
    provider.always(reply)
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        ask_chat(provider)


def test_bodies_that_are_no_model_answers(provider: Provider) -> None:
    """Garbage and a web page arrive with status 200."""
    provider.always(Garbage(), Html())
    garbage, page = ask_chat(provider), ask_chat(provider)
    assert (garbage.status, garbage.body) == (200, b"}{ not json")
    assert page.headers["Content-Type"].startswith("text/html")


def test_broken_arguments(provider: Provider) -> None:
    """The arguments of the tool call are not JSON."""
    provider.always(BrokenArguments())
    body = ask_chat(provider, tools=chat_tools()).json
    call = body["choices"][0]["message"]["tool_calls"][0]
    with pytest.raises(json.JSONDecodeError):
        json.loads(call["function"]["arguments"])


def test_invalid_utf8(provider: Provider) -> None:
    """A low surrogate in a text travels as the invalid byte that it stands for."""
    provider.always(Text("bad \udcff byte"))
    assert b"bad \xff byte" in ask_chat(provider, stream=True).body


def _begin(provider: Provider, *, stream: bool) -> socket.socket:
    body = json.dumps(chat(stream=stream)).encode()
    connection = socket.create_connection(("127.0.0.1", urlsplit(provider.url).port or 0), 20)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection


@pytest.mark.parametrize("reply", [Silence(), Silence(after_chunks=1), Endless(), Endless(False)])
def test_never_ending_replies_end_with_the_client(
    provider: Provider, reply: Silence | Endless
) -> None:
    """Silence and endless streams last until the client goes, which the log then tells."""
    provider.always(reply)
    with _begin(provider, stream=True) as connection:
        provider.log.wait_for_requests(1)
        if reply != Silence():
            assert connection.recv(10)
    provider.log.wait_for(lambda log: 1 in log.ends)
    assert provider.log.ends[1].disconnected


def test_hold_until_released(provider: Provider) -> None:
    """A held reply waits for the test's word; others are answered meanwhile."""
    held = Rule((Hold("gate", Text("let go")),), model="held")
    provider.play(Script(rules=(held,)))
    said: list[str] = []

    def ask() -> None:
        body = ask_chat(provider, model="held").json
        said.append(body["choices"][0]["message"]["content"])

    thread = threading.Thread(target=ask)
    thread.start()
    provider.log.wait_for_requests(1, model="held")
    assert ask_chat(provider).status == 200
    assert said == []
    provider.release("gate")
    thread.join(20)
    assert said == ["let go"]


def test_waiting_tells_what_arrived(provider: Provider) -> None:
    """A wait that ends in vain names the requests that did come."""
    ask_chat(provider)
    with pytest.raises(TimeoutError, match="test-model"):
        provider.log.wait_for_requests(2, timeout_seconds=0.01)


def test_scripts_in_json() -> None:
    """A script written in JSON is the one written in Python."""
    written = """{"rules": [
        {"model": "a*", "replies": [{"kind": "status", "status": 500, "times": 2},
                                    {"kind": "new_answer", "content": "Yes."}]}]}"""
    script = Script.from_json(written)
    assert [type(reply).__name__ for reply in script.rules[0].replies] == ["Status", "NewAnswer"]
    with pytest.raises(ValueError, match="kindd"):
        Script.from_json('{"rules": [{"replies": [{"kindd": "text"}]}]}')


def test_as_a_process(tmp_path: Path) -> None:
    """As a process it prints its URL first, logs requests as JSON lines, and ends on SIGTERM."""
    script, log = tmp_path / "script.json", tmp_path / "log.jsonl"
    script.write_text('{"rules": [{"replies": [{"kind": "text", "text": "From a file."}]}]}')
    files = ["--script", str(script), "--log", str(log)]
    command = [sys.executable, "-m", "tests.support.provider", *files]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = urlsplit(process.stdout.readline().strip())
        connection = http.client.HTTPConnection(url.netloc, timeout=20)
        connection.request("POST", f"{url.path}/chat/completions", json.dumps(chat()))
        assert b"From a file." in connection.getresponse().read()
        connection.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["request", "end"]
    assert lines[0]["model"] == "test-model"
