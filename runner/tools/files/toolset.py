"""The file tools, one call after the other. Runs on: the agent container."""

import asyncio
import functools
from collections.abc import Callable
from typing import TypeVar

from runner.contract.file_tools import (
    CopyFile,
    CreateDirectory,
    DeleteFile,
    DirectoryTree,
    EditFile,
    GetFileInfo,
    ListDirectory,
    MoveFile,
    ReadMediaFile,
    ReadMultipleFiles,
    ReadTextFile,
    SearchFiles,
    SearchInFiles,
    WriteFile,
)
from runner.contract.files import TEMPORARY_PREFIX
from runner.contract.tool_models import ToolArguments
from runner.contract.tools import ToolServerSpec
from runner.tools.calls import Answer, Emit, Tool, ToolError, tool
from runner.tools.files.changes import copy_file, delete_file, move_file
from runner.tools.files.listing import directory_tree, list_directory, search_files
from runner.tools.files.places import Places
from runner.tools.files.reading import (
    get_file_info,
    read_media_file,
    read_multiple_files,
    read_text_file,
)
from runner.tools.files.searching import search_in_files
from runner.tools.files.writing import create_directory, edit_file, write_file

Arguments = TypeVar("Arguments", bound=ToolArguments)


def file_tools(spec: ToolServerSpec) -> dict[str, Tool]:
    """Return the tools that read and change files, by name."""
    places = Places(spec)
    turns = Turns()

    def made(model: type[Arguments], carry_out: Callable[[Arguments, Places], Answer]) -> Tool:
        async def run(asked: Arguments, _: Emit) -> Answer:
            return await turns.run(functools.partial(_carried_out, carry_out, asked, places))

        return tool(model, run)

    async def search(asked: SearchInFiles, _: Emit) -> Answer:
        await turns.run(lambda: Answer(""))  # what was asked for before is done by now
        return await search_in_files(asked, places)

    return {
        "read_text_file": made(ReadTextFile, read_text_file),
        "read_multiple_files": made(ReadMultipleFiles, read_multiple_files),
        "read_media_file": made(ReadMediaFile, read_media_file),
        "write_file": made(WriteFile, write_file),
        "edit_file": made(EditFile, edit_file),
        "create_directory": made(CreateDirectory, create_directory),
        "list_directory": made(ListDirectory, list_directory),
        "directory_tree": made(DirectoryTree, directory_tree),
        "search_files": made(SearchFiles, search_files),
        "search_in_files": tool(SearchInFiles, search),
        "get_file_info": made(GetFileInfo, get_file_info),
        "copy_file": made(CopyFile, copy_file),
        "move_file": made(MoveFile, move_file),
        "delete_file": made(DeleteFile, delete_file),
    }


def _carried_out(
    carry_out: Callable[[Arguments, Places], Answer], asked: Arguments, places: Places
) -> Answer:
    try:
        return carry_out(asked, places)
    except OSError as error:
        raise ToolError(said_of(error, places)) from error


def said_of(error: OSError, places: Places) -> str:
    """Return what the system says is wrong, and with what; temporary files are not spoken of."""
    where = error.filename
    if not isinstance(where, str) or TEMPORARY_PREFIX in where:
        return error.strerror or type(error).__name__
    return f"{places.shown(where)}: {error.strerror}"


class Turns:
    """Calls in a thread, one after the other: a model edits what it has just written."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def run(self, carry_out: Callable[[], Answer]) -> Answer:
        """Return what `carry_out` returns; once begun it is finished, also when cancelled."""
        await self._lock.acquire()
        begun = asyncio.ensure_future(asyncio.to_thread(carry_out))
        begun.add_done_callback(self._end)
        return await asyncio.shield(begun)

    def _end(self, ended: asyncio.Future[Answer]) -> None:
        self._lock.release()
        if not ended.cancelled():
            ended.exception()  # where nobody waits any more, nobody is told
