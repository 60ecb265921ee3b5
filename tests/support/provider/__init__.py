"""A small real provider for tests: OpenAI Chat Completions and Anthropic Messages. Runs on: host.

README.md beside this file says how to use it.
"""

from tests.support.provider.hosting import Provider, refused_url
from tests.support.provider.log import LoggedRequest, RequestLog
from tests.support.provider.replies import (
    FIRST,
    FOREVER,
    BrokenArguments,
    CloseAfter,
    Cooperate,
    Endless,
    Garbage,
    Hold,
    Html,
    NewAnswer,
    Raw,
    RefuseConnection,
    Reply,
    Silence,
    Status,
    StreamError,
    Text,
    Tokens,
    ToolCall,
    ToolCalls,
    Vote,
)
from tests.support.provider.request import ModelRequest
from tests.support.provider.script import Rule, Script, forever

__all__ = [
    "FIRST",
    "FOREVER",
    "BrokenArguments",
    "CloseAfter",
    "Cooperate",
    "Endless",
    "Garbage",
    "Hold",
    "Html",
    "LoggedRequest",
    "ModelRequest",
    "NewAnswer",
    "Provider",
    "Raw",
    "RefuseConnection",
    "Reply",
    "RequestLog",
    "Rule",
    "Script",
    "Silence",
    "Status",
    "StreamError",
    "Text",
    "Tokens",
    "ToolCall",
    "ToolCalls",
    "Vote",
    "forever",
    "refused_url",
]
