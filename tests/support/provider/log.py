"""What the provider was asked: every request, kept for tests to search. Runs on: host."""

import base64
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.provider.request import Dialect, ModelRequest, Step


class LoggedRequest(NamedTuple):
    """One request as it arrived; `body` is the bytes, whatever they are."""

    number: int
    time: float
    """Epoch seconds at which its body was complete."""
    connection: str
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    dialect: Dialect
    model: str
    step: Step

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.body)
        return value

    def header(self, name: str) -> str | None:
        """Return the first header of that name, in any case."""
        return next((v for k, v in self.headers if k.lower() == name.lower()), None)


class Ended(NamedTuple):
    """How a response ended: its status (0: none was sent) and whether the client stayed."""

    status: int
    disconnected: bool


class RequestLog:
    """Appended to by the server's thread, read and waited for by the test's."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._changed = threading.Condition()
        self._requests: list[LoggedRequest] = []
        self._ends: dict[int, Ended] = {}

    @property
    def requests(self) -> tuple[LoggedRequest, ...]:
        with self._changed:
            return tuple(self._requests)

    @property
    def ends(self) -> dict[int, Ended]:
        with self._changed:
            return dict(self._ends)

    def add(
        self,
        request: ModelRequest,
        *,
        method: str,
        connection: str,
        headers: tuple[tuple[str, str], ...],
        body: bytes,
    ) -> LoggedRequest:
        with self._changed:
            entry = LoggedRequest(
                number=len(self._requests) + 1,
                time=time.time(),
                connection=connection,
                method=method,
                path=request.path,
                headers=headers,
                body=body,
                dialect=request.dialect,
                model=request.model,
                step=request.step,
            )
            self._requests.append(entry)
            self._changed.notify_all()
        self._write({"event": "request", **entry._asdict(), **_body(body)})
        return entry

    def end(self, number: int, *, status: int, disconnected: bool) -> None:
        with self._changed:
            self._ends[number] = Ended(status, disconnected)
            self._changed.notify_all()
        line = {"event": "end", "number": number, "status": status, "disconnected": disconnected}
        self._write(line | {"time": time.time()})

    def matching(
        self, *, model: str | None = None, step: Step | None = None
    ) -> list[LoggedRequest]:
        return [
            entry
            for entry in self.requests
            if model in (None, entry.model) and step in (None, entry.step)
        ]

    def wait_for(self, true: Callable[["RequestLog"], bool], timeout_seconds: float = 30.0) -> None:
        """Return as soon as `true(self)`; TimeoutError tells what did arrive."""
        deadline = time.monotonic() + timeout_seconds
        while not true(self):
            with self._changed:
                left = deadline - time.monotonic()
                if left <= 0:
                    seen = [(e.path, e.model, e.step) for e in self._requests]
                    raise TimeoutError(f"not seen within {timeout_seconds} s; requests: {seen}")
                self._changed.wait(min(left, 0.2))

    def wait_for_requests(
        self,
        count: int = 1,
        *,
        model: str | None = None,
        step: Step | None = None,
        timeout_seconds: float = 30.0,
    ) -> list[LoggedRequest]:
        """Wait until `count` requests of that model and step have arrived; return them."""
        self.wait_for(
            lambda log: len(log.matching(model=model, step=step)) >= count, timeout_seconds
        )
        return self.matching(model=model, step=step)

    def _write(self, line: dict[str, Any]) -> None:
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def _body(body: bytes) -> dict[str, str]:
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body": "", "body_base64": base64.b64encode(body).decode()}
