"""The automation guide's import path of BackgroundShellManager. Runs on: host."""

from runner.background_shell import (
    BackgroundShellManager,
    cleanup_all,
    get_shell_output,
    get_shell_status,
    kill_shell,
    list_shells,
    start_shell,
)

__all__ = [
    "BackgroundShellManager",
    "cleanup_all",
    "get_shell_output",
    "get_shell_status",
    "kill_shell",
    "list_shells",
    "start_shell",
]
