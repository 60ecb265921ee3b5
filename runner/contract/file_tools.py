"""The tools that read and change files, as models are told of them. Runs on: both sides.

Names and arguments are those that MassGen gives its agents: of the MCP filesystem server and of its
own workspace tools. `start_byte`, `offset`, `limit` and `search_in_files` are ours.
"""

from typing import Annotated

from pydantic import Field

from runner.contract.tool_models import ToolArguments, definition

MAX_PATHS = 50
"""Files that one call reads."""
MAX_WRITE_CHARS = 2_000_000
"""Of what one call writes; coordination's frames hold it whatever its characters are."""

Path = Annotated[
    str,
    Field(
        min_length=1,
        max_length=16_384,
        description="Absolute, or relative to the workspace.",
    ),
]
Pattern = Annotated[str, Field(min_length=1, max_length=1000)]
Excluded = Annotated[
    tuple[Pattern, ...],
    Field(
        alias="excludePatterns",
        max_length=100,
        description="Globs; what they match is left out, directories with all they hold.",
    ),
]
Lines = Annotated[int | None, Field(ge=1, le=10**9)]


class ReadTextFile(ToolArguments):
    """Read a text file, whole or a range of it; a long one is cut, and how to go on is said."""

    path: Path
    head: Annotated[Lines, Field(description="Only the first so many lines.")] = None
    tail: Annotated[Lines, Field(description="Only the last so many lines.")] = None
    offset: Annotated[Lines, Field(description="Line to begin at, from 1.")] = None
    start_byte: Annotated[
        int | None, Field(ge=0, le=2**62, description="Byte to begin at; to go on after a cut.")
    ] = None
    limit: Annotated[Lines, Field(description="At most so many lines.")] = None


class ReadMediaFile(ToolArguments):
    """Look at a picture: PNG, JPEG, GIF or WebP of at most 5 MB."""

    path: Path


class ReadMultipleFiles(ToolArguments):
    """Read several text files at once; one that cannot be read does not keep back the others."""

    paths: Annotated[tuple[Path, ...], Field(min_length=1, max_length=MAX_PATHS)]


class WriteFile(ToolArguments):
    """Write a file, replacing what was there; missing directories are made."""

    path: Path
    content: Annotated[str, Field(max_length=MAX_WRITE_CHARS)]


class Edit(ToolArguments):
    """One replacement."""

    old_text: Annotated[
        str,
        Field(
            alias="oldText",
            min_length=1,
            max_length=MAX_WRITE_CHARS,
            description="Exactly as in the file, and there only once.",
        ),
    ]
    new_text: Annotated[str, Field(alias="newText", max_length=MAX_WRITE_CHARS)]


class EditFile(ToolArguments):
    """Replace exact pieces of a text file, one after the other; returns the difference.

    All edits are made or none.
    """

    path: Path
    edits: Annotated[tuple[Edit, ...], Field(min_length=1, max_length=200)]
    dry_run: Annotated[
        bool, Field(alias="dryRun", description="Only show the difference; change nothing.")
    ] = False


class CreateDirectory(ToolArguments):
    """Make a directory and those above it; one that exists is no error."""

    path: Path


class ListDirectory(ToolArguments):
    """List a directory: kind, name and size of each entry."""

    path: Path = "."


class DirectoryTree(ToolArguments):
    """Show a directory with all that is below it, as an indented list; links are not followed."""

    path: Path = "."
    exclude_patterns: Excluded = ()


class SearchFiles(ToolArguments):
    """Find files and directories by name, at any depth; links are not followed."""

    path: Path = "."
    pattern: Annotated[
        Pattern,
        Field(
            description="A glob: *.py, or with directories src/**/*.py; without any of *?[ "
            "a part of the name."
        ),
    ]
    exclude_patterns: Excluded = ()


class SearchInFiles(ToolArguments):
    """Find the lines that a regular expression matches, in all text files below a directory."""

    path: Path = "."
    pattern: Annotated[Pattern, Field(description="A regular expression, as in Python's re.")]
    include_patterns: Annotated[
        tuple[Pattern, ...],
        Field(
            alias="includePatterns",
            max_length=100,
            description="Globs; only files that one of them matches.",
        ),
    ] = ()
    exclude_patterns: Excluded = ()
    ignore_case: Annotated[bool, Field(alias="ignoreCase")] = False


class GetFileInfo(ToolArguments):
    """Tell kind, size, times and permissions of a file or directory."""

    path: Path


class CopyFile(ToolArguments):
    """Copy a file or a directory; links in a directory stay links."""

    source_path: Path
    destination_path: Path
    overwrite: Annotated[bool, Field(description="Replace a file that is there.")] = False


class MoveFile(ToolArguments):
    """Move or rename a file or a directory; fails where the destination exists."""

    source: Path
    destination: Path


class DeleteFile(ToolArguments):
    """Delete a file or a directory; a file only after you have read or made it."""

    path: Path
    recursive: Annotated[bool, Field(description="A directory with all it holds.")] = False


FILE_TOOLS = (
    definition("read_text_file", ReadTextFile),
    definition("read_multiple_files", ReadMultipleFiles),
    definition("read_media_file", ReadMediaFile),
    definition("write_file", WriteFile),
    definition("edit_file", EditFile),
    definition("create_directory", CreateDirectory),
    definition("list_directory", ListDirectory),
    definition("directory_tree", DirectoryTree),
    definition("search_files", SearchFiles),
    definition("search_in_files", SearchInFiles),
    definition("get_file_info", GetFileInfo),
    definition("copy_file", CopyFile),
    definition("move_file", MoveFile),
    definition("delete_file", DeleteFile),
)
