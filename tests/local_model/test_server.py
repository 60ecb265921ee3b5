"""Lease, idle stop and failing starts of the server, without the real weights."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from runner.errors import ConfigurationError
from runner.local_model.lease import ServerStart, ensure_server, local_model, stop_server
from runner.local_model.locks import is_locked, locked, open_lock, try_lock
from runner.local_model.progress import Progress
from runner.local_model.server import wait_until_idle
from runner.local_model.server_files import ServerFiles, living_server


def fail_to_wait() -> None:
    """Fail a test that would have to wait for a lock."""
    pytest.fail("the lock is taken")


def test_idle_server_ends_with_the_lease_in_its_hands(tmp_path: Path) -> None:
    """After the idle time nobody else can take the lease until the server's process ends."""
    lease = tmp_path / "lease"
    descriptor = wait_until_idle(lease, 0.05, poll_seconds=0.01)
    assert is_locked(lease)
    os.close(descriptor)
    assert not is_locked(lease)


def test_server_does_not_end_while_a_run_holds_the_lease(tmp_path: Path) -> None:
    """The idle time counts from the moment at which the last lease was let go."""
    lease = tmp_path / "lease"
    order: list[str] = []

    def serve() -> None:
        os.close(wait_until_idle(lease, 0.1, poll_seconds=0.01))
        order.append("server ended")

    with locked(lease, fail_to_wait, shared=True), locked(lease, fail_to_wait, shared=True):
        server = threading.Thread(target=serve)
        server.start()
        server.join(0.5)
        order.append("lease let go")
    server.join(60)
    assert order == ["lease let go", "server ended"]


def test_server_ends_when_its_directory_is_gone(tmp_path: Path) -> None:
    """A server that nobody can find any more (log-out, clean-up) does not stay for ever."""
    lease = tmp_path / "lease"
    server = threading.Thread(target=lambda: os.close(wait_until_idle(lease, 3600, 0.01)))
    server.start()
    while not lease.exists():
        server.join(0.01)
    lease.unlink()
    server.join(60)
    assert not server.is_alive()


def test_lease_of_a_killed_process_is_free(tmp_path: Path) -> None:
    """kill -9 lets go of a lease without anybody's help."""
    lease = tmp_path / "lease"
    code = (
        "import sys; from pathlib import Path; from runner.local_model.locks import locked\n"
        "with locked(Path(sys.argv[1]), lambda: None, shared=True):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(lease)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert is_locked(lease)
        process.kill()
    assert not is_locked(lease)


def test_server_that_cannot_load_says_why(tmp_path: Path) -> None:
    """Broken weights end the start with the server's own reason and the name of its log."""
    weights = tmp_path / "weights.gguf"
    weights.write_bytes(b"not weights")
    files = ServerFiles(tmp_path)
    seen: list[Progress] = []
    with pytest.raises(ConfigurationError, match=r"server ended with 2: .*see .*server\.log"):
        ensure_server(files, ServerStart(weights, 5, os.environ), seen.append)
    assert seen[0].step == "load"
    assert living_server(files) is None


def test_credentials_do_not_reach_the_server(tmp_path: Path) -> None:
    """The long-lived process gets the variables that it needs and no keys."""
    weights = tmp_path / "weights.gguf"
    weights.write_bytes(b"not weights")
    environment = {**os.environ, "OPENAI_API_KEY": "sk-planted", "PATH": str(tmp_path)}
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nexport -p > "{tmp_path}/seen"\nexit 3\n')
    script.chmod(0o755)
    with pytest.raises(ConfigurationError, match="server ended with 3: it said nothing"):
        ensure_server(ServerFiles(tmp_path), ServerStart(weights, 5, environment, str(script)))
    assert "sk-planted" not in (tmp_path / "seen").read_text()


def test_record_is_believed_only_while_its_lock_is_held(tmp_path: Path) -> None:
    """A server.lock that a dead server left behind names nobody who could be killed."""
    files = ServerFiles(tmp_path)
    files.server_lock.write_text('{"pid": 1, "state": "ready"}')
    assert living_server(files) is None
    descriptor = open_lock(files.server_lock)
    assert try_lock(descriptor)
    record = living_server(files)
    os.close(descriptor)
    assert record is not None
    assert record.pid == 1


def test_stop_without_a_server_says_so(tmp_path: Path) -> None:
    """Stopping what does not run is no error."""
    assert not stop_server({"XDG_RUNTIME_DIR": str(tmp_path)})


@pytest.mark.parametrize("text", ["soon", "-1", "inf", "nan"])
def test_idle_seconds_must_be_a_number(tmp_path: Path, text: str) -> None:
    """A wrong idle time is refused before anything is downloaded."""
    environment = {"HOME": str(tmp_path), "MASSGEN_LOCAL_MODEL_IDLE_SECONDS": text}
    with (
        pytest.raises(ConfigurationError, match="MASSGEN_LOCAL_MODEL_IDLE_SECONDS: not a number"),
        local_model(environment=environment),
    ):
        pass
    assert not any(tmp_path.iterdir())
