"""Containers for tests of the engine. Runs on: host."""

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from runner.host.engine import ContainerState, Engine

LABEL = "dev.runner.test"
_DEADLINE_SECONDS = 30.0


class Containers:
    """Makes containers with a label of the test's own, and removes them."""

    def __init__(self, engine: Engine, image: str) -> None:
        self.engine = engine
        self.image = image
        self.label = secrets.token_hex(8)

    def create(
        self,
        *command: str,
        image: str | None = None,
        config: Mapping[str, Any] | None = None,
        **host: Any,
    ) -> str:
        """Create a container without network; return its id. `host` is its HostConfig."""
        body = {
            **(config or {}),
            "Entrypoint": list(command),
            "Cmd": [],
            "Labels": {LABEL: self.label},
            "HostConfig": {"NetworkMode": "none", **host},
        }
        name = f"runner-test-{secrets.token_hex(8)}"
        return self.engine.create(name, image or self.image, body)

    def start(self, *command: str, **host: Any) -> str:
        """Create and start a container; return its id."""
        container = self.create(*command, **host)
        self.engine.start(container)
        return container

    def run(self, *command: str, **host: Any) -> tuple[int, str]:
        """Run a command in a container to its end; return exit code and log."""
        container = self.start(*command, **host)
        return self.engine.wait(container), self.engine.logs(container, tail=1000)

    def remove_all(self) -> None:
        """Remove every container that was made."""
        for summary in self.engine.list({LABEL: self.label}):
            self.engine.remove(summary.id)

    def state(self, container: str) -> ContainerState:
        """Return the state of a container that must exist."""
        state = self.engine.inspect(container)
        assert state is not None
        return state


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds; fail after half a minute."""
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition never came to hold"
        time.sleep(0.01)
