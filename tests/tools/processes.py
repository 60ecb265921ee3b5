"""Processes that do not want to end, and whether they have. Runs on: host."""

from pathlib import Path

from tests.support.tool_server import ToolServer

DAEMON = "setsid sh -c 'trap \"\" TERM HUP; echo $$ > pid; while :; do sleep 0.2; done' "
"""Leaves its session, ignores SIGTERM, and writes its process id into the file `pid`."""


def is_running(pid_file: Path) -> bool:
    """Tell whether the process whose id stands in a file is there and no zombie."""
    try:
        stat = Path("/proc", pid_file.read_text().strip(), "stat").read_bytes()
    except OSError:
        return False
    return stat.rpartition(b")")[2].split()[0] != b"Z"


def wait_for_end(server: ToolServer, pid_file: Path) -> None:
    """Wait, with a command, until a process is gone."""
    gone = f"while kill -0 {pid_file.read_text().strip()} 2>/dev/null; do sleep 0.1; done"
    assert server.call("execute_command", command=gone, timeout=45).result.exit_code == 0
