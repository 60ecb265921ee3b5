"""The link to a tool server that is hostile, broken or gone. Runs on: host."""

import asyncio
import json
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.contract.tools import (
    MAX_CALL_OUTPUT_BYTES,
    MAX_FRAME_BYTES,
    MAX_HELLO_BYTES,
    MAX_RESULT_CHARS,
    Hello,
    Image,
    Output,
    Result,
    frame,
)
from runner.coordination.acting.link import NOT_RECORDED, LinkLostError, ToolLink

_SECONDS = 60.0
HELLO = frame(Hello())


class Stage:
    """A link that listens, and the peers that the test has connect to it."""

    def __init__(self, link: ToolLink, path: Path) -> None:
        self.link = link
        self.path = path
        self.peers: list[Peer] = []

    @property
    def other_path(self) -> Path:
        return self.path.with_name("other.sock")

    async def connected(self, *said: bytes) -> "Peer":
        """Return a peer, connected as soon as coordination listens."""
        while True:
            try:
                peer = Peer(*await asyncio.open_unix_connection(self.path))
            except OSError:
                await asyncio.sleep(0.01)
            else:
                self.peers.append(peer)
                await peer.say(*said)
                return peer

    async def greeted(self) -> "Peer":
        """Return a tool server that is ready."""
        peer = await self.connected(HELLO)
        await self.link.hello(_SECONDS)
        return peer

    async def works(self) -> None:
        """Check that a new tool server can be used as if nothing had been."""
        peer = await self.greeted()
        call = called(self.link)
        number = (await peer.heard())["id"]
        await peer.say(frame(Result(id=number, text="done")))
        assert (await call).text == "done"
        peer.close()


@asynccontextmanager
async def staged(path: Path) -> AsyncIterator[Stage]:
    async with ToolLink(path) as link:
        stage = Stage(link, path)
        try:
            yield stage
        finally:
            for peer in stage.peers:
                peer.close()


def play(scene: Callable[[Stage], Coroutine[Any, Any, None]]) -> None:
    """Play a scene with a link that listens."""

    async def played() -> None:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "tools.sock"
            async with asyncio.timeout(_SECONDS), staged(path) as stage:
                await scene(stage)

    asyncio.run(played())


class Peer:
    """A tool server whose words are the test's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    async def say(self, *data: bytes) -> None:
        for piece in data:
            self._writer.write(piece)
            await self._writer.drain()

    async def heard(self) -> dict[str, Any]:
        """Return the next frame of coordination."""
        message: dict[str, Any] = json.loads(await self.reader.readline())
        return message

    def close(self) -> None:
        self._writer.transport.abort()


def called(link: ToolLink, heard: list[str] | None = None) -> "asyncio.Task[Result]":
    hear: Callable[[str], None] = heard.append if heard is not None else lambda _: None
    return asyncio.create_task(link.call("t", {}, hear, _SECONDS))


async def lost(call: Awaitable[Result]) -> None:
    with pytest.raises(LinkLostError):
        await call


BROKEN = {
    "nothing": b"\n",
    "no JSON": b"no json\n",
    "no text": b"\xff\xfe\x00\n",
    "a string": b'"text"\n',
    "deep": b"[" * 100_000 + b"\n",
    "a call": b'{"kind":"call","id":1,"tool":"t","arguments":{}}\n',
    "id 0": b'{"kind":"result","id":0,"text":""}\n',
    "no result": b'{"kind":"result","id":1}\n',
    "half a character": b'{"kind":"result","id":1,"text":"\\ud800"}\n',
    "a second hello": HELLO,
}
HUGE = {
    "no pictures": b'{"kind":"result","id":1,"text":"","images":[' + b"1," * 500_000 + b"1]}\n",
    "long output": b'{"kind":"output","id":1,"text":"' + b"a" * MAX_FRAME_BYTES + b'"}\n',
    "no end": b"a" * (MAX_FRAME_BYTES + 1),
}


@pytest.mark.parametrize("broken", [*BROKEN.values(), *HUGE.values()], ids=[*BROKEN, *HUGE])
def test_what_is_no_answer_ends_the_connection_alone(broken: bytes) -> None:
    """A tool server that says anything else than answers is left, and the next one works."""

    async def scene(stage: Stage) -> None:
        peer = await stage.greeted()
        call = called(stage.link)
        await peer.heard()
        saying = asyncio.create_task(peer.say(broken))
        await lost(call)
        await asyncio.gather(saying, return_exceptions=True)
        await stage.works()

    play(scene)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=200),
            st.just(b"\n"),
            st.sampled_from(list(BROKEN.values())),
            st.builds(
                lambda id, text: frame(Output(id=id, text=text)),
                st.integers(1, 5),
                st.text(st.characters(codec="utf-8"), max_size=50),
            ),
            st.builds(
                lambda id, text: frame(Result(id=id, text=text)),
                st.integers(2, 2**60),
                st.text(st.characters(codec="utf-8"), max_size=50),
            ),
        ),
        max_size=12,
    ),
    st.booleans(),
)
def test_no_words_break_the_link(said: list[bytes], greets: bool) -> None:
    """Whatever a connection says, a call on it has a result or is lost, and the next one works."""

    async def scene(stage: Stage) -> None:
        peer = await stage.connected(*([HELLO] if greets else []))
        calls: list[asyncio.Task[Result]] = []
        if greets:
            await stage.link.hello(_SECONDS)
            calls.append(called(stage.link))
            await peer.heard()
        words = [word for word in said if greets or word != HELLO]
        await asyncio.gather(peer.say(*words), return_exceptions=True)
        peer.close()
        for call in calls:
            await lost(call)
        await stage.works()

    play(scene)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"garbage\n",
        b"{}\n",
        frame(Result(id=1, text="first of all")),
        b'{"kind":"hello","tools":[' + b"1," * 200_000 + b"1]}\n",
        b'{"kind":"hello","problems":["' + b"a" * MAX_HELLO_BYTES + b'"]}\n',
    ],
    ids=["nothing", "garbage", "no kind", "a result", "no tools", "a huge one"],
)
def test_a_connection_without_hello_is_no_tool_server(said: bytes) -> None:
    """A connection that greets wrongly and goes is passed over, the one behind it is served."""

    async def scene(stage: Stage) -> None:
        peer = await stage.connected()
        await asyncio.gather(peer.say(said), return_exceptions=True)
        peer.close()
        with pytest.raises(LinkLostError, match="not ready within"):
            await stage.link.hello(0.01)
        await lost(called(stage.link))
        await stage.works()

    play(scene)


def test_output_beyond_its_budget_is_dropped_and_the_result_still_comes() -> None:
    """A call that prints without end is recorded up to a limit, with a note, and is answered."""
    piece = frame(Output(id=1, text="x" * 50_000))
    count = 3 * MAX_CALL_OUTPUT_BYTES // len(piece)

    async def scene(stage: Stage) -> None:
        heard: list[str] = []
        peer = await stage.greeted()
        call = called(stage.link, heard)
        await peer.heard()
        await peer.say(*[piece] * count, frame(Result(id=1, text="done")))
        assert (await call).text == "done"
        assert len("".join(heard)) <= MAX_CALL_OUTPUT_BYTES
        assert heard[-1] == NOT_RECORDED
        assert heard.count(NOT_RECORDED) == 1

    play(scene)


def test_a_flood_holds_up_nobody() -> None:
    """While one tool server sends frames without end, another agent's calls are answered."""

    async def flood(peer: Peer) -> None:
        while True:
            await peer.say(frame(Output(id=99, text="")) * 1000)

    async def scene(stage: Stage) -> None:
        flooding = asyncio.create_task(flood(await stage.greeted()))
        async with staged(stage.other_path) as other:
            for _ in range(5):
                await other.works()
        flooding.cancel()

    play(scene)


def test_a_call_that_is_not_answered_ends() -> None:
    """A tool server that answers nothing, or others' calls, is given up at the call's deadline."""

    async def scene(stage: Stage) -> None:
        peer = await stage.greeted()
        call = asyncio.create_task(stage.link.call("t", {}, lambda _: None, 0.2))
        beside = called(stage.link)
        await peer.heard()
        await peer.say(frame(Result(id=77, text="another's")))
        with pytest.raises(LinkLostError, match=r"did not answer within 0\.2 s"):
            await call
        assert not stage.link.is_up
        await lost(beside)
        await stage.works()

    play(scene)


def test_a_second_answer_is_dropped() -> None:
    """The first result of a call counts; the one that follows, and output after it, is nothing."""

    async def scene(stage: Stage) -> None:
        heard: list[str] = []
        peer = await stage.greeted()
        call = called(stage.link, heard)
        await peer.heard()
        await peer.say(
            frame(Result(id=1, text="first")),
            frame(Result(id=1, text="second")),
            frame(Output(id=1, text="late")),
        )
        assert (await call).text == "first"
        again = called(stage.link, heard)
        assert (await peer.heard())["id"] == 2
        await peer.say(frame(Result(id=2, text="next")))
        assert (await again).text == "next"
        assert heard == []

    play(scene)


def test_a_cancelled_call_is_called_off() -> None:
    """A turn that is cancelled sends Cancel; the late result is dropped, and other calls go on."""

    async def scene(stage: Stage) -> None:
        peer = await stage.greeted()
        call, beside = called(stage.link), called(stage.link)
        await peer.heard()
        await peer.heard()
        call.cancel()
        assert await peer.heard() == {"kind": "cancel", "id": 1}
        await peer.say(frame(Result(id=1, text="late")), frame(Result(id=2, text="kept")))
        assert (await beside).text == "kept"
        assert call.cancelled()

    play(scene)


def test_nobody_connects_beside_a_tool_server() -> None:
    """While a tool server is served, connections, and storms of them, find no socket."""

    async def scene(stage: Stage) -> None:
        peer = await stage.greeted()
        for _ in range(100):
            with (
                socket.socket(socket.AF_UNIX) as other,
                pytest.raises((FileNotFoundError, ConnectionRefusedError)),
            ):
                other.connect(str(stage.path))
        call = called(stage.link)
        await peer.heard()
        await peer.say(frame(Result(id=1, text="undisturbed")))
        assert (await call).text == "undisturbed"

    play(scene)


def test_slow_bytes_are_waited_for() -> None:
    """A frame that comes byte by byte is a frame."""

    async def scene(stage: Stage) -> None:
        peer = await stage.connected(*[HELLO[i : i + 1] for i in range(len(HELLO))])
        await stage.link.hello(_SECONDS)
        call = called(stage.link)
        await peer.heard()
        answer = frame(Result(id=1, text="slow"))
        for place in range(len(answer)):
            await peer.say(answer[place : place + 1])
            await asyncio.sleep(0)
        assert (await call).text == "slow"

    play(scene)


@pytest.mark.parametrize("value", ["\ud800", "x" * MAX_FRAME_BYTES, float("inf")], ids=ascii)
def test_arguments_that_do_not_fit_a_frame_are_refused(value: Any) -> None:
    """What a model wrote and JSON cannot carry is an error for the model, not for the link."""

    async def scene(stage: Stage) -> None:
        peer = await stage.greeted()
        call = asyncio.create_task(stage.link.call("t", {"x": value}, lambda _: None, _SECONDS))
        if value == float("inf"):
            heard = await peer.heard()
            assert heard["arguments"] == {"x": None}
            await peer.say(frame(Result(id=heard["id"], text="", is_error=True)))
        assert (await call).is_error
        assert stage.link.is_up

    play(scene)


def test_pictures_fit_a_frame() -> None:
    """A result with the longest text and a picture of two megabytes gets through."""
    picture = Image(media_type="image/png", data="A" * 3_000_000)
    answer = Result(id=1, text="\x01" * MAX_RESULT_CHARS, images=(picture,))

    async def scene(stage: Stage) -> None:
        peer = await stage.greeted()
        call = called(stage.link)
        await peer.heard()
        await peer.say(frame(answer))
        assert await call == answer

    play(scene)
