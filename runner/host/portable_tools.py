"""The tool server for other images, kept in the user's cache. Runs on: host."""

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from runner.contract.text import one_line
from runner.errors import ExecutionError
from runner.host import ownership
from runner.host.container_spec import ContainerUser, Limits, bind, hardened
from runner.host.engine import Engine
from runner.local_model.places import cache_directory

PORTABLE_ROOT = "/opt/massgen-runner"
"""Where the copy is mounted in an agent's container."""
_PYTHON = f"{PORTABLE_ROOT}/python"
# No variable may say where things are: programs that the agent starts would inherit it.
_START = (
    "import runpy, sys; "
    f"sys.path[:] = [p for p in sys.path if p.startswith('{_PYTHON}/')] "
    f"+ ['{PORTABLE_ROOT}/packages', '{PORTABLE_ROOT}/src']; "
    "runpy.run_module('runner.tools', run_name='__main__')"
)
PORTABLE_COMMAND = (
    *(f"{_PYTHON}/lib/ld.so", "--library-path", f"{_PYTHON}/lib", f"{_PYTHON}/bin/python3"),
    *("-I", "-S", "-B", "-u", "-c", _START),
)
_MEMORY_BYTES = 512 * 1024**2
_OUT = "/out"


def portable_tools(
    engine: Engine,
    run_image: str,
    user: ContainerUser,
    environ: Mapping[str, str],
    noticed: Callable[[str], None],
) -> Path:
    """Return the directory with the tool server of a run image, made on the first use.

    Raises ExecutionError where it cannot be made, ConfigurationError without a home directory.
    """
    identity = (engine.image_id(run_image) or run_image).removeprefix("sha256:")[:16]
    known = cache_directory(environ) / "tools" / identity
    if known.is_dir():
        return known
    noticed("preparing the tool server for other images (once, about 90 MB)")
    known.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=known.parent, prefix=".new-") as name:
        made = Path(name) / "tools"
        made.mkdir()
        _fill(engine, run_image, user, made)
        made.chmod(0o755)
        try:
            made.rename(known)
        except OSError:  # somebody else was faster
            if not known.is_dir():
                raise
    return known


def _fill(engine: Engine, image: str, user: ContainerUser, target: Path) -> None:
    if user.host_uid != os.getuid():
        ownership.give(target, user.host_uid, user.host_uid)
    limits = Limits(_MEMORY_BYTES, 1.0, 64)
    config = {
        "Entrypoint": ["/opt/runner/venv/bin/python", "-P", "-B", "-m", "runner.tools.portable"],
        "Cmd": [_OUT],
        "User": user.user,
        "NetworkDisabled": True,
        "HostConfig": hardened(user, limits, [bind(target, _OUT, read_only=False)], {}),
    }
    name = f"runner-tools-{os.urandom(6).hex()}"
    container = engine.create(name, image, config)
    try:
        engine.start(container)
        code = engine.wait(container)
        said = "" if code == 0 else one_line(engine.logs(container, 5), 500)
    finally:
        engine.remove(container)
    if code != 0:
        raise ExecutionError(f"the tool server for other images cannot be made: {said}")
    if user.host_uid != os.getuid():
        ownership.give(target, os.getuid(), os.getgid())
