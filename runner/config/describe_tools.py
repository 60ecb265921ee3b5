"""The built-in tools for the documentation. Runs on: host.

`python -m runner.config.describe_tools docs/reference/tools.md` writes their table anew.
"""

import sys
from pathlib import Path
from typing import Any

from runner.config.describe import BEGIN, END
from runner.contract.builtin_tools import BUILTIN_TOOLS
from runner.contract.tools import ToolDefinition


def tools_table() -> str:
    """Return one row for each tool, in Markdown."""
    rows = ["| tool | arguments | what models are told |", "|---|---|---|"]
    return "\n".join([*rows, *map(_row, BUILTIN_TOOLS.values())])


def _row(tool: ToolDefinition) -> str:
    parameters: Any = tool.parameters
    arguments = [
        f"`{name}`{'' if name in parameters['required'] else ' (optional)'}{_told(part)}"
        for name, part in parameters["properties"].items()
    ]
    cells = (f"`{tool.name}`", "<br>".join(arguments), " ".join(tool.description.split()))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _told(part: dict[str, Any]) -> str:
    return f": {part['description']}" if "description" in part else ""


def main(path: Path) -> None:
    """Write the table between the marks of a page."""
    before, rest = path.read_text("utf-8").split(BEGIN)
    after = rest.split(END)[1]
    path.write_text(f"{before}{BEGIN}\n{tools_table()}\n{END}{after}", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
