"""A provider in a thread of this process, with a port or a Unix socket. Runs on: host."""

import asyncio
import socket
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from tests.support.provider.log import LoggedRequest, RequestLog
from tests.support.provider.replies import Reply
from tests.support.provider.script import Script
from tests.support.provider.server import AnswerContainer, ProviderApp

_START_SECONDS = 20.0


class Provider:
    """A running provider: `with Provider(Script.always(Text("hi"))) as provider: …`."""

    def __init__(
        self,
        script: Script | None = None,
        *,
        port: int = 0,
        unix_path: Path | None = None,
        log_path: Path | None = None,
        expect_key: str | None = None,
    ) -> None:
        self.log = RequestLog(log_path)
        self._app = ProviderApp(script or Script(), self.log, expect_key)
        self._port = port
        self._unix_path = unix_path
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="provider", daemon=True)
        self._runner = web.AppRunner(
            self._app.application(),
            handler_cancellation=True,
            shutdown_timeout=0.1,
            access_log=None,
            keepalive_timeout=30.0,
        )

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._call(self._start())
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._call(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_START_SECONDS)
        self._loop.close()

    @property
    def root_url(self) -> str:
        """`http://127.0.0.1:PORT`, as the base of Anthropic's protocol."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT/v1`, as `base_url` of OpenAI's protocol."""
        return f"{self.root_url}/v1"

    @property
    def requests(self) -> tuple[LoggedRequest, ...]:
        return self.log.requests

    def play(self, script: Script) -> None:
        """Start over with another script; the log goes on."""
        self._call(_in_loop(lambda: self._app.play(script)))

    def always(self, *replies: Reply, **fits: str) -> None:
        """Play the script of one rule."""
        self.play(Script.always(*replies, **fits))

    def expect_key(self, key: str | None) -> None:
        """Answer 401 from now on unless this credential arrives in the right header."""
        self._app.expect_key = key

    def answer_containers(self, answer: AnswerContainer) -> None:
        """On a run socket: answer requests about agents' containers, in the provider's thread."""
        self._app.containers = answer

    def release(self, name: str) -> None:
        """Let the requests that a `Hold` of that name keeps, and later ones, go on."""
        self._call(_in_loop(lambda: self._app.release(name)))

    async def _start(self) -> None:
        await self._runner.setup()
        if self._unix_path is not None:
            await web.UnixSite(self._runner, str(self._unix_path)).start()
            return
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_START_SECONDS)


async def _in_loop(call: Any) -> None:
    call()


@contextmanager
def refused_url() -> Iterator[str]:
    """Yield the URL of a port of this machine that refuses connections, and keep it so."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, never listening: nobody else can have it
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
