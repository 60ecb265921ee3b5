"""The run container's create arguments."""

from pathlib import Path
from typing import Any

import pytest

from runner.host.container_spec import (
    ContainerUser,
    Limits,
    RunContainer,
    container_user,
    create_arguments,
)


def _arguments() -> dict[str, Any]:
    return dict(
        create_arguments(
            RunContainer(
                run_id="20260101-000000-0123abcd",
                parent_run_id=None,
                root_run_id="20260101-000000-0123abcd",
                image="image",
                user=ContainerUser("1000:1000", "", 1000),
                limits=Limits(1 << 30, 1.5, 128),
                log_dir=Path("/w/a: b/log"),
                spec_file=Path("/w/spec.json"),
                socket_dir=Path("/w/socket"),
                run_directory=Path("/w/runs/20260101-000000-0123abcd"),
                owner_uid=1000,
            )
        )
    )


def test_the_container_is_hardened() -> None:
    """No network, no capabilities, nothing writable but the log, bounded in everything."""
    host = _arguments()["HostConfig"]

    assert host["NetworkMode"] == "none"
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert (host["Memory"], host["MemorySwap"]) == (1 << 30, 1 << 30)
    assert (host["NanoCpus"], host["PidsLimit"]) == (1_500_000_000, 128)
    assert host["Init"] is True
    assert host["AutoRemove"] is False
    assert "Privileged" not in host


def test_only_the_log_directory_is_mounted_writable() -> None:
    """Three mounts, in a form that takes any path; the engine's socket is not among them."""
    mounts = _arguments()["HostConfig"]["Mounts"]

    assert [(m["Source"], m["Target"], m["ReadOnly"]) for m in mounts if not m["ReadOnly"]] == [
        ("/w/a: b/log", "/w/a: b/log", False)
    ]
    assert [m["Target"] for m in mounts if m["ReadOnly"]] == [
        "/run/runner/spec.json",
        "/run/runner/socket",
    ]


@pytest.mark.parametrize(
    ("uid", "rootless", "remapped", "expected"),
    [
        (1000, False, False, ContainerUser("1000:100", "", 1000)),
        (0, False, False, ContainerUser("65532:65532", "", 65532)),
        (1000, True, False, ContainerUser("0:0", "", 1000)),
        (1000, False, True, ContainerUser("1000:100", "host", 1000)),
    ],
)
def test_the_container_never_runs_as_the_hosts_root(
    uid: int, rootless: bool, remapped: bool, expected: ContainerUser
) -> None:
    """Files come out owned by the caller, except root's: those are handed back at the end."""
    assert expected == container_user(uid, 100, rootless=rootless, userns_remap=remapped)
