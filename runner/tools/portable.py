"""Copy the tool server so that it runs in any image. Runs on: the agent container.

    python -m runner.tools.portable DIRECTORY

Run once in a container of the run image. What it leaves has an interpreter, its loader and
libraries, the standard library, the packages and the sources; the containers of other images get
it mounted read-only, and need neither Python nor a C library of their own.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

_LEFT_OUT = shutil.ignore_patterns(
    *("test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip"),
    *("site-packages", "dist-packages", "config-*"),
)
_LOADER = "ld.so"


def copy_to(target: Path) -> None:
    """Fill `target`, an empty directory. Raises OSError, CalledProcessError."""
    python = Path(os.path.realpath(sys.executable))
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    libraries = target / "python" / "lib"
    shutil.copytree(sysconfig.get_path("stdlib"), libraries / version, ignore=_LEFT_OUT)
    (target / "python" / "bin").mkdir()
    shutil.copy2(python, target / "python" / "bin" / "python3")
    packages = Path(sysconfig.get_path("purelib"))
    shutil.copytree(packages, target / "packages", ignore=shutil.ignore_patterns("*.pth"))
    shutil.copytree(Path(__file__).parents[1], target / "src" / "runner")
    loader = _loader(python)
    shutil.copy2(loader, libraries / _LOADER)
    extensions = [*libraries.rglob("*.so"), *(target / "packages").rglob("*.so*")]
    for library in _libraries(loader, [python, *extensions]):
        if not (libraries / library.name).exists():
            shutil.copy2(library, libraries / library.name)


def _loader(program: Path) -> Path:
    """Return the dynamic loader that the kernel starts for `program`, which is running now."""
    found = [line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()]
    names = [Path(name) for name in found if Path(name).name.startswith(("ld-linux", "ld-"))]
    if not names:
        raise FileNotFoundError(f"{program}: no dynamic loader is in use")
    return names[0]


def _libraries(loader: Path, objects: Iterable[Path]) -> Iterator[Path]:
    """Yield every library that one of the objects is linked with."""
    seen: set[str] = set()
    for item in objects:
        listed = subprocess.run(  # the loader of this very process
            [str(loader), "--list", str(item)], capture_output=True, text=True, check=False
        )
        for line in listed.stdout.splitlines():
            name, arrow, rest = line.strip().partition(" => ")
            path = rest.rsplit(" (", 1)[0]
            if arrow and path.startswith("/") and name not in seen:
                seen.add(name)
                yield Path(path)


if __name__ == "__main__":
    copy_to(Path(sys.argv[1]))
