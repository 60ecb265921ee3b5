"""All tools that a tool server has without MCP. Runs on: both sides."""

from runner.contract.command_tools import COMMAND_TOOLS
from runner.contract.file_tools import FILE_TOOLS
from runner.contract.tools import ToolDefinition

BUILTIN_TOOLS: dict[str, ToolDefinition] = {
    tool.name: tool for tool in (*FILE_TOOLS, *COMMAND_TOOLS)
}
