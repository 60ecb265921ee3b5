"""A run image that measures its own coverage. Runs on: host.

It is the run image with the coverage package and a start-up hook on top: the product itself knows
nothing of being measured. Data comes out in the run's log directory.
"""

import hashlib
import io
import tarfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from docker import APIClient

REPOSITORY = "massgen-runner/test-coverage"
DATA_PREFIX = ".coverage.container"
_DIRECTORY = "/opt/coverage"
_HOOK = f"""
import atexit, json
try:
    import coverage
    with open("/run/runner/spec.json") as file:
        log_dir = json.load(file)["log_dir"]
    measured = coverage.Coverage(
        data_file=f"{{log_dir}}/{DATA_PREFIX}", data_suffix=True, branch=True, source=["runner"],
        config_file=False,
    )
    measured.start()
    atexit.register(lambda: (measured.stop(), measured.save()))
except OSError:
    pass  # started without a spec
"""


def build_measured_image(client: APIClient, run_image: str) -> str:
    """Return the name of the measuring image, built where it is missing."""
    files = _files()
    digest = hashlib.sha256(run_image.encode())
    for name in sorted(files):
        digest.update(name.encode() + files[name])
    tag = f"{REPOSITORY}:{digest.hexdigest()[:16]}"
    if not client.images(tag):
        context = _context({"Dockerfile": _dockerfile(run_image), **files})
        steps = list(
            client.build(
                fileobj=context, custom_context=True, tag=tag, rm=True, decode=True,
                network_mode="none", labels={"dev.runner.image": "test"},
            )
        )  # fmt: skip
        assert client.images(tag), steps[-3:]
    return tag


def _dockerfile(run_image: str) -> bytes:
    packages = "/opt/runner/venv/lib/python3*/site-packages"
    # Debian has a sitecustomize of its own, which would come first.
    start = f"import sys; sys.path.append('{_DIRECTORY}'); import measuring_hook"
    lines = (
        f"FROM {run_image}",
        "USER 0:0",
        f"COPY coverage {_DIRECTORY}/coverage",
        f"COPY measuring_hook.py {_DIRECTORY}/measuring_hook.py",
        f'RUN echo "{start}" > "$(echo {packages})/measuring.pth"',
        "USER 65532:65532",
    )
    return "\n".join(lines).encode()


def _files() -> Mapping[str, bytes]:
    """Return the context: the installed coverage package, its C part optional, and the hook."""
    package = find_spec("coverage")
    assert package is not None
    assert package.origin is not None
    root = Path(package.origin).parent
    sources = [path for path in root.rglob("*") if path.suffix in {".py", ".so"}]
    files = {f"coverage/{path.relative_to(root)}": path.read_bytes() for path in sources}
    return {**files, "measuring_hook.py": _HOOK.encode()}


def _context(files: Mapping[str, bytes]) -> io.BytesIO:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(content))
    stream.seek(0)
    return stream
