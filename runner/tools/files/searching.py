"""Search in files, by a program that can be ended. Runs on: the agent container."""

import asyncio
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from runner.contract.file_tools import SearchInFiles
from runner.contract.text import encodable
from runner.tools.calls import Answer, ToolError
from runner.tools.command_process import interpreter
from runner.tools.files.places import Places

SEARCH_SECONDS = 20.0
_SOURCE = str(Path(__file__).parents[3])
_PROGRAM = (
    f"import sys; sys.path.insert(0, {_SOURCE!r}); "
    "from runner.tools.files.content_search import main; sys.exit(main())"
)
_MAX_LINE_BYTES = 256 * 1024
"""Of what the program prints: a path and a line, each byte as an escape at worst."""


async def search_in_files(asked: SearchInFiles, places: Places) -> Answer:
    """Return the lines that match, under their files. Raises ToolError."""
    path = places.path(asked.path)
    if not os.path.exists(path):
        raise ToolError(f"{places.shown(path)}: No such file or directory")
    process = await asyncio.create_subprocess_exec(
        *(*interpreter(), "-I", "-B", "-c", _PROGRAM),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=_MAX_LINE_BYTES,
    )
    said: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(SEARCH_SECONDS):
            await _exchange(process, _question(asked, path), said)
    except TimeoutError:
        said.append({"note": f"ended after {SEARCH_SECONDS:g} s; give a simpler pattern or path"})
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    return _answer(said, places)


def _question(asked: SearchInFiles, path: str) -> bytes:
    question = {
        "path": path,
        "pattern": asked.pattern,
        "include": asked.include_patterns,
        "exclude": asked.exclude_patterns,
        "ignore_case": asked.ignore_case,
    }
    return json.dumps(question).encode()


async def _exchange(
    process: asyncio.subprocess.Process, question: bytes, said: list[dict[str, Any]]
) -> None:
    assert process.stdin is not None  # noqa: S101  # for the type checker
    assert process.stdout is not None  # noqa: S101  # for the type checker
    process.stdin.write(question)
    process.stdin.write_eof()
    while line := await process.stdout.readline():
        said.append(json.loads(line))
    if await process.wait() != 0:
        said.append({"note": "the search was ended before it was through"})


def _answer(said: list[dict[str, Any]], places: Places) -> Answer:
    lines: list[str] = []
    current = None
    for item in said:
        if "error" in item:
            raise ToolError(encodable(item["error"]))
        if "note" in item:
            lines.append(f"[{item['note']}]")
            continue
        if item["path"] != current:
            current = item["path"]
            lines.append(places.shown(current))
        lines.append(f"{item['line']:>6}: {encodable(item['text'])}")
    if not any("path" in item for item in said):
        lines.insert(0, "[nothing found]")
    return Answer("\n".join(lines))
